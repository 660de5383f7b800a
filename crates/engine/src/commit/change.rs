//! Changes to an image's config, written as a Dockerfile's instructions, as `docker commit --change`
//! takes them.

use lapstrake_oci::Execution;

use super::words::{self, Problem};
use crate::error::{Error, Result};

/// What may be changed so.
const KNOWN: &str = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME, WORKDIR";

/// Applies instructions in order.
pub(crate) fn apply(config: &mut Execution, instructions: &[String]) -> Result<()> {
    // An entrypoint takes the command of the image away, unless one is given before it.
    let mut command_given = false;
    let lines = instructions.iter().flat_map(|text| text.lines());
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        one(config, line, &mut command_given).map_err(|why| Error::Change {
            instruction: line.to_owned(),
            why,
        })?;
    }
    Ok(())
}

fn one(
    config: &mut Execution,
    line: &str,
    command_given: &mut bool,
) -> std::result::Result<(), String> {
    let (verb, rest) = line
        .split_once(char::is_whitespace)
        .map_or((line, ""), |(verb, rest)| (verb, rest.trim()));
    if rest.is_empty() {
        return Err("it says nothing".to_owned());
    }
    match verb.to_ascii_uppercase().as_str() {
        "CMD" => {
            config.cmd = Some(command_line(config, rest)?);
            *command_given = true;
        }
        "ENTRYPOINT" => {
            config.entrypoint = Some(command_line(config, rest)?);
            if !*command_given {
                config.cmd = None;
            }
        }
        "ENV" => {
            for (name, value) in pairs(config, rest)? {
                set_env(config, &name, &value);
            }
        }
        "LABEL" => {
            for (name, value) in pairs(config, rest)? {
                config.labels.insert(name, value);
            }
        }
        "EXPOSE" => {
            for word in expanded_words(config, rest)? {
                config.exposed_ports.extend(ports(&word)?);
            }
        }
        "ONBUILD" => {
            let first = rest.split_whitespace().next().unwrap_or_default();
            if ["ONBUILD", "FROM", "MAINTAINER"]
                .iter()
                .any(|no| first.eq_ignore_ascii_case(no))
            {
                return Err(format!("{first} cannot be put off to a later build"));
            }
            config.on_build.push(rest.to_owned());
        }
        "USER" => config.user = Some(expanded(config, rest)?),
        "VOLUME" => {
            let volumes = match json(rest) {
                Some(volumes) => volumes,
                None => expanded_words(config, rest)?,
            };
            if volumes.iter().any(String::is_empty) {
                return Err("a volume has no name".to_owned());
            }
            config.volumes.extend(volumes);
        }
        "WORKDIR" => {
            let to = expanded(config, rest)?;
            config.working_dir = Some(join(config.working_dir.as_deref(), &to));
        }
        other => return Err(format!("{other} cannot be changed so: only {KNOWN}")),
    }
    Ok(())
}

/// A list in JSON; nothing if it is not one.
fn json(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A command as words, or as text for a shell.
fn command_line(config: &Execution, text: &str) -> std::result::Result<Vec<String>, Problem> {
    if let Some(words) = json(text) {
        return Ok(words);
    }
    let shell = match &config.shell {
        Some(shell) if !shell.is_empty() => shell.clone(),
        _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
    };
    Ok(shell.into_iter().chain([text.to_owned()]).collect())
}

fn expanded(config: &Execution, text: &str) -> std::result::Result<String, Problem> {
    words::expand(text, &|name| get_env(config, name))
}

fn expanded_words(config: &Execution, text: &str) -> std::result::Result<Vec<String>, Problem> {
    let words = words::split(text)?;
    words.iter().map(|word| expanded(config, word)).collect()
}

/// `NAME=value …`, or the older `NAME value` to the end of the line.
fn pairs(config: &Execution, text: &str) -> std::result::Result<Vec<(String, String)>, Problem> {
    let words = words::split(text)?;
    let first = words.first().map(String::as_str).unwrap_or_default();
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or("a name has no value")?;
        let value = expanded(config, value.trim())?;
        return Ok(vec![(expanded(config, name)?, value)]);
    }
    let pair = |word: &String| {
        let (name, value) = word.split_once('=').ok_or("a name has no value")?;
        if name.is_empty() {
            return Err("a value has no name");
        }
        // Values of one instruction do not see each other.
        Ok((expanded(config, name)?, expanded(config, value)?))
    };
    words.iter().map(pair).collect()
}

fn get_env(config: &Execution, name: &str) -> Option<String> {
    let mut all = config.env.iter().filter_map(|pair| pair.split_once('='));
    all.find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}

fn set_env(config: &mut Execution, name: &str, value: &str) {
    let pair = format!("{name}={value}");
    let same = |pair: &&mut String| pair.split_once('=').is_some_and(|(key, _)| key == name);
    match config.env.iter_mut().find(same) {
        Some(old) => *old = pair,
        None => config.env.push(pair),
    }
}

/// `80`, `80/udp`, `8000-8010/tcp`: each port with its protocol.
fn ports(text: &str) -> std::result::Result<Vec<String>, String> {
    let refuse = || format!("{text:?} is no port: use PORT, PORT/PROTOCOL or FIRST-LAST/PROTOCOL");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| text.parse::<u16>().ok();
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        return Err(refuse());
    };
    if first > last || !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(refuse());
    }
    Ok((first..=last)
        .map(|port| format!("{port}/{protocol}"))
        .collect())
}

/// A directory, seen from the one before.
fn join(from: Option<&str>, to: &str) -> String {
    let whole = match to.strip_prefix('/') {
        Some(_) => to.to_owned(),
        None => format!("{}/{to}", from.unwrap_or_default()),
    };
    let mut parts = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Execution {
        Execution {
            env: vec!["PATH=/bin".to_owned(), "A=1".to_owned()],
            cmd: Some(vec!["sh".to_owned()]),
            working_dir: Some("/srv".to_owned()),
            ..Execution::default()
        }
    }

    /// The config as JSON after the instructions, next to what it should be.
    fn check(instructions: &[&str], changed: serde_json::Value) {
        let instructions: Vec<_> = instructions.iter().map(|text| (*text).to_owned()).collect();
        let mut config = base();
        apply(&mut config, &instructions).unwrap();
        let mut expected = serde_json::to_value(base()).unwrap();
        let serde_json::Value::Object(changed) = changed else {
            panic!("an object")
        };
        for (name, value) in changed {
            match value {
                serde_json::Value::Null => drop(expected.as_object_mut().unwrap().remove(&name)),
                value => expected[name] = value,
            }
        }
        assert_eq!(
            serde_json::to_value(config).unwrap(),
            expected,
            "{instructions:?}"
        );
    }

    #[test]
    fn instructions_do_what_docker_does() {
        use serde_json::json;
        check(&["CMD [\"a\", \"b\"]"], json!({"Cmd": ["a", "b"]}));
        check(&["cmd a b"], json!({"Cmd": ["/bin/sh", "-c", "a b"]}));
        check(
            &["ENTRYPOINT [\"e\"]"],
            json!({"Entrypoint": ["e"], "Cmd": null}),
        );
        check(
            &["CMD [\"c\"]", "ENTRYPOINT [\"e\"]"],
            json!({"Entrypoint": ["e"], "Cmd": ["c"]}),
        );
        check(
            &["ENV PATH=$PATH:/x B=\"two words\"\nENV C last of it"],
            json!({"Env": ["PATH=/bin:/x", "A=1", "B=two words", "C=last of it"]}),
        );
        check(
            &["EXPOSE 80 53/udp 8000-8001"],
            json!({"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8000/tcp": {}, "8001/tcp": {}}}),
        );
        check(
            &["LABEL a=1 \"b c\"=d"],
            json!({"Labels": {"a": "1", "b c": "d"}}),
        );
        check(&["ONBUILD RUN x"], json!({"OnBuild": ["RUN x"]}));
        check(&["USER me:us"], json!({"User": "me:us"}));
        check(
            &["VOLUME /a /b", "VOLUME [\"/c d\"]"],
            json!({"Volumes": {"/a": {}, "/b": {}, "/c d": {}}}),
        );
        check(&["WORKDIR a/../b"], json!({"WorkingDir": "/srv/b"}));
        check(&["WORKDIR /x", "WORKDIR y"], json!({"WorkingDir": "/x/y"}));
        check(&[], json!({}));
    }

    #[test]
    fn other_instructions_are_refused_by_name() {
        for (text, why) in [
            ("RUN x", "RUN"),
            ("CMD", "nothing"),
            ("EXPOSE x", "port"),
            ("ONBUILD FROM x", "FROM"),
            ("ENV A", "value"),
            ("LABEL a='b", "quote"),
        ] {
            let error = apply(&mut base(), &[text.to_owned()]).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    proptest::proptest! {
        /// It is an error or it is not: never a panic.
        #[test]
        fn anything_may_be_an_instruction(
            verb in "CMD|ENTRYPOINT|ENV|LABEL|EXPOSE|ONBUILD|USER|VOLUME|WORKDIR|\\PC{0,4}",
            rest in "[a-z0-9$ {}\\[\\]\"'\\\\=:/.,+é-]{0,24}",
        ) {
            drop(apply(&mut base(), &[format!("{verb} {rest}")]));
        }
    }
}
