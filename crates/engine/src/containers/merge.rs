//! A client's wishes over what the image says.

use lapstrake_oci::config::{Execution, Healthcheck};

/// What runs: `asked`, and what the image says where nothing was asked.
pub(crate) fn merge(mut asked: Execution, image: &Execution) -> Execution {
    asked.user = given(asked.user).or_else(|| given(image.user.clone()));
    asked.working_dir = given(asked.working_dir).or_else(|| given(image.working_dir.clone()));
    asked.stop_signal = given(asked.stop_signal).or_else(|| given(image.stop_signal.clone()));
    asked.stop_timeout = asked.stop_timeout.or(image.stop_timeout);
    asked
        .exposed_ports
        .extend(image.exposed_ports.iter().cloned());
    asked.volumes.extend(image.volumes.iter().cloned());
    for entry in &image.env {
        let key = entry.split('=').next();
        if !asked.env.iter().any(|own| own.split('=').next() == key) {
            asked.env.push(entry.clone());
        }
    }
    for (key, value) in &image.labels {
        let label = asked.labels.entry(key.clone());
        label.or_insert_with(|| value.clone());
    }
    // Arguments of the image are those of its entrypoint: another entrypoint has none of them.
    if asked.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if asked.cmd.as_ref().is_none_or(Vec::is_empty) {
            asked.cmd.clone_from(&image.cmd);
        }
        if asked.entrypoint.is_none() {
            asked.entrypoint.clone_from(&image.entrypoint);
        }
    }
    // An empty word alone takes the image's entrypoint away.
    if asked.entrypoint.as_deref() == Some(&[String::new()]) {
        asked.entrypoint = None;
    }
    asked.shell = asked.shell.or_else(|| image.shell.clone());
    asked.healthcheck = match (asked.healthcheck, &image.healthcheck) {
        (None, of_image) => of_image.clone(),
        (Some(own), None) => Some(own),
        (Some(own), Some(of_image)) => Some(merge_healthcheck(own, of_image)),
    };
    asked
}

fn merge_healthcheck(mut own: Healthcheck, image: &Healthcheck) -> Healthcheck {
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
    own
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn an_entrypoint_hides_the_images_command_and_a_command_does_not() {
        let image = Execution {
            entrypoint: words(&["/entry"]),
            cmd: words(&["a", "b"]),
            ..Execution::default()
        };
        for (entrypoint, cmd, want_entrypoint, want_cmd) in [
            (None, None, words(&["/entry"]), words(&["a", "b"])),
            (None, words(&["c"]), words(&["/entry"]), words(&["c"])),
            (words(&["/own"]), None, words(&["/own"]), None),
            (
                words(&["/own"]),
                words(&["c"]),
                words(&["/own"]),
                words(&["c"]),
            ),
            (words(&[""]), words(&["c"]), None, words(&["c"])),
        ] {
            let asked = Execution {
                entrypoint,
                cmd,
                ..Execution::default()
            };
            let merged = merge(asked, &image);
            assert_eq!((merged.entrypoint, merged.cmd), (want_entrypoint, want_cmd));
        }
    }

    #[test]
    fn what_was_asked_comes_first() {
        let image = Execution {
            user: Some("u".to_owned()),
            env: vec!["A=1".to_owned(), "B=2".to_owned()],
            labels: [("a".to_owned(), "1".to_owned())].into(),
            healthcheck: Some(Healthcheck {
                test: vec!["CMD".to_owned(), "t".to_owned()],
                retries: 7,
                ..Healthcheck::default()
            }),
            ..Execution::default()
        };
        let asked = Execution {
            user: Some(String::new()),
            env: vec!["B=3".to_owned()],
            labels: [("a".to_owned(), "2".to_owned())].into(),
            healthcheck: Some(Healthcheck {
                interval: 5,
                ..Healthcheck::default()
            }),
            ..Execution::default()
        };
        let merged = merge(asked, &image);
        assert_eq!(merged.user.as_deref(), Some("u"));
        assert_eq!(merged.env, ["B=3", "A=1"]);
        assert_eq!(merged.labels["a"], "2");
        let health = merged.healthcheck.unwrap();
        assert_eq!(
            (health.test.len(), health.interval, health.retries),
            (2, 5, 7)
        );
    }
}
