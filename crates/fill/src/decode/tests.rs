//! Blobs in, tars and boundaries out.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

/// Decodes everything, offering so much input and output at a time.
fn decode_all(
    blob: &[u8],
    span: u32,
    limit: u64,
    chunks: (usize, usize),
) -> Result<(Vec<u8>, Vec<Boundary>), Error> {
    let policy = SpanPolicy {
        bytes: NonZeroU32::new(span).unwrap(),
    };
    let mut decoder = Decoder::new(
        Compression::detect(blob),
        policy,
        Limits { tar_bytes: limit },
    )?;
    let (mut tar, mut boundaries, mut at) = (Vec::new(), Vec::new(), 0);
    let mut output = vec![0; chunks.1];
    loop {
        let input = &blob[at..blob.len().min(at + chunks.0)];
        let step = decoder.decode(input, &mut output)?;
        at += step.consumed;
        tar.extend_from_slice(&output[..step.produced]);
        let cut = step.boundary.is_some();
        boundaries.extend(step.boundary);
        if !cut && step.produced < output.len() && at == blob.len() {
            break;
        }
    }
    let totals = decoder.finish()?;
    assert_eq!(
        totals,
        Totals {
            blob_bytes: blob.len() as u64,
            tar_bytes: tar.len() as u64
        }
    );
    Ok((tar, boundaries))
}

fn decode(blob: &[u8]) -> Result<Vec<u8>, Error> {
    decode_all(blob, 1 << 20, u64::MAX, (64 << 10, 64 << 10)).map(|(tar, _)| tar)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    ::zstd::bulk::compress(bytes, 3).unwrap()
}

/// A member with the fields that `flags` announces, and its header checksum if asked for.
fn gzip_with_header(flags: u8, bytes: &[u8]) -> Vec<u8> {
    let plain = gzip(bytes);
    let mut blob = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 255];
    if flags & 4 != 0 {
        blob.extend([3, 0, b'a', 0, b'b']);
    }
    if flags & 8 != 0 {
        blob.extend(b"layer.tar\0");
    }
    if flags & 16 != 0 {
        blob.extend(b"a comment\0");
    }
    if flags & 2 != 0 {
        let crc = zlib_rs::crc32::crc32(0, &blob).to_le_bytes();
        blob.extend([crc[0], crc[1]]);
    }
    blob.extend(&plain[10..]);
    blob
}

/// Text that compresses about as well as a layer does.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let words: Vec<String> = (0..500_u32)
        .map(|n| format!("word{} ", n * n % 7919))
        .collect();
    let mut text = Vec::with_capacity(bytes + 16);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [high, low, noise, ..] = state.to_be_bytes();
        text.extend_from_slice(
            words[usize::from(u16::from_be_bytes([high, low])) % words.len()].as_bytes(),
        );
        text.push(noise);
    }
    text.truncate(bytes);
    text
}

#[track_caller]
fn check_ok(blob: &[u8], tar: &[u8]) {
    assert_eq!(decode(blob).unwrap(), tar);
    assert_eq!(decode_all(blob, 7, u64::MAX, (1, 1)).unwrap().0, tar);
}

#[track_caller]
fn check_corrupt(blob: &[u8], expected: &str) {
    match decode(blob) {
        Err(Error::Corrupt { what, .. }) => assert_eq!(what, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_gzip_member() {
    check_ok(&gzip(b"hello"), b"hello");
}

/// A call that is given input takes all of it, unless a span ends or the output is full: also where the end
/// of a stream was in the bits that a call before took, whose output it filled to the last byte.
#[test]
fn all_input_is_taken_where_the_output_ends_with_the_stream() {
    let limits = Limits {
        tar_bytes: u64::MAX,
    };
    for (length, block) in [
        (1 << 20, 1 << 18),
        (50_001_536, 1 << 18),
        (3 << 20, 1 << 16),
    ] {
        let blob = gzip(&vec![0; length]);
        let mut decoder = Decoder::new(Compression::Gzip, SpanPolicy::MIB, limits).unwrap();
        let (mut input, mut output) = (&blob[..], vec![0; block]);
        while !input.is_empty() {
            let step = decoder.decode(input, &mut output).unwrap();
            input = &input[step.consumed..];
            let may_leave = step.boundary.is_some() || step.produced == block;
            assert!(may_leave || input.is_empty(), "{length}, {block}");
        }
    }
}

#[test]
fn an_empty_gzip_member() {
    check_ok(&gzip(b""), b"");
}

#[test]
fn gzip_members_follow_each_other() {
    check_ok(
        &[gzip(b"one "), gzip(b""), gzip(b"two"), gzip(b"")].concat(),
        b"one two",
    );
}

#[test]
fn every_combination_of_gzip_header_fields() {
    for flags in 0..32 {
        check_ok(&gzip_with_header(flags, b"hello"), b"hello");
    }
}

#[test]
fn a_gzip_header_with_an_empty_extra_field() {
    let blob = [
        &[0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 0, 0][..],
        &gzip(b"hello")[10..],
    ]
    .concat();
    check_ok(&blob, b"hello");
}

#[test]
fn a_wrong_gzip_header_checksum() {
    let mut blob = gzip_with_header(2, b"hello");
    blob[10] ^= 1;
    check_corrupt(&blob, "the checksum of a gzip header is wrong");
}

#[test]
fn unknown_gzip_flags() {
    let mut blob = gzip(b"hello");
    blob[3] = 0x20;
    check_corrupt(&blob, "a gzip header has unknown flags");
}

#[test]
fn a_gzip_member_of_another_method() {
    let mut blob = gzip(b"hello");
    blob[2] = 7;
    check_corrupt(&blob, "a gzip member is not compressed with deflate");
}

#[test]
fn zeros_may_pad_a_gzip_blob() {
    check_ok(&[gzip(b"hello"), vec![0; 1000]].concat(), b"hello");
}

#[test]
fn nothing_follows_gzip_padding() {
    check_corrupt(
        &[gzip(b"a"), vec![0; 3], gzip(b"b")].concat(),
        "bytes follow the padding after the last member",
    );
}

#[test]
fn nothing_but_members_and_padding_follows_a_gzip_member() {
    check_corrupt(
        &[gzip(b"a"), b"junk".to_vec()].concat(),
        "something that is not a gzip member follows",
    );
    check_corrupt(
        &[gzip(b"a"), vec![0x1f, 0]].concat(),
        "something that is not a gzip member follows",
    );
}

#[test]
fn a_wrong_gzip_checksum() {
    let mut blob = gzip(b"hello");
    let trailer = blob.len() - 8;
    blob[trailer] ^= 1;
    check_corrupt(&blob, "the checksum of a gzip member is wrong");
}

#[test]
fn a_wrong_gzip_length() {
    let mut blob = gzip(b"hello");
    let length = blob.len() - 4;
    blob[length] ^= 1;
    check_corrupt(&blob, "the length of a gzip member is wrong");
}

#[test]
fn a_deflate_block_of_no_type() {
    let blob = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255][..], &[0xff; 20]].concat();
    check_corrupt(&blob, "not a valid deflate stream");
}

#[test]
fn a_cut_blob_is_truncated_wherever_it_is_cut() {
    let blobs = [
        gzip_with_header(31, b"some bytes"),
        zstd_frame(b"some bytes"),
        gzip(&text(5000)),
    ];
    for blob in blobs {
        for end in 4..blob.len() {
            match decode(&blob[..end]) {
                Err(Error::Truncated { at, .. }) => assert_eq!(at, end as u64),
                other => panic!("cut at {end}: {other:?}"),
            }
        }
    }
}

#[test]
fn zstd_frames_follow_each_other_with_skippable_ones_between() {
    let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    check_ok(
        &[
            zstd_frame(b"one "),
            skippable.clone(),
            zstd_frame(b""),
            zstd_frame(b"two"),
        ]
        .concat(),
        b"one two",
    );
    check_ok(&[skippable, zstd_frame(b"one")].concat(), b"one");
}

#[test]
fn a_zstd_window_above_the_limit_is_refused() {
    // Magic, no single segment, window descriptor 128 MiB * 2, one empty last raw block.
    let frame = |window: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, window, 1, 0, 0];
    check_ok(&frame((27 - 10) << 3), b"");
    check_corrupt(
        &frame((28 - 10) << 3),
        "not a valid frame, a wrong checksum, or a window above 128 MiB",
    );
}

#[test]
fn junk_after_a_zstd_frame() {
    check_corrupt(
        &[zstd_frame(b"a"), b"junk".to_vec()].concat(),
        "not a valid frame, a wrong checksum, or a window above 128 MiB",
    );
}

#[test]
fn a_plain_blob() {
    check_ok(b"a tar, say", b"a tar, say");
    check_ok(b"", b"");
}

#[test]
fn a_limit_is_reached_but_not_passed() {
    let tar = vec![0; 1 << 20];
    for blob in [gzip(&tar), zstd_frame(&tar), tar.clone()] {
        let limit = tar.len() as u64;
        assert_eq!(
            decode_all(&blob, 1 << 16, limit, (4096, 4096)).unwrap().0,
            tar
        );
        match decode_all(&blob, 1 << 16, limit - 1, (4096, 4096)) {
            Err(Error::TooLarge { limit: told, .. }) => assert_eq!(told, limit - 1),
            other => panic!("{:?}", other.map(|(tar, _)| tar.len())),
        }
    }
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let blob = gzip(&vec![0; 64 << 20]);
    let mut decoder = Decoder::new(
        Compression::Gzip,
        SpanPolicy::MIB,
        Limits { tar_bytes: 1 << 20 },
    )
    .unwrap();
    let mut output = vec![0; 64 << 20];
    let (mut at, mut produced) = (0, 0);
    let error = loop {
        match decoder.decode(&blob[at..], &mut output) {
            Ok(step) => (at, produced) = (at + step.consumed, produced + step.produced),
            Err(error) => break error,
        }
        assert!(produced <= 1 << 20);
    };
    assert!(matches!(error, Error::TooLarge { .. }));
}

#[test]
fn spans_of_one_zstd_frame_are_a_group() {
    let (_, boundaries) =
        decode_all(&zstd_frame(&text(100_000)), 30_000, u64::MAX, (999, 9999)).unwrap();
    let expected: Vec<_> = [30_000, 60_000, 90_000]
        .map(|tar_offset| Boundary {
            tar_offset,
            restart: Restart::Continue,
        })
        .into();
    assert_eq!(boundaries, expected);
}

#[test]
fn a_new_frame_or_member_restarts_for_nothing() {
    let part = text(20_000);
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd_frame] {
        let one = pack(&part);
        let blob = [&one[..], &one, &one].concat();
        let (_, boundaries) = decode_all(&blob, 20_000, u64::MAX, (1 << 20, 1 << 20)).unwrap();
        let kept: Vec<_> = boundaries
            .iter()
            .filter(|boundary| boundary.restart != Restart::Continue)
            .map(|boundary| (boundary.tar_offset, boundary.restart.byte().unwrap()))
            .collect();
        let length = one.len() as u64;
        assert_eq!(kept, [(20_000, length), (40_000, 2 * length)]);
    }
}

#[test]
fn a_span_without_block_boundaries_is_cut_at_twice_the_target() {
    let (_, boundaries) =
        decode_all(&gzip(&vec![7; 1 << 20]), 100_000, u64::MAX, (4096, 1 << 20)).unwrap();
    assert_eq!(
        boundaries[0],
        Boundary {
            tar_offset: 200_000,
            restart: Restart::Continue
        }
    );
}

/// Makes each span again from its restart and compares.
fn check_restarts(blob: &[u8], tar: &[u8], boundaries: &[Boundary]) {
    let compression = Compression::detect(blob);
    let policy = SpanPolicy {
        bytes: NonZeroU32::MAX,
    };
    for boundary in boundaries {
        let Some(byte) = boundary.restart.byte() else {
            continue;
        };
        let expected = &tar[usize::try_from(boundary.tar_offset).unwrap()..];
        let mut decoder = Decoder::resume(
            compression,
            &boundary.restart,
            policy,
            Limits {
                tar_bytes: u64::MAX,
            },
        )
        .unwrap()
        .unwrap();
        let mut input = &blob[usize::try_from(byte).unwrap()..];
        let mut output = vec![0; expected.len()];
        let mut filled = 0;
        while filled < output.len() {
            let step = decoder.decode(input, &mut output[filled..]).unwrap();
            assert!(step.produced > 0 || step.consumed > 0, "stuck at {filled}");
            input = &input[step.consumed..];
            filled += step.produced;
        }
        assert!(output == expected, "restart at {}", boundary.tar_offset);
    }
}

#[test]
fn every_block_boundary_of_a_real_gzip_stream_restarts() {
    // Few repetitions: a block ends after so many symbols, so there are many blocks, each shorter
    // than a span may be.
    let tar: Vec<u8> = text(12 << 20)
        .chunks(5)
        .filter_map(|chunk| chunk.last().copied())
        .collect();
    let blob = gzip(&tar);
    let (got, boundaries) = decode_all(&blob, 30_000, u64::MAX, (10_000, 50_000)).unwrap();
    assert!(got == tar);
    let bits: std::collections::BTreeSet<_> = boundaries
        .iter()
        .filter_map(|boundary| match boundary.restart {
            Restart::Deflate { bit, .. } => Some(bit % 8),
            _ => None,
        })
        .collect();
    assert_eq!(bits.len(), 8, "every bit offset occurs: {bits:?}");
    check_restarts(&blob, &tar, &boundaries);
}

fn tars() -> impl Strategy<Value = Vec<u8>> {
    let run = (any::<u8>(), 1..3000_usize).prop_map(|(byte, count)| vec![byte; count]);
    let noise = proptest::collection::vec(any::<u8>(), 1..2000);
    let words = (1..4000_usize).prop_map(text);
    proptest::collection::vec(prop_oneof![run, noise, words], 0..12)
        .prop_map(|parts| parts.concat())
}

fn blobs() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    (proptest::collection::vec(tars(), 1..4), 0..11_u32, 0..3_u8).prop_map(
        |(parts, level, format)| {
            let blob = parts
                .iter()
                .map(|part| match format {
                    0 => part.clone(),
                    1 => {
                        let level = flate2::Compression::new(level.min(9));
                        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                        // Flushes make more, and stored, blocks.
                        for piece in part.chunks(3000) {
                            encoder.write_all(piece).unwrap();
                            encoder.flush().unwrap();
                        }
                        encoder.finish().unwrap()
                    }
                    _ => zstd_frame(part),
                })
                .collect::<Vec<_>>()
                .concat();
            (parts.concat(), blob)
        },
    )
}

proptest! {
    #[test]
    fn any_blob_in_any_pieces_is_its_tar_and_restarts(
        (tar, blob) in blobs(),
        span in 1..20_000_u32,
        input in 1..5000_usize,
        output in 1..5000_usize,
    ) {
        // A plain tar that happens to begin like a compressed one is not what this is about.
        prop_assume!(!blob.is_empty());
        let (got, boundaries) = decode_all(&blob, span, u64::MAX, (input, output))?;
        prop_assert!(got == tar);
        let whole = decode_all(&blob, span, u64::MAX, (usize::MAX >> 1, 1 << 20))?;
        prop_assert!(whole.1 == boundaries, "boundaries depend on the pieces");
        check_restarts(&blob, &tar, &boundaries);
    }

    #[test]
    fn damage_never_panics(
        (_, mut blob) in blobs(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        prop_assume!(!blob.is_empty());
        for (index, byte) in flips {
            let index = index.index(blob.len());
            blob[index] ^= byte;
        }
        let _outcome = decode_all(&blob, 5000, 1 << 20, (777, 777));
    }
}
