//! What holds for every input, whoever made it: tests and fuzzers both ask this.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use lapstrake_oci::{Config, Document, Image, Parsed, Platform, Reference, Repo, media_type};

/// Anything as a reference: what is accepted means the same in each form that it is written in.
pub fn any_reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(read) = text.parse::<Reference>() else {
        return;
    };
    assert!(read.tag().is_some() || read.digest().is_some());
    assert_eq!(read.familiar().parse::<Reference>().as_ref(), Ok(&read));
    assert_eq!(read.to_string().parse::<Reference>().as_ref(), Ok(&read));
    let repo = read.repo();
    assert_eq!(repo.familiar().parse::<Repo>().as_ref(), Ok(repo));
    // A path goes into URLs as it is.
    assert!(!repo.path().contains(['?', '#', '%', '\\', ' ']), "{text}");
    assert!(
        !repo
            .path()
            .split('/')
            .any(|part| part == ".." || part == ".")
    );
}

/// Anything as a manifest, an index or a config: no panic, the bytes are kept, and the kinds exclude
/// each other.
pub fn any_document(input: &[u8]) {
    let manifest = Parsed::manifest(input);
    let index = Parsed::index(input);
    assert!(manifest.is_err() || index.is_err(), "both kinds");
    for declared in [
        None,
        Some(media_type::OCI_MANIFEST),
        Some(media_type::DOCKER_LIST),
    ] {
        match Document::parse(input, declared) {
            Ok(Document::Manifest(read)) => {
                assert_eq!(**read.raw(), *input);
                let again = serde_json::to_vec(read.value()).unwrap();
                assert_eq!(Parsed::manifest(again).unwrap().value(), read.value());
                assert!(manifest.is_ok(), "one reader's manifest is another's error");
                if let Ok(config) = Parsed::config(input) {
                    assert!(Image::new(read, config).is_err(), "a config of itself");
                }
            }
            Ok(Document::Index(read)) => {
                assert_eq!(**read.raw(), *input);
                let again = serde_json::to_vec(read.value()).unwrap();
                assert_eq!(Parsed::index(again).unwrap().value(), read.value());
                assert!(index.is_ok(), "one reader's index is another's error");
                any_choice(&read);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(read) = Parsed::<Config>::config(input) {
        assert_eq!(**read.raw(), *input);
        let again = serde_json::to_vec(read.value()).unwrap();
        assert_eq!(Parsed::config(again).unwrap().value(), read.value());
    }
}

fn any_choice(index: &lapstrake_oci::Index) {
    for text in ["linux/amd64", "linux/arm/v7", "linux/arm64"] {
        let platform: Platform = text.parse().unwrap();
        match index.choose(&platform) {
            Ok(chosen) => assert!(index.manifests.contains(chosen)),
            Err(error) => assert!(error.to_string().contains("no image for")),
        }
    }
}
