//! Filters of `prune`, as Docker spells them.

use std::str::FromStr;

use lapstrake_engine::Label;

/// One filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    Label(Label),
    NotLabel(Label),
    /// As typed: what it means depends on the time.
    Until(String),
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some(("label", label)) => Ok(Self::Label(self::label(label))),
            Some(("label!", label)) => Ok(Self::NotLabel(self::label(label))),
            Some(("until", time)) => Ok(Self::Until(time.to_owned())),
            _ => Err("the filters are label=, label!= and until=".to_owned()),
        }
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

    #[test]
    fn filters_are_read_as_docker_spells_them() {
        let label = |key: &str, value: Option<&str>| Label {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        for (text, want) in [
            ("label=a", Filter::Label(label("a", None))),
            ("label=a=b=c", Filter::Label(label("a", Some("b=c")))),
            ("label!=a", Filter::NotLabel(label("a", None))),
            ("label!=a=", Filter::NotLabel(label("a", Some("")))),
            ("until=24h", Filter::Until("24h".to_owned())),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        assert!("dangling=true".parse::<Filter>().is_err());
        assert!("label".parse::<Filter>().is_err());
    }
}
