//! What every source must do, as a suite that each implementation's tests run.

use super::Source;

/// Runs the suite; `make` gives a source of these bytes. It panics where the contract is broken.
pub fn run<S: Source>(make: impl Fn(&[u8]) -> S) {
    let blob: Vec<u8> = (0..=u8::MAX).cycle().take(100_001).collect();
    let source = make(&blob);
    for (offset, length) in [
        (0, 1),
        (0, 100_001),
        (1, 4096),
        (99_999, 2),
        (65_535, 20_000),
    ] {
        assert_eq!(read(&source, offset, length), blob[offset..offset + length]);
    }
    assert_eq!(read(&source, 100_000, 50), blob[100_000..], "what is left");
    assert_eq!(read(&source, 100_001, 50), b"", "nothing at the end");
    assert_eq!(read(&source, 1 << 40, 50), b"", "nothing beyond it");
    assert_eq!(read(&source, 5, 0), b"", "nothing for an empty buffer");
    std::thread::scope(|scope| {
        for start in 0..4 {
            let (source, blob) = (&source, &blob);
            scope.spawn(move || {
                for offset in (start * 1000..90_000).step_by(7777) {
                    assert_eq!(read(source, offset, 5000), blob[offset..offset + 5000]);
                }
            });
        }
    });
    assert_eq!(read(&make(b""), 0, 10), b"", "an empty blob");
}

fn read(source: &impl Source, offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let step = source
            .read_at((offset + filled) as u64, &mut bytes[filled..])
            .expect("the source reads");
        if step == 0 {
            break;
        }
        filled += step;
    }
    bytes.truncate(filled);
    bytes
}
