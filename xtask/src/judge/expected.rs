//! Which tests we don't pass, and why.
//!
//! A line is a test's name and the reason. `?` before the name: it depends on the machine's network.

use std::collections::BTreeMap;

use super::Outcome;

/// The tests of a suite that are expected to fail.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    misses: BTreeMap<&'a str, bool>,
}

impl<'a> Expected<'a> {
    /// Reads a list.
    pub(super) fn read(text: &'a str) -> Self {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let names = lines.filter_map(|line| line.split_whitespace().next());
        let misses = names.map(|name| match name.strip_prefix('?') {
            Some(name) => (name, false),
            None => (name, true),
        });
        Self {
            misses: misses.collect(),
        }
    }

    /// What is not as expected, said.
    pub(super) fn surprises(&self, suite: &str, outcomes: &[Outcome]) -> Vec<String> {
        let said = outcomes.iter().filter_map(|outcome| {
            let name = outcome.name.as_str();
            let certain = self.misses.get(name);
            match (outcome.passed, certain) {
                (false, None) => Some(format!("{suite}: {name} fails")),
                (true, Some(true)) => {
                    Some(format!("{suite}: {name} passes: take it off the misses"))
                }
                (true | false, _) => None,
            }
        });
        said.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(misses: &str, name: &str, passed: bool, surprises: usize) {
        let name = name.to_owned();
        let said = Expected::read(misses).surprises("s", &[Outcome { name, passed }]);
        assert_eq!(said.len(), surprises, "{said:?}");
    }

    #[test]
    fn what_fails_is_listed_and_what_is_listed_fails() {
        check("# why\na  no builder\n", "a", false, 0);
        check("a  no builder\n", "a", true, 1);
        check("a  no builder\n", "b", false, 1);
        check("", "b", true, 0);
        check("?a  Docker Hub\n", "a", true, 0);
        check("?a  Docker Hub\n", "a", false, 0);
    }
}
