//! References, case by case and against oci-spec's parser.
//!
//! Where the two differ, ours follows Docker:
//! - a 64-digit hex name is refused (it would be an image's id);
//! - upper case in a repository's path is refused (`Foo/bar`), and so is a registry that is no host
//!   name (`foo_bar.com/x`); oci-spec takes its registry check from a prefix of the grammar;
//! - tags are ASCII; oci-spec's regular expression lets `\w` match any letter of any script;
//! - digests in upper case hex, and sha384, are refused;
//! - IPv6 registries (`[::1]:5000/x`) are accepted.

use lapstrake_oci::{Reference, ReferenceError, Repo};
use proptest::prelude::*;

const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Registry, path, tag and digest, and the form for people.
#[track_caller]
fn check(text: &str, expected: (&str, &str, Option<&str>, Option<&str>), familiar: &str) {
    let read: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    let digest = read.digest().map(ToString::to_string);
    let parts = (
        read.repo().registry(),
        read.repo().path(),
        read.tag().map(|tag| tag.as_str()),
        digest.as_deref(),
    );
    assert_eq!(parts, expected, "{text}");
    assert_eq!(read.familiar(), familiar, "{text}");
    assert_eq!(read.familiar().parse(), Ok(read.clone()), "{text}");
    assert_eq!(read.to_string().parse(), Ok(read), "{text}");
}

#[test]
fn what_is_left_out_is_docker_hub_library_and_latest() {
    check(
        "ubuntu",
        ("docker.io", "library/ubuntu", Some("latest"), None),
        "ubuntu:latest",
    );
    check(
        "ubuntu:24.04",
        ("docker.io", "library/ubuntu", Some("24.04"), None),
        "ubuntu:24.04",
    );
    check(
        "grafana/loki",
        ("docker.io", "grafana/loki", Some("latest"), None),
        "grafana/loki:latest",
    );
    check(
        "docker.io/ubuntu",
        ("docker.io", "library/ubuntu", Some("latest"), None),
        "ubuntu:latest",
    );
    check(
        "index.docker.io/a/b",
        ("docker.io", "a/b", Some("latest"), None),
        "a/b:latest",
    );
    check(
        "docker.io/library/a/b",
        ("docker.io", "library/a/b", Some("latest"), None),
        "library/a/b:latest",
    );
}

#[test]
fn the_first_part_is_a_registry_if_it_looks_like_a_host() {
    check(
        "localhost/x",
        ("localhost", "x", Some("latest"), None),
        "localhost/x:latest",
    );
    check(
        "localhost:5000",
        ("docker.io", "library/localhost", Some("5000"), None),
        "localhost:5000",
    );
    check(
        "host:5000/x",
        ("host:5000", "x", Some("latest"), None),
        "host:5000/x:latest",
    );
    check(
        "quay.io/a/b:v1",
        ("quay.io", "a/b", Some("v1"), None),
        "quay.io/a/b:v1",
    );
    check(
        "test.com:tag",
        ("docker.io", "library/test.com", Some("tag"), None),
        "test.com:tag",
    );
    check(
        "127.0.0.1/x",
        ("127.0.0.1", "x", Some("latest"), None),
        "127.0.0.1/x:latest",
    );
    check(
        "[::1]:5000/x:a",
        ("[::1]:5000", "x", Some("a"), None),
        "[::1]:5000/x:a",
    );
    check(
        "Quay.IO/a",
        ("Quay.IO", "a", Some("latest"), None),
        "Quay.IO/a:latest",
    );
}

#[test]
fn a_path_that_looks_like_a_registry_keeps_its_registry_for_people() {
    let full = "docker.io/localhost/x:latest";
    check(
        "docker.io/localhost/x",
        ("docker.io", "localhost/x", Some("latest"), None),
        full,
    );
    let full = "docker.io/a.b/x:latest";
    check(
        "docker.io/a.b/x",
        ("docker.io", "a.b/x", Some("latest"), None),
        full,
    );
}

#[test]
fn a_digest_goes_with_or_without_a_tag() {
    let digest = format!("sha256:{HEX}");
    let text = format!("host:5000/a/b@{digest}");
    check(&text, ("host:5000", "a/b", None, Some(&digest)), &text);
    let text = format!("debian:12@{digest}");
    check(
        &text,
        ("docker.io", "library/debian", Some("12"), Some(&digest)),
        &text,
    );
    let digest = format!("sha512:{HEX}{HEX}");
    let text = format!("debian@{digest}");
    check(
        &text,
        ("docker.io", "library/debian", None, Some(&digest)),
        &text,
    );
}

#[track_caller]
fn refuse(text: &str, words: &str) {
    let error = text.parse::<Reference>().expect_err(text);
    assert!(error.to_string().contains(words), "{text}: {error}");
}

#[test]
fn what_names_no_image_is_refused_with_the_reason() {
    refuse("", "must be named");
    refuse(":tag", "must be named");
    refuse("Ubuntu", "did you mean \"library/ubuntu\"");
    refuse("Foo/bar", "did you mean \"foo/bar\"");
    refuse("quay.io/Foo/bar", "did you mean \"foo/bar\"");
    refuse("a//b", "is not a repository");
    refuse("a/", "is not a repository");
    refuse("/a", "is not a repository");
    refuse("quay.io/", "is not a repository");
    refuse("a..b", "is not a repository");
    refuse("a___b", "is not a repository");
    refuse("-a", "is not a repository");
    refuse("a-", "is not a repository");
    refuse("a b", "is not a repository");
    refuse("ä", "is not a repository");
    refuse("foo_bar.com/x", "is not a registry");
    refuse("-a.com/x", "is not a registry");
    refuse("a.com:/x", "is not a registry");
    refuse("a.com:port/x", "is not a registry");
    refuse("[::1/x", "is not a registry");
    refuse("https://quay.io/x", "is not a registry");
    refuse("a:", "is not a tag");
    refuse("a:-b", "is not a tag");
    refuse("a:ä", "is not a tag");
    refuse("a:b:c", "is not a tag");
    refuse(&format!("a:{}", "t".repeat(129)), "is not a tag");
    refuse("a@", "is not a digest");
    refuse("a@sha256:abc", "64 lower-case hex digits");
    refuse(&format!("a@sha384:{HEX}{}", &HEX[..32]), "not supported");
    refuse(
        &format!("a@sha256:{HEX}@sha256:{HEX}"),
        "64 lower-case hex digits",
    );
    refuse(HEX, "image's id");
    refuse(&format!("a.com:{}/x", "1".repeat(300)), "is not a registry");
}

#[test]
fn a_path_has_at_most_255_characters() {
    assert!(
        format!("quay.io/{}", "a".repeat(255))
            .parse::<Reference>()
            .is_ok()
    );
    assert_eq!(
        format!("quay.io/{}", "a".repeat(256)).parse::<Reference>(),
        Err(ReferenceError::TooLong(256))
    );
}

/// Texts near the grammar, so that many are references and most others nearly so.
fn texts() -> impl Strategy<Value = String> {
    let part = "[a-zA-Z0-9._:/@-]{1,6}|localhost|docker\\.io|index\\.docker\\.io|library|a\\.com:5000|:v1|foo__bar|[a-z]{2,5}";
    let joined = proptest::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"));
    let ending = prop_oneof![
        3 => Just(String::new()),
        2 => "[a-zA-Z0-9_.-]{1,5}".prop_map(|tag| format!(":{tag}")),
        1 => Just(format!("@sha256:{HEX}")),
        1 => Just(format!(":t@sha512:{HEX}{HEX}")),
    ];
    prop_oneof![
        6 => (joined, ending).prop_map(|(name, ending)| name + &ending),
        1 => "\\PC{0,40}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn we_read_what_oci_spec_reads(text in texts()) {
        let ours = text.parse::<Reference>();
        let theirs = text.parse::<oci_spec::distribution::Reference>();
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.repo().registry(), theirs.registry());
                prop_assert_eq!(ours.repo().path(), theirs.repository());
                prop_assert_eq!(ours.tag().map(|t| t.as_str()), theirs.tag());
                let digest = ours.digest().map(ToString::to_string);
                prop_assert_eq!(digest.as_deref(), theirs.digest());
            }
            (Ok(ours), Err(error)) => {
                prop_assert!(ours.repo().registry().starts_with('['), "{}: {}", text, error);
            }
            (Err(ours), Ok(_)) => {
                let known = matches!(ours, ReferenceError::Uppercase { .. }
                    | ReferenceError::Registry(_)
                    | ReferenceError::Identifier(_))
                    || !text.is_ascii();
                prop_assert!(known, "{}: {}", text, ours);
            }
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn each_form_reads_back(text in texts()) {
        if let Ok(read) = text.parse::<Reference>() {
            prop_assert_eq!(read.familiar().parse::<Reference>(), Ok(read.clone()));
            prop_assert_eq!(read.to_string().parse::<Reference>(), Ok(read.clone()));
            prop_assert_eq!(read.repo().to_string().parse::<Repo>(), Ok(read.repo().clone()));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,600}") {
        let read = text.parse::<Reference>();
        prop_assert!(read.is_ok() || read.is_err());
    }
}
