//! What stands behind the `?`.

use crate::error::Failure;

/// The parameters of a request, in their order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it. Whatever is no percent encoding stands for itself.
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// The first value of this name; one that is empty is none.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    /// The first value of this name, if it is empty too.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(known, _)| known == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let found = self.0.iter().filter(move |(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Whether something is wished: whatever is not a word for no is yes.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.raw(name).is_some_and(is_yes)
    }

    /// As [`Self::flag`], with what is meant when nothing is said.
    pub(crate) fn flag_or(&self, name: &str, unsaid: bool) -> bool {
        self.raw(name).map_or(unsaid, is_yes)
    }

    /// A whole number, if there is one.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Failure> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse();
        number.map(Some).map_err(|_| {
            Failure::invalid(format!(
                "strconv.ParseInt: parsing \"{text}\": invalid syntax ({name})"
            ))
        })
    }
}

fn is_yes(text: &str) -> bool {
    let text = text.trim();
    let no = ["", "0", "no", "false", "none"];
    !no.iter().any(|no| text.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        let query = Query::parse("a=1&names=x%3A1&names=y+z&e=&bad=%zz");
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("names").collect::<Vec<_>>(), ["x:1", "y z"]);
        assert_eq!((query.get("e"), query.raw("e")), (None, Some("")));
        assert_eq!(query.get("bad"), Some("%zz"));
        assert_eq!(query.get("none"), None);
    }

    #[test]
    fn what_is_no_word_for_no_is_yes() {
        for (text, want) in [
            ("x=1", true),
            ("x=true", true),
            ("x=True", true),
            ("x=anything", true),
            ("x=0", false),
            ("x=false", false),
            ("x=No", false),
            ("x=none", false),
            ("x=", false),
            ("y=1", false),
        ] {
            assert_eq!(Query::parse(text).flag("x"), want, "{text}");
        }
        assert!(Query::parse("").flag_or("x", true));
        assert!(!Query::parse("x=0").flag_or("x", true));
    }

    #[test]
    fn numbers_are_numbers() {
        assert_eq!(
            Query::parse("n=-5").number("n").expect("a number"),
            Some(-5)
        );
        assert_eq!(Query::parse("").number("n").expect("nothing"), None);
        assert!(Query::parse("n=five").number("n").is_err());
    }
}
