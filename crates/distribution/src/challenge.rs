//! `WWW-Authenticate`: how a registry wants to be asked (RFC 9110, section 11.6.1).

use std::iter::Peekable;
use std::str::Chars;

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Fetch a token from a server and send that.
    Bearer(Bearer),
    /// Send user and password.
    Basic,
}

/// Where a token comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// URL of the token server.
    pub realm: String,
    /// The name by which the token server knows the registry.
    pub service: Option<String>,
    /// What the token must allow.
    pub scope: Option<String>,
}

/// Reads the challenges of one header. Schemes that no registry uses are passed over.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut text = header.chars().peekable();
    loop {
        skip(&mut text, |c| c.is_whitespace() || c == ',');
        let word = take(&mut text, |c| {
            !c.is_whitespace() && !matches!(c, ',' | '=' | '"')
        });
        if word.is_empty() {
            // Not something that can start here: pass over one character, or end.
            match text.next() {
                Some(_) => continue,
                None => break,
            }
        }
        skip(&mut text, char::is_whitespace);
        if text.peek() == Some(&'=') {
            text.next();
            skip(&mut text, char::is_whitespace);
            let value = value(&mut text);
            if let Some((_, parameters)) = challenges.last_mut() {
                parameters.push((word.to_ascii_lowercase(), value));
            }
        } else {
            challenges.push((word.to_ascii_lowercase(), Vec::new()));
        }
    }
    challenges
        .into_iter()
        .filter_map(|(scheme, parameters)| challenge(&scheme, parameters))
        .collect()
}

fn challenge(scheme: &str, parameters: Vec<(String, String)>) -> Option<Challenge> {
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => {
            let mut bearer = Bearer {
                realm: String::new(),
                service: None,
                scope: None,
            };
            for (name, value) in parameters {
                match name.as_str() {
                    "realm" => bearer.realm = value,
                    "service" => bearer.service = Some(value),
                    "scope" => bearer.scope = Some(value),
                    _ => {}
                }
            }
            (!bearer.realm.is_empty()).then_some(Challenge::Bearer(bearer))
        }
        _ => None,
    }
}

fn skip(text: &mut Peekable<Chars<'_>>, matches: impl Fn(char) -> bool) {
    while text.next_if(|c| matches(*c)).is_some() {}
}

fn take(text: &mut Peekable<Chars<'_>>, matches: impl Fn(char) -> bool) -> String {
    std::iter::from_fn(|| text.next_if(|c| matches(*c))).collect()
}

fn value(text: &mut Peekable<Chars<'_>>) -> String {
    if text.next_if_eq(&'"').is_none() {
        return take(text, |c| !c.is_whitespace() && c != ',');
    }
    let mut value = String::new();
    while let Some(c) = text.next() {
        match c {
            '"' => break,
            '\\' => value.extend(text.next()),
            c => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: owned(service),
            scope: owned(scope),
        })
    }

    #[test]
    fn challenges_as_registries_send_them() {
        let cases = [
            (
                r#"Bearer realm="https://a/token",service="s",scope="repository:x/y:pull,push""#,
                vec![bearer(
                    "https://a/token",
                    Some("s"),
                    Some("repository:x/y:pull,push"),
                )],
            ),
            (
                r#"bearer  Realm = "u" , Service=s"#,
                vec![bearer("u", Some("s"), None)],
            ),
            (r#"Basic realm="x, y""#, vec![Challenge::Basic]),
            (
                r#"Basic realm="x", Bearer realm="u""#,
                vec![Challenge::Basic, bearer("u", None, None)],
            ),
            (r#"Bearer realm="a\"b""#, vec![bearer("a\"b", None, None)]),
            (r"Negotiate, NTLM", vec![]),
            (r#"Bearer service="s""#, vec![]),
            (r#"Bearer realm="open"#, vec![bearer("open", None, None)]),
            ("", vec![]),
        ];
        for (header, expected) in cases {
            assert_eq!(parse(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(header in r#"[a-zA-Z "=,\\:]{0,60}"#) {
            parse(&header);
        }

        #[test]
        fn what_is_quoted_comes_back(realm in r"[ -~]{1,30}", scope in r"[ -~]{0,30}") {
            let quote = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
            let header = format!(r#"Bearer realm="{}",scope="{}""#, quote(&realm), quote(&scope));
            prop_assert_eq!(parse(&header), vec![bearer(&realm, None, Some(&scope))]);
        }
    }
}
