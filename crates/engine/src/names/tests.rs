//! Names and ids, and what they lead to.

use lapstrake_oci::Algorithm;

use super::*;

fn named(name: &str, text: &str, target: &str) -> Named {
    let digest = |text: &str| Algorithm::Sha256.digest(text.as_bytes());
    let image = ImageRecord {
        reference: name.parse::<Reference>().unwrap().to_string(),
        manifest: digest(text),
        config: digest(&format!("config of {text}")),
    };
    (image, digest(target))
}

fn digest(text: &str) -> Digest {
    Algorithm::Sha256.digest(text.as_bytes())
}

fn names() -> Vec<Named> {
    vec![
        named("a:1", "one", "one"),
        named("a:2", "one", "one"),
        named(&format!("a@{}", digest("old")), "old", "old"),
        named("b:1", "two", "index of two"),
        // A repository whose name looks like the beginning of an id.
        named("abc", "three", "three"),
    ]
}

/// `wanted` leads to the names of these numbers.
fn check(wanted: &str, numbers: &[usize]) {
    let got = match find(&names(), &wanted.parse().unwrap()).unwrap() {
        Found::Name(named) => vec![named],
        Found::Image(names) => names,
    };
    let want: Vec<_> = numbers.iter().map(|at| names()[*at].clone()).collect();
    assert_eq!(got, want, "{wanted}");
}

fn error(wanted: &str) -> Error {
    find(&names(), &wanted.parse().unwrap()).unwrap_err()
}

#[test]
fn a_name_comes_before_an_id() {
    check("a:1", &[0]);
    check("docker.io/library/b:1", &[3]);
    check("abc", &[4]);
    check("abc:latest", &[4]);
}

#[test]
fn a_name_with_a_digest_leads_to_the_manifest_or_index_whatever_its_tag() {
    check(&format!("a@{}", digest("old")), &[2]);
    check(&format!("a:9@{}", digest("old")), &[2]);
    check(&format!("a@{}", digest("one")), &[0, 1]);
    check(&format!("b@{}", digest("index of two")), &[3]);
    check(&format!("b@{}", digest("two")), &[3]);
    assert!(matches!(
        error(&format!("c@{}", digest("two"))),
        Error::NoImage(_)
    ));
}

#[test]
fn an_id_may_be_short_or_whole_and_is_of_a_config_first() {
    let id = digest("config of one");
    check(&id.hex()[..12], &[0, 1]);
    check(id.hex(), &[0, 1]);
    check(&id.to_string(), &[0, 1]);
    check(&format!("sha256:{}", &id.hex()[..7]), &[0, 1]);
    check(digest("two").hex(), &[3]);
    check(&digest("index of two").to_string(), &[3]);
}

#[test]
fn an_id_of_several_images_is_refused_with_their_names() {
    let mut both = names();
    let first = both[0].0.config.hex();
    let last = if first.ends_with('0') { "1" } else { "0" };
    both[4].0.config = format!("sha256:{}{last}", &first[..63]).parse().unwrap();
    let wanted = both[0].0.config.hex()[..20].parse().unwrap();
    let error = find(&both, &wanted).unwrap_err().to_string();
    assert!(
        error.contains("(a:1)") && error.contains("(abc:latest)"),
        "{error}"
    );
}

#[test]
fn what_is_not_there_is_told_from_what_is_nearly_there() {
    assert!(matches!(error("zzz:1"), Error::NoImage(_)));
    assert!(matches!(error(digest("none").hex()), Error::NoImage(_)));
    assert!(error("a:3").to_string().contains("did you mean a:1?"));
}

#[test]
fn what_can_be_neither_is_refused_when_it_is_typed() {
    for text in ["!", "sha256:", "Foo", "", "a@sha256:12"] {
        assert!(text.parse::<ImageName>().is_err(), "{text}");
    }
    let hex = digest("x").hex().to_owned();
    for text in ["abc", "12", &hex, &format!("sha256:{hex}")] {
        assert!(text.parse::<ImageName>().is_ok(), "{text}");
    }
    let id: ImageName = hex.parse().unwrap();
    assert!(id.reference().is_err());
}

#[test]
fn the_id_that_a_name_leads_to_is_told_or_nothing() {
    let names = names();
    let exact = names
        .iter()
        .map(|(image, _)| (&*image.reference, &image.config));
    let exact = exact.collect();
    let one = digest("config of one");
    for (wanted, want) in [
        ("a:1", Some(&one)),
        ("docker.io/library/a:2", Some(&one)),
        (&one.to_string(), Some(&one)),
        (&one.hex()[..12], Some(&one)),
        ("a:3", None),
        ("nosuch", None),
        ("NO NAME", None),
        ("", None),
    ] {
        assert_eq!(id_of(&names, &exact, wanted).as_ref(), want, "{wanted}");
    }
}
