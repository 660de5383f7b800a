//! The process that a container is.

use serde_json::{Map, Value, json};

use super::limits::LimitError;
use super::{Error, Facts, Identity, Request, Result, capability, security};
use crate::settings::{Namespace, Rlimit, Settings};

/// Where an init is shown.
pub(super) const INIT: &str = "/sbin/docker-init";
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What `ulimit` calls them.
const RLIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// The container's own process.
pub(super) fn main(request: &Request<'_>, facts: &Facts) -> Result<Value> {
    let settings = request.settings;
    let mut args = settings.arguments();
    if args.iter().all(String::is_empty) {
        return Err(Error::NoCommand);
    }
    if has_init(settings) {
        args.splice(0..0, [INIT.to_owned(), "--".to_owned()]);
    }
    let given = settings.execution.env.iter().map(String::as_str);
    let mut process = Map::new();
    put(&mut process, "args", json!(args));
    put(
        &mut process,
        "env",
        json!(environment(request.hostname, settings.tty, given)),
    );
    put(&mut process, "cwd", json!(directory(settings)?));
    put(&mut process, "user", user(request.user));
    let held = capability::of(&settings.host.security, facts)?;
    put(
        &mut process,
        "capabilities",
        capabilities(&held, request.user),
    );
    restrict(&mut process, settings, facts)?;
    if settings.tty {
        terminal(&mut process, settings.host.console_size);
    }
    if let Some(score) = settings.host.oom_score {
        put(&mut process, "oomScoreAdj", json!(score));
    }
    Ok(Value::Object(process))
}

/// Whether a small init is the first process. One that joins the processes of others is none.
pub(super) fn has_init(settings: &Settings) -> bool {
    settings.host.init
        && match settings.host.pid {
            Namespace::Private | Namespace::Shareable | Namespace::None => true,
            Namespace::Host | Namespace::Container(_) => false,
        }
}

/// What security options and limits say of each of its processes.
pub(super) fn restrict(
    process: &mut Map<String, Value>,
    settings: &Settings,
    facts: &Facts,
) -> Result<()> {
    let options = security::Options::parse(&settings.host.security.options, facts)?;
    put(process, "noNewPrivileges", json!(options.no_new_privileges));
    if let Some(profile) = options.apparmor {
        put(process, "apparmorProfile", json!(profile));
    }
    let limits = &settings.host.resources.rlimits;
    let limits: Vec<_> = limits
        .iter()
        .map(|limit| rlimit(limit, facts))
        .collect::<Result<_>>()?;
    if !limits.is_empty() {
        put(process, "rlimits", json!(limits));
    }
    Ok(())
}

pub(super) fn put(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.insert(key.to_owned(), value);
}

pub(super) fn terminal(process: &mut Map<String, Value>, size: Option<(u16, u16)>) {
    put(process, "terminal", json!(true));
    if let Some((height, width)) = size.filter(|(height, width)| *height > 0 && *width > 0) {
        put(
            process,
            "consoleSize",
            json!({ "height": height, "width": width }),
        );
    }
}

/// The environment: what every container has, then what is given. Of two with the same name the later
/// counts, in the place of the first; a name alone takes it away.
pub(super) fn environment<'a>(
    hostname: &str,
    tty: bool,
    given: impl IntoIterator<Item = &'a str>,
) -> Vec<String> {
    let mut all = vec![PATH.to_owned()];
    if !hostname.is_empty() {
        all.push(format!("HOSTNAME={hostname}"));
    }
    if tty {
        all.push("TERM=xterm".to_owned());
    }
    override_with(&mut all, given);
    all
}

/// Puts `given` over what is there.
pub(super) fn override_with<'a>(all: &mut Vec<String>, given: impl IntoIterator<Item = &'a str>) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in given {
        let place = all.iter().position(|other| name(other) == name(entry));
        match (place, entry.contains('=')) {
            (Some(place), true) => entry.clone_into(&mut all[place]),
            (Some(place), false) => drop(all.remove(place)),
            (None, true) => all.push(entry.to_owned()),
            (None, false) => {}
        }
    }
}

pub(super) fn directory(settings: &Settings) -> Result<&str> {
    match settings.execution.working_dir.as_deref() {
        None | Some("") => Ok("/"),
        Some(dir) if dir.starts_with('/') => Ok(dir),
        Some(dir) => Err(Error::RelativeDirectory(dir.to_owned())),
    }
}

pub(super) fn user(user: &Identity) -> Value {
    json!({ "uid": user.uid, "gid": user.gid, "additionalGids": user.groups })
}

/// As in Docker, another user than root gets none but those it may gain by a program that has them.
pub(super) fn capabilities(held: &[&str], user: &Identity) -> Value {
    let own: &[&str] = if user.uid == 0 { held } else { &[] };
    json!({ "bounding": held, "effective": own, "permitted": own })
}

/// A limit as the runtime has it.
pub(super) fn rlimit(limit: &Rlimit, facts: &Facts) -> Result<Value> {
    let lower = limit.name.to_ascii_lowercase();
    let name = lower.strip_prefix("rlimit_").unwrap_or(&lower);
    if !RLIMITS.contains(&name) {
        return Err(LimitError::RlimitName(limit.name.clone()).into());
    }
    let number = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let (soft, hard) = (number(limit.soft), number(limit.hard));
    if soft > hard {
        let (soft, hard) = (limit.soft, limit.hard);
        return Err(LimitError::RlimitOrder { soft, hard }.into());
    }
    match facts.rlimits.get(name) {
        Some(&max) if hard > max => Err(LimitError::RlimitTooHigh {
            name: name.to_owned(),
            asked: limit.hard,
            max,
        }
        .into()),
        _ => {
            let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
            Ok(json!({ "type": kind, "soft": soft, "hard": hard }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(tty: bool, given: &[&str]) -> Vec<String> {
        environment("h", tty, given.iter().copied())
    }

    #[test]
    fn the_environment_has_dockers_order() {
        assert_eq!(env(false, &[]), [PATH, "HOSTNAME=h"]);
        let all = env(true, &["A=1", "PATH=/x", "A=2=3", "HOSTNAME", "B", "TERM="]);
        assert_eq!(all, ["PATH=/x", "TERM=", "A=2=3"]);
    }

    #[test]
    fn limits_are_checked_against_the_daemons_own() {
        let limit = |name: &str, soft, hard| Rlimit {
            name: name.to_owned(),
            soft,
            hard,
        };
        let mut facts = Facts::example();
        facts.rlimits.insert("nofile", 20_000);
        let made = rlimit(&limit("NOFILE", 1, 20_000), &facts).unwrap();
        assert_eq!(
            made,
            json!({ "type": "RLIMIT_NOFILE", "soft": 1, "hard": 20_000 })
        );
        assert!(rlimit(&limit("core", -1, -1), &facts).is_ok());
        for (bad, said) in [
            (
                limit("nofile", 1, 20_001),
                "above this host's hard limit 20000",
            ),
            (
                limit("nofile", -1, -1),
                "above this host's hard limit 20000",
            ),
            (limit("nofile", 2, 1), "soft limit must be less"),
            (limit("x", 1, 1), "invalid ulimit type: x"),
        ] {
            let error = rlimit(&bad, &facts).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
