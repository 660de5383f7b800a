//! A header of 512 bytes in the making: POSIX ustar.

use crate::model::Device;

/// Longest name, and longest target of a link, in bytes.
pub(super) const NAME: usize = 100;
/// Digits of a size or time, with the NUL after them.
pub(super) const SIZE: usize = 12;
/// Digits of a mode, owner or device number, with the NUL after them.
pub(super) const SHORT: usize = 8;

/// The header.
#[derive(Debug)]
pub(super) struct Head([u8; 512]);

/// Whether a number fits a field of so many bytes.
pub(super) fn octal_fits(value: u64, width: usize) -> bool {
    value < 1 << (3 * (width - 1))
}

impl Head {
    /// A header of that kind; all numbers are 0.
    pub(super) fn new(kind: u8) -> Self {
        let mut head = Self([0; 512]);
        head.0[156] = kind;
        head.0[257..265].copy_from_slice(b"ustar\x0000");
        for (at, width) in [(108, SHORT), (116, SHORT), (124, SIZE), (136, SIZE)] {
            head.octal(at, width, 0);
        }
        head.device(Device { major: 0, minor: 0 });
        head
    }

    /// A name; of a longer one, its start.
    pub(super) fn name(&mut self, name: &[u8]) {
        self.text(0, name);
    }

    /// A link's target; of a longer one, its start.
    pub(super) fn link(&mut self, target: &[u8]) {
        self.text(157, target);
    }

    pub(super) fn mode(&mut self, mode: u16) {
        self.octal(100, SHORT, mode.into());
    }

    pub(super) fn uid(&mut self, uid: u32) {
        self.octal(108, SHORT, uid.into());
    }

    pub(super) fn gid(&mut self, gid: u32) {
        self.octal(116, SHORT, gid.into());
    }

    pub(super) fn size(&mut self, size: u64) {
        self.octal(124, SIZE, size);
    }

    pub(super) fn mtime(&mut self, seconds: u64) {
        self.octal(136, SIZE, seconds);
    }

    pub(super) fn device(&mut self, device: Device) {
        self.octal(329, SHORT, device.major.into());
        self.octal(337, SHORT, device.minor.into());
    }

    /// The mode of what is no file of the tree.
    pub(super) fn plain(&mut self) {
        self.mode(0o644);
    }

    /// The header, its checksum right.
    pub(super) fn done(&self) -> [u8; 512] {
        let mut block = self.0;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        // Six digits hold any sum of 512 bytes.
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }

    fn text(&mut self, at: usize, text: &[u8]) {
        let text = &text[..text.len().min(NAME)];
        self.0[at..at + NAME].fill(0);
        self.0[at..at + text.len()].copy_from_slice(text);
    }

    /// Writes a number that fits; one that does not is in an extended header, and 0 here.
    fn octal(&mut self, at: usize, width: usize, value: u64) {
        let value = if octal_fits(value, width) { value } else { 0 };
        let digits = format!("{value:0digits$o}\0", digits = width - 1);
        self.0[at..at + width].copy_from_slice(digits.as_bytes());
    }
}
