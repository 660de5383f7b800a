//! Filters of `prune` and `images`, as Docker spells them.

use std::str::FromStr;
use std::time::SystemTime;

use lapstrake_engine::{self as engine, ImageName, Label};

use crate::failure::{Failure, Result};

/// One filter of `prune`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Dangling(bool),
    Label(Label),
    NotLabel(Label),
    /// As typed: what it means depends on the time.
    Until(String),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some(("dangling", value)) => Ok(Self::Dangling(truth(value)?)),
            Some(("label", label)) => Ok(Self::Label(self::label(label))),
            Some(("label!", label)) => Ok(Self::NotLabel(self::label(label))),
            Some(("until", time)) => Ok(Self::Until(time.to_owned())),
            _ => Err("the filters are dangling=, label=, label!= and until=".to_owned()),
        }
    }
}

/// One filter of `images`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListFilter {
    Dangling(bool),
    Label(Label),
    Before(ImageName),
    Since(ImageName),
    Reference(String),
    /// As typed: what it means depends on the time.
    Until(String),
}

impl FromStr for ListFilter {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let image = |name: &str| name.parse::<ImageName>().map_err(|error| error.to_string());
        match text.split_once('=') {
            Some(("dangling", value)) => Ok(Self::Dangling(truth(value)?)),
            Some(("label", label)) => Ok(Self::Label(self::label(label))),
            Some(("before", name)) => Ok(Self::Before(image(name)?)),
            Some(("since", name)) => Ok(Self::Since(image(name)?)),
            Some(("reference", pattern)) => Ok(Self::Reference(pattern.to_owned())),
            Some(("until", time)) => Ok(Self::Until(time.to_owned())),
            _ => Err(
                "the filters are dangling=, label=, before=, since=, reference= and until="
                    .to_owned(),
            ),
        }
    }
}

/// What a time means now.
pub(crate) fn until(time: &str, now: SystemTime) -> Result<SystemTime> {
    engine::until(time, now).ok_or_else(|| Failure::NoTime(time.to_owned()))
}

fn truth(text: &str) -> std::result::Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(format!("dangling={text}: give true or false")),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: Option<&str>) -> Label {
        Label {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        }
    }

    #[test]
    fn filters_are_read_as_docker_spells_them() {
        for (text, want) in [
            ("label=a", Filter::Label(label("a", None))),
            ("label=a=b=c", Filter::Label(label("a", Some("b=c")))),
            ("label!=a", Filter::NotLabel(label("a", None))),
            ("label!=a=", Filter::NotLabel(label("a", Some("")))),
            ("until=24h", Filter::Until("24h".to_owned())),
            ("dangling=True", Filter::Dangling(true)),
            ("dangling=0", Filter::Dangling(false)),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        for text in ["dangling=maybe", "label", "before=x", "name=x", ""] {
            assert!(text.parse::<Filter>().is_err(), "{text}");
        }
    }

    #[test]
    fn lists_have_filters_of_their_own() {
        let image = |name: &str| name.parse::<ImageName>().unwrap();
        for (text, want) in [
            ("before=debian", ListFilter::Before(image("debian"))),
            ("since=0123abcd", ListFilter::Since(image("0123abcd"))),
            ("reference=a*", ListFilter::Reference("a*".to_owned())),
            ("label=a", ListFilter::Label(label("a", None))),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        for text in ["label!=a", "since", "since=A@", "dangling=", "x=y"] {
            assert!(text.parse::<ListFilter>().is_err(), "{text}");
        }
    }
}
