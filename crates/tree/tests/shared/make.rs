//! Tars by hand: every field can be wrong.

use super::set_tar_checksum;

/// Which magic a header has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Magic {
    V7,
    Ustar,
    Gnu,
}

/// A header in the making.
#[derive(Debug, Clone)]
pub struct Head {
    pub block: [u8; 512],
}

impl Head {
    /// A header of that kind, name and size, 0644, of nobody in particular.
    pub fn new(magic: Magic, kind: u8, name: &[u8], size: u64) -> Self {
        let mut block = [0; 512];
        block[..name.len()].copy_from_slice(name);
        block[156] = kind;
        match magic {
            Magic::V7 => {}
            Magic::Ustar => block[257..265].copy_from_slice(b"ustar\x0000"),
            Magic::Gnu => block[257..265].copy_from_slice(b"ustar  \0"),
        }
        let mut head = Self { block };
        head.octal(100, 8, 0o644);
        head.octal(108, 8, 0);
        head.octal(116, 8, 0);
        head.octal(124, 12, size);
        head.octal(136, 12, 0);
        head
    }

    /// Writes an octal number of so many bytes, the last one a NUL.
    pub fn octal(&mut self, at: usize, width: usize, value: u64) -> &mut Self {
        let digits = format!("{value:0width$o}", width = width - 1);
        self.bytes(at, digits.as_bytes())
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.block[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The header, its checksum right.
    pub fn done(&self) -> [u8; 512] {
        let mut block = self.block;
        set_tar_checksum(&mut block);
        block
    }
}

/// A tar in the making.
#[derive(Debug, Default, Clone)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// Adds a header and what follows it, padded.
    pub fn raw(mut self, head: &Head, contents: &[u8]) -> Self {
        self.0.extend_from_slice(&head.done());
        self.0.extend_from_slice(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a file.
    pub fn file(self, name: &str, contents: &str) -> Self {
        self.kind(b'0', name, contents)
    }

    /// Adds an entry of any kind.
    pub fn kind(self, kind: u8, name: &str, contents: &str) -> Self {
        let head = Head::new(Magic::Ustar, kind, name.as_bytes(), contents.len() as u64);
        self.raw(&head, contents.as_bytes())
    }

    /// Adds a directory of mode 0711.
    pub fn directory(self, name: &str) -> Self {
        let mut head = Head::new(Magic::Ustar, b'5', name.as_bytes(), 0);
        self.raw(head.octal(100, 8, 0o711), b"")
    }

    /// Adds a link: `1` hard, `2` symbolic.
    pub fn link(self, kind: u8, name: &str, target: &str) -> Self {
        let mut head = Head::new(Magic::Ustar, kind, name.as_bytes(), 0);
        self.raw(head.bytes(157, target.as_bytes()), b"")
    }

    /// Adds an extended header: `x` or `g`.
    pub fn pax(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let payload: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| record(key.as_bytes(), value))
            .collect();
        let head = Head::new(Magic::Ustar, kind, b"pax", payload.len() as u64);
        self.raw(&head, &payload)
    }

    /// The tar with its end.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }
}

/// One record of an extended header.
pub fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
