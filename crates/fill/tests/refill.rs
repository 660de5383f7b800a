//! Layers with holes and damage, filled from their blobs.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "nothing here has to last")]

#[path = "shared/layer.rs"]
mod layer;

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use lapstrake_fill::refill::{Error, make};
use lapstrake_fill::source::{FileSource, Source, SourceError, contract};
use lapstrake_fill::spans::SpanTable;
use lapstrake_oci::Compression;
use layer::{Made, compress, content, open, pull, tar_of};

const FORMATS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn hole(length: usize) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(length as u64).unwrap();
    file
}

fn contents(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn sample(compression: Compression) -> Made {
    let directory = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 511, 4096, 4097, 100_000, 1_000_000, 3, 70_000];
    for (seed, size) in sizes.into_iter().enumerate() {
        let path = directory.path().join(format!("file-{seed}"));
        std::fs::write(path, content(seed as u64, size)).unwrap();
    }
    pull(compress(compression, &tar_of(directory.path())), 50_000)
}

/// The blob as a source that does to each read what `fault` says.
struct Faulty<F>(Vec<u8>, F);

impl<F: Fn(u64, &mut [u8]) -> Result<usize, SourceError> + Send + Sync> Source for Faulty<F> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, SourceError> {
        let start = usize::try_from(offset).unwrap().min(self.0.len());
        let got = buffer.len().min(self.0.len() - start);
        buffer[..got].copy_from_slice(&self.0[start..start + got]);
        (self.1)(offset, &mut buffer[..got])
    }
}

fn faithful(blob: &[u8]) -> Box<dyn Source> {
    Box::new(FileSource(file_of(blob)))
}

#[test]
fn a_file_honours_the_contract() {
    contract::run(|blob| FileSource(file_of(blob)));
}

#[test]
fn a_source_of_small_reads_honours_the_contract() {
    contract::run(|blob| {
        Faulty(blob.to_vec(), |_, buffer: &mut [u8]| {
            Ok(buffer.len().min(7))
        })
    });
}

#[test]
fn every_span_is_its_part_of_the_tar() {
    for compression in FORMATS {
        let made = sample(compression);
        let table = SpanTable::from_bytes(&made.spans).unwrap();
        let source = faithful(&made.blob);
        assert!(table.spans().len() > 5, "{compression:?}");
        for index in 0..table.spans().len() {
            let mut seen = 0;
            make(&table, &*source, index..index + 1, |span, bytes| {
                let range = table.range(span);
                let range =
                    usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                assert!(bytes == &made.tar[range], "{compression:?} {span}");
                seen = span;
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, index);
        }
    }
}

#[test]
fn holes_are_filled_in_any_order() {
    for compression in FORMATS {
        let made = sample(compression);
        let data = hole(made.data.len());
        let layer = open(&made, data.try_clone().unwrap(), faithful(&made.blob));
        for span in (0..layer.span_count()).rev() {
            layer.fill(span).unwrap();
            assert!(layer.is_present(span).unwrap());
        }
        assert!(contents(&data) == made.data, "{compression:?}");
        assert!(layer.is_whole(&made.diff_id).unwrap());
    }
}

#[test]
fn what_is_there_after_a_crash_is_found_by_digest() {
    let made = sample(Compression::Gzip);
    let data = hole(made.data.len());
    let layer = open(&made, data.try_clone().unwrap(), faithful(&made.blob));
    layer.fill(4).unwrap();
    layer.fill(7).unwrap();
    drop(layer);
    let layer = open(&made, data, faithful(&made.blob));
    let there: Vec<_> = (0..layer.span_count())
        .filter(|span| layer.is_present(*span).unwrap() && !layer_is_literal(&made, *span))
        .collect();
    assert_eq!(there, [4, 7]);
    assert!(!layer.is_whole(&made.diff_id).unwrap());
}

/// Whether a span has no contents, and so cannot be missing.
fn layer_is_literal(made: &Made, span: usize) -> bool {
    let layer = open(made, hole(made.data.len()), faithful(&made.blob));
    layer.is_present(span).unwrap()
}

#[test]
fn damage_is_detected_and_repaired_in_place() {
    for compression in FORMATS {
        let made = sample(compression);
        let data = file_of(&made.data);
        let layer = open(&made, data.try_clone().unwrap(), faithful(&made.blob));
        let at = made.data.len() as u64 / 2;
        let [damaged] = layer.spans_of(at..at + 1)[..] else {
            panic!("a byte is of one span");
        };
        assert!((0..layer.span_count()).all(|span| layer.is_present(span).unwrap()));
        let was = made.data[usize::try_from(at).unwrap()];
        data.write_all_at(&[was ^ 4], at).unwrap();
        for span in 0..layer.span_count() {
            assert_eq!(layer.is_present(span).unwrap(), span != damaged);
        }
        layer.fill(damaged).unwrap();
        assert!(contents(&data) == made.data);
        assert!(layer.is_whole(&made.diff_id).unwrap());
    }
}

#[test]
fn a_damaged_blob_never_becomes_data() {
    for compression in FORMATS {
        let mut made = sample(compression);
        let middle = made.blob.len() / 2;
        made.blob[middle] ^= 0x55;
        let data = hole(made.data.len());
        let layer = open(&made, data.try_clone().unwrap(), faithful(&made.blob));
        let failed = (0..layer.span_count())
            .filter_map(|span| layer.fill(span).err())
            .inspect(|error| {
                assert!(
                    matches!(error, Error::Digest { .. } | Error::Decode { .. }),
                    "{error}"
                );
            })
            .count();
        assert!(failed > 0, "{compression:?}");
        for (index, (got, want)) in contents(&data).iter().zip(&made.data).enumerate() {
            assert!(got == want || *got == 0, "{compression:?}: byte {index}");
        }
    }
}

#[test]
fn sources_that_fail_are_named() {
    let made = sample(Compression::Gzip);
    let check = |source: Box<dyn Source>, expected: fn(&Error) -> bool| {
        let layer = open(&made, hole(made.data.len()), source);
        let error = layer.fill(layer.span_count() - 1).unwrap_err();
        assert!(expected(&error), "{error:?}");
    };
    let blob = || made.blob.clone();
    check(
        Box::new(Faulty(blob(), |_, _: &mut [u8]| Err(SourceError::Missing))),
        |error| {
            matches!(
                error,
                Error::Source {
                    source: SourceError::Missing,
                    ..
                }
            )
        },
    );
    check(
        Box::new(Faulty(blob(), |_, _: &mut [u8]| {
            Err(SourceError::Unavailable(io::ErrorKind::TimedOut.into()))
        })),
        |error| {
            matches!(
                error,
                Error::Source {
                    source: SourceError::Unavailable(_),
                    ..
                }
            )
        },
    );
    check(Box::new(Faulty(blob(), |_, _: &mut [u8]| Ok(0))), |error| {
        matches!(error, Error::Short { .. })
    });
    check(
        Box::new(Faulty(
            b"another blob, and a short one".to_vec(),
            |_, b: &mut [u8]| Ok(b.len()),
        )),
        |error| matches!(error, Error::Short { .. }),
    );
}

#[test]
fn a_skeleton_of_another_layer_is_refused() {
    let (one, other) = (sample(Compression::Gzip), {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("x"), "x").unwrap();
        pull(tar_of(Path::new(directory.path())), 50_000)
    });
    let table = SpanTable::from_bytes(&one.spans).unwrap();
    let layer = lapstrake_fill::refill::Layer::new(table, other.skeleton, hole(0), faithful(b""));
    assert!(matches!(layer, Err(Error::Mismatch { .. })));
}
