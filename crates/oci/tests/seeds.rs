//! What fuzzers begin with, and what they found, as ordinary tests.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod shared;

fn replay(target: &str, check: fn(&[u8])) {
    let directory = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        check(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds of {target}");
}

#[test]
fn seeds_of_reference() {
    replay("reference", shared::any_reference);
}

#[test]
fn seeds_of_manifest() {
    replay("manifest", shared::any_document);
}
