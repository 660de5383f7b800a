//! What holds for every input, whoever made it: tests, generators and fuzzers all ask this.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

pub mod describe;
pub mod files;
pub mod make;

use std::io::Read;

use lapstrake_tree::{
    error::Error,
    limits::Limits,
    model::Tree,
    rebuild::rebuild,
    skeleton::{Map, Skeleton},
    split::{SplitLayer, Splitter},
    view::TarView,
};

/// As lavish as a test's memory allows.
pub const LIMITS: Limits = Limits {
    sparse_bytes_base: 1 << 20,
    data_bytes_max: 256 << 20,
    ..Limits::DEFAULT
};

/// Splits a tar that comes in pieces of `step` bytes.
pub fn split(tar: &[u8], step: usize) -> Result<(SplitLayer, Vec<u8>), Error> {
    let mut data = Vec::new();
    let mut splitter = Splitter::new(LIMITS);
    for chunk in tar.chunks(step) {
        splitter.feed(chunk, &mut data)?;
    }
    let layer = splitter.finish(&mut data)?;
    Ok((layer, data))
}

/// Splits a tar, and checks what holds for every tar that is accepted.
pub fn check(tar: &[u8]) -> Result<(Tree, Vec<u8>), Error> {
    let (layer, data) = split(tar, usize::MAX)?;
    assert_eq!(layer.tar_len, tar.len() as u64);
    assert_eq!(layer.data_len, data.len() as u64);
    assert_eq!(layer.data_len % 4096, 0);
    check_view(tar, &layer.skeleton, &data);
    let skeleton = Skeleton::open(&layer.skeleton[..]).unwrap();
    skeleton.check().unwrap();
    assert_eq!(rebuild(&skeleton, LIMITS).unwrap(), layer.tree);
    check_map(tar, &data, &Map::read(&skeleton).unwrap());
    Ok((layer.tree, data))
}

fn check_view(tar: &[u8], skeleton: &[u8], data: &[u8]) {
    let mut view = TarView::new(skeleton, data).unwrap();
    let mut again = Vec::new();
    view.read_to_end(&mut again).unwrap();
    assert!(again == tar, "the view differs");
    for at in [0, 1, 511, tar.len() / 2, tar.len(), tar.len() + 1] {
        let mut buffer = vec![0; 700];
        let read = view.read_at(at as u64, &mut buffer).unwrap();
        let rest = tar.get(at..).unwrap_or_default();
        assert_eq!(buffer[..read], rest[..rest.len().min(700)]);
    }
}

/// Data is what the map takes from the tar, and zeros.
fn check_map(tar: &[u8], data: &[u8], map: &Map) {
    let at = |offset: u64| usize::try_from(offset).unwrap();
    let mut again = vec![0; data.len()];
    for piece in map.pieces() {
        let bytes = &tar[at(piece.tar_offset)..][..at(piece.length)];
        again[at(piece.data_offset)..][..at(piece.length)].copy_from_slice(bytes);
    }
    assert!(again == data, "data differs from the map");
    let middle = tar.len() as u64 / 2;
    let halves = map
        .in_tar(0..middle)
        .chain(map.in_tar(middle..tar.len() as u64));
    let length = |pieces: &mut dyn Iterator<Item = _>| -> u64 {
        pieces
            .map(|piece: lapstrake_tree::skeleton::Piece| piece.length)
            .sum()
    };
    let whole = length(&mut map.pieces().iter().copied());
    assert_eq!(length(&mut halves.into_iter()), whole);
    let middle = data.len() as u64 / 2;
    let mut halves = map
        .in_data(0..middle)
        .chain(map.in_data(middle..data.len() as u64));
    assert_eq!(length(&mut halves), whole);
}

/// Any bytes as a tar, as they are and with headers' checksums put right.
pub fn any_tar(input: &[u8]) {
    for tar in [input.to_vec(), with_tar_checksums(input)] {
        let whole = check(&tar);
        let step = usize::from(*input.first().unwrap_or(&0)) + 1;
        let parts = split(&tar, step);
        match (whole, parts) {
            (Ok((tree, data)), Ok((layer, parts_data))) => {
                assert_eq!(layer.tree, tree);
                assert!(parts_data == data, "data depends on how the tar comes");
            }
            (Err(whole), Err(parts)) => assert_eq!(whole.to_string(), parts.to_string()),
            (whole, parts) => panic!("depends on how the tar comes: {whole:?} {parts:?}"),
        }
    }
}

/// Any bytes as a skeleton, as they are and with checksums put right.
pub fn any_skeleton(input: &[u8]) {
    let data = vec![7; 1 << 16];
    for file in [input.to_vec(), with_skeleton_checksums(input)] {
        let Ok(skeleton) = Skeleton::open(&file[..]) else {
            continue;
        };
        drop(skeleton.check());
        drop(Map::read(&skeleton));
        drop(rebuild(&skeleton, LIMITS));
        let mut view = TarView::new(&file[..], &data[..]).unwrap();
        drop(std::io::copy(
            &mut view.by_ref().take(1 << 20),
            &mut std::io::sink(),
        ));
        drop(view.read_at(u64::MAX - 10, &mut [0; 100]));
        drop(view.read_at(skeleton.summary().tar_len / 2, &mut [0; 100]));
    }
}

fn with_tar_checksums(input: &[u8]) -> Vec<u8> {
    let mut tar = input.to_vec();
    for block in tar.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            set_tar_checksum(block);
        }
    }
    tar
}

/// Makes a header valid.
pub fn set_tar_checksum(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn with_skeleton_checksums(input: &[u8]) -> Vec<u8> {
    let mut file = input.to_vec();
    fix_skeleton(&mut file);
    file
}

fn fix_skeleton(file: &mut [u8]) -> Option<()> {
    let length = file.len();
    file.get_mut(16..24)?
        .copy_from_slice(&(length as u64).to_le_bytes());
    let checksum = crc32c::crc32c(file.get(..52)?);
    file.get_mut(52..56)?
        .copy_from_slice(&checksum.to_le_bytes());
    let mut at = 56;
    while let Some(stored) = file.get(at..at + 4) {
        let stored = u32::from_le_bytes(stored.try_into().ok()?) as usize;
        let Some(payload) = file.get(at + 32..at + 32 + stored) else {
            break;
        };
        let checksum = crc32c::crc32c(payload);
        file[at + 12..at + 16].copy_from_slice(&checksum.to_le_bytes());
        at += 32 + stored;
    }
    Some(())
}

/// Damage is seen, or harms nothing: the checksum tells it, or the bytes are the same.
pub fn seen(whole: &[u8], damaged: &[u8], data: &[u8]) {
    let Ok(skeleton) = Skeleton::open(damaged) else {
        return;
    };
    let accepted = skeleton.check().is_ok() && TarView::new(damaged, data).is_ok();
    assert!(!accepted || whole == damaged, "damage was not seen");
}

/// Whatever the bytes are: paths stay below the root, and files have as many bytes as they say.
pub fn any_archive(tar: &[u8]) {
    use lapstrake_tree::archive::{Archive, MemberKind};
    let is_normal = |path: &[u8]| {
        let part = |part: &[u8]| !matches!(part, b"." | b".." | b"");
        path.is_empty() || path.split(|byte| *byte == b'/').all(part)
    };
    let mut archive = Archive::new(tar);
    while let Ok(Some(member)) = archive.next() {
        assert!(is_normal(&member.path));
        match member.kind {
            MemberKind::File { size } => {
                let mut body = Vec::new();
                if archive.body().read_to_end(&mut body).is_ok() {
                    assert_eq!(body.len() as u64, size);
                }
            }
            MemberKind::Link { target } => assert!(is_normal(&target)),
            MemberKind::Directory | MemberKind::Other => {}
        }
    }
    any_entries(tar);
}

/// The same bytes with all that is said of their entries: what is told of a file fits its bytes.
fn any_entries(tar: &[u8]) {
    use lapstrake_tree::archive::{Archive, EntryKind};
    let mut archive = Archive::new(tar);
    while let Ok(Some(entry)) = archive.next_entry() {
        assert!(entry.name.len() <= 4096 && entry.metadata.mode <= 0o7777);
        let EntryKind::File { size, runs } = entry.kind else {
            continue;
        };
        let mut end = 0;
        for run in &runs {
            assert!(run.offset >= end && run.length > 0);
            end = run.offset + run.length;
        }
        assert!(end <= size);
        let mut body = Vec::new();
        if archive.body().read_to_end(&mut body).is_ok() {
            let stored: u64 = runs.iter().map(|run| run.length).sum();
            assert_eq!(body.len() as u64, stored);
        }
    }
}
