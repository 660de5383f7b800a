//! What fuzzers begin with, and what they found, as ordinary tests.

#[path = "shared/any.rs"]
mod any;

#[test]
fn seeds_of_spans() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/spans");
    let mut count = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        any::any_spans(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds");
}
