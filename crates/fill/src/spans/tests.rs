//! Tables to bytes and back, and what is refused.

use proptest::prelude::*;

use super::*;

fn digest() -> Digest {
    lapstrake_oci::Algorithm::Sha256.digest(b"blob")
}

fn table() -> SpanTable {
    let start = |tar_offset, start| Span {
        tar_offset,
        start,
        digest: blake3::hash(b"x"),
    };
    SpanTable {
        blob: Blob {
            digest: digest(),
            compression: Compression::Gzip,
            bytes: 1000,
        },
        tar_bytes: 5000,
        spans: vec![
            start(0, Start::At { byte: 0 }),
            start(
                1000,
                Start::Deflate {
                    bit: 2003,
                    window: vec![1, 2, 3].into(),
                },
            ),
            start(2000, Start::Continue),
            start(3000, Start::At { byte: 700 }),
        ],
    }
}

/// Writes the table after a change and reads it again.
fn changed(change: impl FnOnce(&mut SpanTable)) -> Result<SpanTable, FileError> {
    let mut table = table();
    change(&mut table);
    SpanTable::from_bytes(&table.to_bytes())
}

#[track_caller]
fn check_damaged(change: impl FnOnce(&mut SpanTable), expected: &'static str) {
    assert_eq!(changed(change), Err(FileError::Damaged(expected)));
}

#[test]
fn a_table_reads_back() {
    assert_eq!(changed(|_| ()), Ok(table()));
}

#[test]
fn an_empty_tar_has_no_spans() {
    let empty = changed(|table| (table.spans, table.tar_bytes) = (vec![], 0)).unwrap();
    assert!(empty.spans().is_empty());
    assert_eq!(empty.touched(0..0), 0..0);
}

#[test]
fn the_first_bytes_are_what_they_are() {
    let file = table().to_bytes();
    assert_eq!(&file[..16], b"LPSPAN\r\n\x01\0\0\0\x01\x47\0\0");
    assert_eq!(file.len(), 48 + 71 + 4 * 56 + 3 + 32);
    assert_eq!(&file[48..55], b"sha256:");
    assert_eq!(
        &file[48 + 71 + 56..][..20],
        b"\xe8\x03\0\0\0\0\0\0\xd3\x07\0\0\0\0\0\0\x01\0\0\0"
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    check_damaged(|table| table.tar_bytes = 0, "its spans are not its tar");
    check_damaged(|table| table.spans.clear(), "its spans are not its tar");
    check_damaged(|table| table.tar_bytes = 3000, "a span is beyond the tar");
    check_damaged(
        |table| table.spans[0].tar_offset = 1,
        "its first span is not at the start",
    );
    check_damaged(
        |table| table.spans[0].start = Start::Continue,
        "its first span is not at the start",
    );
    check_damaged(
        |table| table.spans[2].tar_offset = 1000,
        "its spans are not in order",
    );
    check_damaged(
        |table| table.spans[3].start = Start::At { byte: 249 },
        "its places in the blob are not in order",
    );
    check_damaged(
        |table| table.spans[3].start = Start::At { byte: 1000 },
        "a span starts beyond the blob",
    );
    check_damaged(
        |table| table.blob.compression = Compression::Zstd,
        "a span starts as its format cannot",
    );
    check_damaged(|table| table.blob.bytes = 1 << 62, "its blob is too long");
    check_damaged(
        |table| {
            table.spans[1].start = Start::Deflate {
                bit: 9,
                window: [].into(),
            }
        },
        "a span lacks its window, or has one",
    );
    check_damaged(
        |table| {
            table.spans[1].start = Start::Deflate {
                bit: 9,
                window: vec![0; 40_000].into(),
            }
        },
        "a window is too long",
    );
}

#[test]
fn another_version_or_file_is_named() {
    let mut file = table().to_bytes();
    file[8] = 2;
    assert_eq!(SpanTable::from_bytes(&file), Err(FileError::Version(2)));
    file[0] = b'X';
    assert_eq!(SpanTable::from_bytes(&file), Err(FileError::Foreign));
}

#[test]
fn every_changed_or_missing_byte_is_seen() {
    let file = table().to_bytes();
    for index in 0..file.len() {
        let mut damaged = file.clone();
        damaged[index] ^= 0x10;
        assert!(SpanTable::from_bytes(&damaged).is_err(), "byte {index}");
        assert!(
            SpanTable::from_bytes(&file[..index]).is_err(),
            "cut at {index}"
        );
    }
}

#[test]
fn spans_are_found_by_range() {
    let table = table();
    assert_eq!(table.range(1), 1000..2000);
    assert_eq!(table.range(3), 3000..5000);
    assert_eq!(table.touched(0..1), 0..1);
    assert_eq!(table.touched(999..1001), 0..2);
    assert_eq!(table.touched(1000..2000), 1..2);
    assert_eq!(table.touched(4999..5000), 3..4);
    assert_eq!(table.group(2), 1..3);
    assert_eq!(table.group(3), 3..4);
}

fn tables() -> impl Strategy<Value = SpanTable> {
    let window = proptest::collection::vec(any::<u8>(), 1..200);
    let span = (
        1..1_000_000_u64,
        1..1_000_000_u64,
        0..3_u8,
        window,
        any::<[u8; 32]>(),
    );
    (proptest::collection::vec(span, 0..20), 1..1000_u64).prop_map(|(steps, last)| {
        let (mut tar_bytes, mut byte) = (0, 0);
        let mut spans: Vec<Span> = Vec::new();
        for (tar_step, blob_step, kind, window, digest) in steps {
            let start = match kind {
                _ if spans.is_empty() => Start::At { byte: 0 },
                0 => Start::At { byte },
                1 => Start::Deflate {
                    bit: byte * 8 + 5,
                    window: window.into(),
                },
                _ => Start::Continue,
            };
            spans.push(Span {
                tar_offset: tar_bytes,
                start,
                digest: digest.into(),
            });
            (tar_bytes, byte) = (tar_bytes + tar_step, byte + blob_step);
        }
        let blob = Blob {
            digest: digest(),
            compression: Compression::Gzip,
            bytes: byte + last,
        };
        SpanTable {
            blob,
            tar_bytes,
            spans,
        }
    })
}

proptest! {
    #[test]
    fn any_table_reads_back(table in tables()) {
        prop_assert_eq!(SpanTable::from_bytes(&table.to_bytes()), Ok(table));
    }

    #[test]
    fn what_is_read_is_what_is_written(
        table in tables(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        // With the checksum made right again, the other checks stand alone.
        let mut file = table.to_bytes();
        let body = file.len() - 32;
        for (index, byte) in flips {
            file[index.index(body)] ^= byte;
        }
        let checksum = blake3::hash(&file[..body]);
        file[body..].copy_from_slice(checksum.as_bytes());
        if let Ok(table) = SpanTable::from_bytes(&file) {
            prop_assert_eq!(table.to_bytes(), file);
        }
    }
}
