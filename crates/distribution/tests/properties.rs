//! Text from a registry, of any kind: what is near the grammars, what is not, and what fuzzers begin
//! with.

mod shared;

use lapstrake_distribution::{endpoint, errors, range, token};
use proptest::prelude::*;

#[test]
fn seeds_of_challenge() {
    lapstrake_testkit::seeds::replay("challenge", shared::any_text);
}

/// Texts near the grammar of a challenge.
fn challenges() -> impl Strategy<Value = String> {
    let part = r#"Bearer |Basic |realm=|service=|scope=|"|\\|,| |=|[a-z:/.é]{1,5}|"[ -~]{0,6}""#;
    proptest::collection::vec(part, 0..14).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn any_challenge_keeps_the_promises(text in challenges()) {
        shared::any_text(text.as_bytes());
    }

    #[test]
    fn any_range_keeps_the_promises(text in r"(bytes )?[0-9]{0,21}-?[0-9]{0,21}/?([0-9]{0,21}|\*)") {
        shared::any_text(text.as_bytes());
    }

    #[test]
    fn any_bytes_keep_the_promises(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        shared::any_text(&bytes);
    }

    #[test]
    fn a_range_reads_back(first in any::<u64>(), more in any::<u64>(), rest in 1_u64..) {
        let Some(last) = first.checked_add(more) else { return Ok(()) };
        let complete = last.checked_add(rest);
        let written = complete.map_or_else(
            || format!("bytes {first}-{last}/*"),
            |complete| format!("bytes {first}-{last}/{complete}"),
        );
        let expected = range::ContentRange { first, last, complete };
        prop_assert_eq!(range::parse(&written), Some(expected));
    }

    #[test]
    fn a_token_reads_back(secret in "\\PC{1,40}", field in "(access_)?token", seconds in 60_u64..) {
        let body = serde_json::json!({ &field: &secret, "expires_in": seconds });
        let token = token::parse(body.to_string().as_bytes()).unwrap();
        prop_assert_eq!(token.secret, secret);
        prop_assert_eq!(token.lifetime.as_secs(), seconds);
    }

    #[test]
    fn an_error_names_code_and_message(code in "[A-Z_]{1,20}", message in "[a-z]{1,20}", extra in any::<u32>()) {
        let body = serde_json::json!({
            "errors": [{ "code": &code, "message": &message, "detail": { "n": extra } }],
            "more": extra,
        });
        let line = errors::describe(body.to_string().as_bytes());
        prop_assert_eq!(line, format!("{code}: {message}"));
    }

    #[test]
    fn other_addresses_are_not_loopback(address in any::<std::net::IpAddr>(), port in any::<u16>()) {
        let host = std::net::SocketAddr::new(address, port).to_string();
        prop_assert_eq!(endpoint::is_loopback(&host), address.is_loopback());
    }
}
