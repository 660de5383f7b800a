#![no_main]

use std::io::Read as _;

use lapstrake_tree::archive::{Archive, MemberKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|tar: &[u8]| {
    let mut archive = Archive::new(tar);
    let mut read = 0;
    while let Ok(Some(member)) = archive.next() {
        let part = |part: &[u8]| part != b"." && part != b".." && !part.is_empty();
        assert!(member.path.is_empty() || member.path.split(|b| *b == b'/').all(part));
        match member.kind {
            MemberKind::File { size } => {
                let mut body = Vec::new();
                if archive.body().read_to_end(&mut body).is_ok() {
                    assert_eq!(body.len() as u64, size);
                }
                read += body.len();
            }
            MemberKind::Link { target } => {
                assert!(target.is_empty() || target.split(|b| *b == b'/').all(part));
            }
            MemberKind::Directory | MemberKind::Other => {}
        }
    }
    assert!(read <= tar.len());
});
