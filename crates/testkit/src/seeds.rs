//! What fuzzers begin with, and what they found, as input of ordinary tests.

/// Gives every seed of a fuzz target to `check`, and its path to standard error before.
///
/// # Panics
/// If the target has no seeds.
pub fn replay(target: &str, check: fn(&[u8])) {
    let directory = format!("{}/../../fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let entries =
        std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("a directory can be read to its end").path();
        eprintln!("{}", path.display());
        check(&std::fs::read(&path).expect("a seed can be read"));
        count += 1;
    }
    assert!(count > 0, "{directory} has no seeds");
}
