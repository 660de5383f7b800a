//! Scopes: what a token allows (the distribution project's "Token Scope Documentation").

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Resources, such as `repository:team/app`, and what may be done to each, such as `pull`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(BTreeMap<String, BTreeSet<String>>);

impl Scope {
    /// To pull from a repository.
    pub fn pull(path: &str) -> Self {
        Self::of(path, &["pull"])
    }

    /// To push to a repository, and to look what it has.
    pub fn push(path: &str) -> Self {
        Self::of(path, &["pull", "push"])
    }

    /// To push to a repository what another one has.
    pub fn mount(path: &str, from: &str) -> Self {
        Self::pull(from).and(&Self::push(path))
    }

    fn of(path: &str, actions: &[&str]) -> Self {
        let actions = actions.iter().map(|action| (*action).to_owned());
        Self([(format!("repository:{path}"), actions.collect())].into())
    }

    /// Reads scopes as a challenge has them, separated by spaces.
    pub fn parse(text: &str) -> Self {
        let mut scope = Self::default();
        for item in text.split_whitespace() {
            let (resource, actions) = item.rsplit_once(':').unwrap_or((item, ""));
            let actions = actions.split(',').filter(|action| !action.is_empty());
            scope
                .0
                .entry(resource.to_owned())
                .or_default()
                .extend(actions.map(str::to_owned));
        }
        scope
    }

    /// What either allows.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (resource, actions) in &other.0 {
            let known = both.0.entry(resource.clone()).or_default();
            known.extend(actions.iter().cloned());
        }
        both
    }

    /// Each resource with its actions, as a token server reads them.
    pub fn items(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(resource, actions)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.items().collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn scopes_as_token_servers_read_them() {
        assert_eq!(Scope::pull("a/b").to_string(), "repository:a/b:pull");
        assert_eq!(Scope::push("a/b").to_string(), "repository:a/b:pull,push");
        let mount = Scope::mount("a", "b");
        assert_eq!(
            mount.to_string(),
            "repository:a:pull,push repository:b:pull"
        );
        assert_eq!(Scope::mount("a", "a"), Scope::push("a"));
    }

    #[test]
    fn what_is_asked_for_and_what_is_needed() {
        let asked = Scope::parse("repository:a:pull registry:catalog:*");
        let both = asked.and(&Scope::push("a"));
        assert_eq!(
            both.to_string(),
            "registry:catalog:* repository:a:pull,push"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_written_the_same(text in "[a-z:/, ]{0,60}") {
            let scope = Scope::parse(&text);
            prop_assert_eq!(Scope::parse(&scope.to_string()), scope);
        }
    }
}
