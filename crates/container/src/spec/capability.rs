//! Capabilities: their names, what a container has by default, and what is added and dropped.

use super::{Error, Facts, Result};
use crate::settings::Security;

/// All that are known, by their number.
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container has if nobody says otherwise.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// One word of a list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    All,
    One(&'static str),
}

/// What a container with these settings may do. Privileged, and for `ALL`, it is what the daemon may.
///
/// # Errors
/// If a list names a capability that there is not.
pub fn of(security: &Security, facts: &Facts) -> Result<Vec<&'static str>> {
    let added = words("CapAdd", &security.cap_add, facts)?;
    let dropped = words("CapDrop", &security.cap_drop, facts)?;
    if security.privileged {
        return Ok(facts.capabilities.clone());
    }
    let kept = |name: &&'static str| !dropped.contains(&Word::One(name));
    let named = added.iter().filter_map(|word| match word {
        Word::One(name) => Some(*name),
        Word::All => None,
    });
    let wanted: Vec<_> = if added.contains(&Word::All) {
        facts.capabilities.iter().copied().filter(kept).collect()
    } else if dropped.contains(&Word::All) {
        named.collect()
    } else {
        DEFAULT.into_iter().filter(kept).chain(named).collect()
    };
    let mut unique = Vec::with_capacity(wanted.len());
    for name in wanted {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    Ok(unique)
}

fn words(list: &'static str, given: &[String], facts: &Facts) -> Result<Vec<Word>> {
    given.iter().map(|name| word(list, name, facts)).collect()
}

fn word(list: &'static str, given: &str, facts: &Facts) -> Result<Word> {
    let upper = given.to_ascii_uppercase();
    if upper == "ALL" {
        return Ok(Word::All);
    }
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let known = ALL.into_iter().find(|name| &name["CAP_".len()..] == short);
    let Some(name) = known else {
        return Err(Error::UnknownCapability {
            list,
            name: format!("CAP_{short}"),
        });
    };
    if !facts.capabilities.contains(&name) {
        return Err(Error::CapabilityNotHeld {
            list,
            name: name.to_owned(),
        });
    }
    Ok(Word::One(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str]) -> std::result::Result<Vec<&'static str>, String> {
        let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let security = Security {
            cap_add: list(add),
            cap_drop: list(drop),
            ..Security::default()
        };
        of(&security, &Facts::example()).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_change_the_default() {
        assert_eq!(check(&[], &[]).unwrap(), DEFAULT);
        let changed = check(&["net_admin", "CAP_SYS_PTRACE", "KILL"], &["chown"]).unwrap();
        assert_eq!(changed[..2], ["CAP_DAC_OVERRIDE", "CAP_FSETID"]);
        assert_eq!(
            changed[12..],
            ["CAP_AUDIT_WRITE", "CAP_NET_ADMIN", "CAP_SYS_PTRACE"]
        );
    }

    #[test]
    fn all_is_all_and_loses_to_names() {
        assert_eq!(check(&["ALL"], &[]).unwrap().len(), ALL.len());
        assert_eq!(check(&["all"], &["MKNOD"]).unwrap().len(), ALL.len() - 1);
        assert_eq!(check(&[], &["ALL"]).unwrap(), [""; 0]);
        assert_eq!(check(&["kill"], &["all"]).unwrap(), ["CAP_KILL"]);
    }

    #[test]
    fn unknown_names_are_refused_in_dockers_words() {
        let said = check(&["frobnicate"], &[]).unwrap_err();
        assert_eq!(
            said,
            r#"invalid CapAdd: unknown capability: "CAP_FROBNICATE""#
        );
        let said = check(&[], &["CAP_X"]).unwrap_err();
        assert_eq!(said, r#"invalid CapDrop: unknown capability: "CAP_X""#);
    }

    #[test]
    fn what_the_daemon_lacks_it_cannot_give() {
        let mut facts = Facts::example();
        facts
            .capabilities
            .retain(|name| *name != "CAP_SYS_RESOURCE");
        let mut security = Security {
            privileged: true,
            ..Security::default()
        };
        assert_eq!(of(&security, &facts).unwrap().len(), ALL.len() - 1);
        security.cap_add = vec!["SYS_RESOURCE".to_owned()];
        assert_eq!(
            of(&security, &facts).unwrap_err().to_string(),
            "invalid CapAdd: capability not supported by your kernel or not available in the current environment: \"CAP_SYS_RESOURCE\""
        );
    }
}
