//! What holds for every input, whoever made it: tests and fuzzers ask this.
#![allow(unreachable_pub, reason = "a module of several crates")]

use lapstrake_fill::spans::SpanTable;

/// Anything as a span table, its checksum made right: never a panic, and what is accepted is
/// written again as it was.
pub fn any_spans(input: &[u8]) {
    drop(SpanTable::from_bytes(input));
    let body = input.len().saturating_sub(32);
    let mut file = input[..body].to_vec();
    file.extend(blake3::hash(&file).as_bytes());
    if let Ok(table) = SpanTable::from_bytes(&file) {
        assert_eq!(table.to_bytes(), file);
        for index in 0..table.spans().len() {
            assert!(table.touched(table.range(index)) == (index..index + 1));
            assert!(table.group(index).contains(&index));
        }
    }
}
