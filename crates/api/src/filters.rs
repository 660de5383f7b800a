//! Filters: JSON in a query, in the form of today and in the old one.
//!
//! `{"label":{"a=b":true}}` is today's form, `{"label":["a=b"]}` the old one. What the values of today's
//! form are does not matter, as with Docker.

use std::collections::{BTreeMap, BTreeSet};

use lapstrake_engine::Label;
use serde::Deserialize;
use serde_json::Value;

use crate::error::Failure;
use crate::query::Query;

/// By name, the values that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(BTreeMap<String, BTreeSet<String>>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    New(BTreeMap<String, Option<BTreeMap<String, bool>>>),
    Old(BTreeMap<String, Option<Vec<String>>>),
}

impl Filters {
    /// Reads those of a request, of which only these names are known.
    pub(crate) fn of(query: &Query, known: &[&str]) -> Result<Self, Failure> {
        let filters = match query.get("filters") {
            None => Self::default(),
            Some(text) => Self::parse(text)?,
        };
        let unknown = filters
            .0
            .keys()
            .find(|name| !known.contains(&name.as_str()));
        match unknown {
            Some(name) => Err(Failure::invalid(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| Failure::invalid(format!("invalid filter: {error}")))?;
        let written = Option::<Written>::deserialize(value).map_err(|_| {
            Failure::invalid(
                r#"invalid filter: give an object such as {"label":{"a=b":true}} or {"label":["a=b"]}"#,
            )
        })?;
        let Some(written) = written else {
            return Ok(Self::default());
        };
        let filters = match written {
            Written::New(filters) => filters
                .into_iter()
                .map(|(name, values)| (name, values.unwrap_or_default().into_keys().collect()))
                .collect(),
            Written::Old(filters) => filters
                .into_iter()
                .map(|(name, values)| (name, values.unwrap_or_default().into_iter().collect()))
                .collect(),
        };
        Ok(Self(filters))
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of one.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.get(name).into_iter().flatten().map(String::as_str)
    }

    /// Whether there is none of this name, or one of its values passes.
    pub(crate) fn any(&self, name: &str, passes: impl Fn(&str) -> bool) -> bool {
        !self.has(name) || self.all(name).any(passes)
    }

    /// Whether there is none of this name, or one of its values is this or begins it.
    pub(crate) fn fuzzy(&self, name: &str, value: &str) -> bool {
        self.any(name, |wanted| value.starts_with(wanted))
    }

    /// One that is yes or no.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Failure> {
        let Some(values) = self.0.get(name) else {
            return Ok(None);
        };
        let has = |words: [&str; 2]| words.iter().any(|word| values.contains(*word));
        match (has(["1", "true"]), has(["0", "false"])) {
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => Err(self.wrong(name)),
        }
    }

    /// The only value of one.
    pub(crate) fn single(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(Some(value)),
            (None, _) if !self.has(name) => Ok(None),
            _ => Err(self.wrong(name)),
        }
    }

    /// Labels to look for.
    pub(crate) fn labels(&self, name: &str) -> Vec<Label> {
        self.all(name).map(label).collect()
    }

    /// As Docker says that a value can't be used.
    pub(crate) fn wrong(&self, name: &str) -> Failure {
        let values: Vec<_> = self.all(name).collect();
        Failure::invalid(format!("invalid filter '{name}=[{}]'", values.join(" ")))
    }
}

fn label(text: &str) -> Label {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (text, None),
    };
    Label {
        key: key.to_owned(),
        value,
    }
}

/// The moment that `until` names.
pub(crate) fn until(filters: &Filters) -> Result<Option<std::time::SystemTime>, Failure> {
    let Some(text) = filters.single("until")? else {
        return Ok(None);
    };
    let moment = lapstrake_engine::until(text, std::time::SystemTime::now());
    moment.map(Some).ok_or_else(|| {
        Failure::invalid(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(json: &str) -> Result<Filters, String> {
        let text: String = form_urlencoded::byte_serialize(json.as_bytes()).collect();
        let query = Query::parse(&format!("filters={text}"));
        Filters::of(&query, &["label", "dangling", "until"]).map_err(|failure| failure.message)
    }

    #[test]
    fn both_forms_say_the_same() {
        let new = filters(r#"{"label":{"a=b":true,"c":false}}"#).expect("today's");
        let old = filters(r#"{"label":["a=b","c"]}"#).expect("the old one");
        assert_eq!(new, old);
        assert_eq!(new.all("label").collect::<Vec<_>>(), ["a=b", "c"]);
        let labels = new.labels("label");
        assert_eq!(labels[0].value.as_deref(), Some("b"));
        assert_eq!(labels[1].value, None);
        for nothing in ["", "{}", "null"] {
            assert_eq!(filters(nothing), Ok(Filters::default()));
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_dockers_words() {
        let unknown = filters(r#"{"colour":{"red":true}}"#);
        assert_eq!(unknown, Err("invalid filter 'colour'".to_owned()));
        for (no_filter, words) in [
            ("[]", "invalid filter: give an object such as "),
            (r#"{"label":1}"#, "invalid filter: give an object such as "),
            (
                r#"{"label":{"a":1}}"#,
                "invalid filter: give an object such as ",
            ),
            ("x", "invalid filter: expected value at line 1"),
        ] {
            let error = filters(no_filter).expect_err(no_filter);
            assert!(error.starts_with(words), "{no_filter}: {error}");
        }
        let flag = |json: &str| {
            let flag = filters(json).expect(json).flag("dangling");
            flag.map_err(|failure| failure.message)
        };
        assert_eq!(flag(r#"{"dangling":{"1":true}}"#), Ok(Some(true)));
        assert_eq!(flag(r#"{"dangling":["false"]}"#), Ok(Some(false)));
        assert_eq!(flag("{}"), Ok(None));
        assert_eq!(
            flag(r#"{"dangling":["maybe"]}"#),
            Err("invalid filter 'dangling=[maybe]'".to_owned())
        );
        let both = filters(r#"{"until":["1h","2h"]}"#).expect("two");
        assert!(both.single("until").is_err());
    }
}
