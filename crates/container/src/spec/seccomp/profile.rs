//! A profile, in the format that Docker's clients send.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::spec::process::put;
use crate::spec::{Error, Facts, Result};

/// Longer ones are not read.
const BYTES_MAX: usize = 1 << 20;
/// More arguments no system call has.
const ARGUMENTS_MAX: u32 = 5;
const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_NE",
    "SCMP_CMP_LT",
    "SCMP_CMP_LE",
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_MASKED_EQ",
];

/// Which calls are let through, and what becomes of others, on any host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Profile {
    pub(super) default_action: String,
    #[serde(rename = "defaultErrnoRet")]
    pub(super) default_errno: Option<u32>,
    #[serde(default, rename = "architectures", deserialize_with = "null_is_empty")]
    pub(super) plain_architectures: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) arch_map: Vec<Architecture>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) flags: Vec<String>,
    pub(super) listener_path: Option<String>,
    pub(super) listener_metadata: Option<String>,
    #[serde(default, rename = "syscalls", deserialize_with = "null_is_empty")]
    pub(super) rules: Vec<Rule>,
}

/// An architecture, and those whose programs it runs too.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Architecture {
    pub(super) architecture: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) sub_architectures: Vec<String>,
}

/// What becomes of some calls.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) names: Vec<String>,
    pub(super) action: String,
    #[serde(rename = "errnoRet")]
    pub(super) errno: Option<u32>,
    #[serde(default, rename = "args", deserialize_with = "null_is_empty")]
    pub(super) arguments: Vec<Argument>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) includes: Condition,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) excludes: Condition,
}

/// What an argument has to be for a rule to count.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    pub(super) index: u32,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: String,
}

/// Where a rule counts, or does not.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) caps: Vec<String>,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) arches: Vec<String>,
    pub(super) min_kernel: Option<String>,
}

fn null_is_empty<'de, D, T>(from: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

impl Profile {
    /// Reads a profile, and checks that a runtime will understand it.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::Seccomp(what.to_owned());
        if text.len() > BYTES_MAX {
            return Err(wrong("it is longer than 1 MiB"));
        }
        let mut profile: Self =
            serde_json::from_str(text).map_err(|error| Error::Seccomp(error.to_string()))?;
        if !profile.plain_architectures.is_empty() && !profile.arch_map.is_empty() {
            return Err(wrong(
                "both 'architectures' and 'archMap' are specified in the seccomp profile, use either 'architectures' or 'archMap'",
            ));
        }
        action(&profile.default_action)?;
        for rule in &mut profile.rules {
            rule.check()?;
        }
        Ok(profile)
    }

    /// The architectures whose programs the filter is for.
    pub(super) fn architectures(&self, architecture: &str) -> Vec<&str> {
        let native = native(architecture).1;
        let here = self.arch_map.iter().find(|one| one.architecture == native);
        match here {
            Some(here) => {
                let sub = here.sub_architectures.iter().map(String::as_str);
                std::iter::once(here.architecture.as_str())
                    .chain(sub)
                    .collect()
            }
            None => self
                .plain_architectures
                .iter()
                .map(String::as_str)
                .collect(),
        }
    }
}

impl Rule {
    fn check(&mut self) -> Result<()> {
        match (
            self.name.take().filter(|name| !name.is_empty()),
            self.names.is_empty(),
        ) {
            (Some(_), false) => {
                let words = "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'";
                return Err(Error::Seccomp(words.to_owned()));
            }
            (Some(name), true) => self.names.push(name),
            (None, _) => {}
        }
        action(&self.action)?;
        for argument in &self.arguments {
            if argument.index > ARGUMENTS_MAX || !OPERATORS.contains(&argument.op.as_str()) {
                let words = format!(
                    "no such comparison: {} of argument {}",
                    argument.op, argument.index
                );
                return Err(Error::Seccomp(words));
            }
        }
        for condition in [&self.includes, &self.excludes] {
            if let Some(text) = &condition.min_kernel {
                kernel(text)
                    .ok_or_else(|| Error::Seccomp(format!("invalid kernel version: {text}")))?;
            }
        }
        Ok(())
    }

    /// Whether it counts for a container that holds these capabilities.
    pub(super) fn counts(&self, held: &[&str], facts: &Facts) -> bool {
        let here = native(facts.architecture).0;
        let is_here = |arches: &[String]| arches.iter().any(|arch| arch == here);
        let is_held = |cap: &String| held.contains(&cap.as_str());
        let is_newer = |text: &String| kernel(text).is_some_and(|least| facts.kernel >= least);
        let (with, without) = (&self.includes, &self.excludes);
        let excluded = is_here(&without.arches)
            || without.caps.iter().any(is_held)
            || without.min_kernel.as_ref().is_some_and(is_newer);
        let included = (with.arches.is_empty() || is_here(&with.arches))
            && with.caps.iter().all(is_held)
            && with.min_kernel.as_ref().is_none_or(is_newer);
        included && !excluded && !self.names.is_empty()
    }

    /// As runtimes read it.
    pub(super) fn written(&self) -> Value {
        let mut rule = Map::new();
        put(&mut rule, "names", json!(self.names));
        put(&mut rule, "action", json!(self.action));
        if let Some(number) = self.errno {
            put(&mut rule, "errnoRet", json!(number));
        }
        if !self.arguments.is_empty() {
            let one = |one: &Argument| json!({ "index": one.index, "value": one.value, "valueTwo": one.value_two, "op": one.op });
            put(&mut rule, "args", self.arguments.iter().map(one).collect());
        }
        Value::Object(rule)
    }
}

fn action(name: &str) -> Result<()> {
    match ACTIONS.contains(&name) {
        true => Ok(()),
        false => Err(Error::Seccomp(format!("no such action: {name:?}"))),
    }
}

/// `4.8`, maybe with more behind.
fn kernel(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// An architecture as profiles have it in conditions, and as libseccomp has it.
fn native(architecture: &str) -> (&str, &'static str) {
    match architecture {
        "x86_64" => ("amd64", "SCMP_ARCH_X86_64"),
        "x86" => ("x86", "SCMP_ARCH_X86"),
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        "arm" => ("arm", "SCMP_ARCH_ARM"),
        "powerpc64" => ("ppc64le", "SCMP_ARCH_PPC64LE"),
        "riscv64" => ("riscv64", "SCMP_ARCH_RISCV64"),
        "s390x" => ("s390x", "SCMP_ARCH_S390X"),
        "loongarch64" => ("loong64", "SCMP_ARCH_LOONGARCH64"),
        other => (other, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, held: &[&str]) -> std::result::Result<Value, String> {
        let profile = Profile::parse(text).map_err(|error| error.to_string())?;
        Ok(super::super::select(&profile, held, &Facts::example()))
    }

    #[test]
    fn conditions_pick_what_counts_here() {
        let text = r#"{
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "syscalls": [
            {"names": ["a"], "action": "SCMP_ACT_ALLOW", "args": null, "comment": "x", "includes": {}, "excludes": null},
            {"name": "b", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_X", "CAP_Y"]}},
            {"names": ["c"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_X"]}},
            {"names": ["d"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
            {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"], "minKernel": "4.8"}},
            {"names": ["f"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.1"}},
            {"names": ["g"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"minKernel": "99.1"},
             "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#;
        let names = |held: &[&str]| {
            let made = check(text, held).unwrap();
            let rules = made["syscalls"].as_array().unwrap().clone();
            rules
                .iter()
                .map(|rule| rule["names"][0].as_str().unwrap().to_owned())
                .collect::<String>()
        };
        assert_eq!(names(&[]), "aceg");
        assert_eq!(names(&["CAP_X"]), "aeg");
        assert_eq!(names(&["CAP_X", "CAP_Y"]), "abeg");
        let made = check(text, &[]).unwrap();
        assert_eq!(
            made["syscalls"][3],
            json!({ "names": ["g"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
                "args": [{ "index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ" }] })
        );
    }

    #[test]
    fn architectures_are_mapped_or_plain() {
        let of = |rest: &str| {
            check(
                &format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW",{rest}}}"#),
                &[],
            )
            .unwrap()["architectures"]
                .clone()
        };
        let map = r#""archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},{"architecture":"SCMP_ARCH_ARM"}]"#;
        assert_eq!(of(map), json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]));
        assert_eq!(
            of(r#""architectures":["SCMP_ARCH_ARM"]"#),
            json!(["SCMP_ARCH_ARM"])
        );
        assert_eq!(of(r#""flags":[]"#), Value::Null);
    }

    #[test]
    fn what_a_runtime_would_not_understand_is_refused() {
        let rule =
            |rule: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{rule}]}}"#);
        for (text, said) in [
            ("", "Decoding seccomp profile failed"),
            ("{}", "missing field `defaultAction`"),
            (r#"{"defaultAction":"x"}"#, "no such action"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["a"],"archMap":[{"architecture":"b"}]}"#,
                "use either 'architectures' or 'archMap'",
            ),
            (
                &rule(r#"{"name":"a","names":["b"],"action":"SCMP_ACT_ALLOW"}"#),
                "use either 'name' or 'names'",
            ),
            (&rule(r#"{"names":["b"],"action":"x"}"#), "no such action"),
            (
                &rule(
                    r#"{"names":["b"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}"#,
                ),
                "no such comparison",
            ),
            (
                &rule(r#"{"names":["b"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"x"}}"#),
                "invalid kernel version",
            ),
        ] {
            let error = check(text, &[]).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
