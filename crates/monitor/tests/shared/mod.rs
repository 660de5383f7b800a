//! What a log's file may hold, since whoever is root wrote it: anything.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test that cannot set its scene fails; fuzz targets use this from outside"
)]

use std::io::Write as _;

use lapstrake_monitor::logs::{Format, Query, Reader};

/// Reads `bytes` as a log of each format, beside a compressed one of the same bytes: that ends, without a panic, and
/// gives no more than the bytes hold.
pub fn any_log(bytes: &[u8]) {
    for format in [Format::JsonFile, Format::Local] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x-json.log");
        for name in ["x-json.log", "x-json.log.2.gz"] {
            let mut file = std::fs::File::create(dir.path().join(name)).unwrap();
            file.write_all(bytes).unwrap();
        }
        // Compressed, it is more.
        let limit = 2 * bytes.len().max(1) * 1100;
        for tail in [None, Some(0), Some(2)] {
            let Ok(reader) = Reader::open(&path, format, Query { tail, ..Query::ALL }) else {
                continue;
            };
            let mut count = 0_u64;
            let mut size = 0;
            for entry in reader.map_while(Result::ok) {
                count += 1;
                size += entry.line.len() + 1;
                assert!(size <= limit, "{size} bytes from {}", bytes.len());
            }
            // Of the newer file the last line may lack its end: it is not counted yet.
            let most = tail.map(|tail| tail + 1);
            assert!(
                most.is_none_or(|most| count <= most),
                "{count} for {tail:?}"
            );
        }
    }
}
