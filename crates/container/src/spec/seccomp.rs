//! Which system calls a container may make.
//!
//! A [`Profile`] says so for any host: by capability, architecture and kernel. [`Profile::filter`] picks what
//! counts for one container on this host, and writes it as runtimes read it. The default one is in
//! [`default`]; a client may send another.

mod default;
mod profile;

use serde_json::{Map, Value, json};

use super::process::put;
use super::security::{Options, Seccomp};
use super::{Error, Facts, Result};
use profile::Profile;

/// The filter of a container that holds these capabilities; nothing if all calls are let through.
///
/// # Errors
/// If a profile was given that can't be used.
pub(super) fn filter(
    options: &Options<'_>,
    privileged: bool,
    held: &[&str],
    facts: &Facts,
) -> Result<Option<Value>> {
    match (&options.seccomp, facts.seccomp) {
        (Seccomp::Unconfined, _) => Ok(None),
        (Seccomp::Default, true) if privileged => Ok(None),
        (Seccomp::Default, true) => Ok(Some(select(&default::profile(), held, facts))),
        // A warning says so: see `validate`.
        (Seccomp::Default, false) => Ok(None),
        (Seccomp::Profile(text), true) => Ok(Some(select(&Profile::parse(text)?, held, facts))),
        (Seccomp::Profile(_), false) => Err(Error::NotHere {
            what: "a seccomp profile".to_owned(),
            remedy: "its kernel does not filter system calls; use seccomp=unconfined",
        }),
    }
}

/// Whether a profile can be read.
pub(super) fn check(options: &Options<'_>) -> Result<()> {
    match options.seccomp {
        Seccomp::Profile(text) => Profile::parse(text).map(drop),
        Seccomp::Default | Seccomp::Unconfined => Ok(()),
    }
}

/// What of a profile counts here.
fn select(profile: &Profile, held: &[&str], facts: &Facts) -> Value {
    let mut filter = Map::new();
    put(&mut filter, "defaultAction", json!(profile.default_action));
    if let Some(number) = profile.default_errno {
        put(&mut filter, "defaultErrnoRet", json!(number));
    }
    let architectures = profile.architectures(facts.architecture);
    if !architectures.is_empty() {
        put(&mut filter, "architectures", json!(architectures));
    }
    if !profile.flags.is_empty() {
        put(&mut filter, "flags", json!(profile.flags));
    }
    for (key, value) in [
        ("listenerPath", &profile.listener_path),
        ("listenerMetadata", &profile.listener_metadata),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            put(&mut filter, key, json!(value));
        }
    }
    let counts = profile.rules.iter().filter(|rule| rule.counts(held, facts));
    put(
        &mut filter,
        "syscalls",
        counts.map(profile::Rule::written).collect(),
    );
    Value::Object(filter)
}
