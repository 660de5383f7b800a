//! Tars as literals.

/// A tar of one regular file, mode 0644, owned by root, ended as GNU tar would.
///
/// # Panics
/// If the name has more than 99 bytes.
pub fn of_file(name: &str, contents: &[u8]) -> Vec<u8> {
    assert!(name.len() < 100, "{name} does not fit a ustar header");
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", contents.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut tar = header.to_vec();
    tar.extend_from_slice(contents);
    tar.resize(tar.len().next_multiple_of(512) + 1024, 0);
    tar
}

/// A tar in the making. Names are short.
#[derive(Debug, Default, Clone)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// Adds a regular file.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> &mut Self {
        self.entry(path, mode, b'0', "", contents)
    }

    /// Adds a directory.
    pub fn directory(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(path, mode, b'5', "", b"")
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(path, 0o777, b'2', target, b"")
    }

    /// Adds one more name for a file that is there.
    pub fn hard_link(&mut self, path: &str, target: &str) -> &mut Self {
        self.entry(path, 0o644, b'1', target, b"")
    }

    /// Adds a named pipe.
    pub fn fifo(&mut self, path: &str, mode: u32) -> &mut Self {
        self.entry(path, mode, b'6', "", b"")
    }

    /// Adds a device: `b'3'` for a character one, `b'4'` for a block one.
    pub fn device(&mut self, path: &str, kind: u8, major: u32, minor: u32) -> &mut Self {
        self.entry(path, 0o600, kind, "", b"");
        let at = self.0.len() - 512;
        self.0[at + 329..at + 336].copy_from_slice(format!("{major:07o}").as_bytes());
        self.0[at + 337..at + 344].copy_from_slice(format!("{minor:07o}").as_bytes());
        seal(&mut self.0[at..]);
        self
    }

    /// Extended attributes of the next entry.
    pub fn attributes(&mut self, attributes: &[(&str, &[u8])]) -> &mut Self {
        let named = attributes
            .iter()
            .map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value));
        let records: Vec<_> = named.collect();
        let records: Vec<_> = records
            .iter()
            .map(|(key, value)| (&**key, *value))
            .collect();
        self.extended(&records)
    }

    /// Extended records (PAX) of the next entry, such as `mtime`, `uid` or `path`.
    pub fn extended(&mut self, records: &[(&str, &[u8])]) -> &mut Self {
        let mut all = Vec::new();
        for (name, value) in records {
            let rest = [b" ", name.as_bytes(), b"=", *value, b"\n"].concat();
            let mut length = rest.len();
            while length != rest.len() + length.to_string().len() {
                length = rest.len() + length.to_string().len();
            }
            all.extend(length.to_string().into_bytes());
            all.extend(rest);
        }
        self.entry("pax", 0o644, b'x', "", &all)
    }

    fn entry(&mut self, path: &str, mode: u32, kind: u8, link: &str, contents: &[u8]) -> &mut Self {
        let mut header = [0; 512];
        header[..path.len()].copy_from_slice(path.as_bytes());
        header[100..107].copy_from_slice(format!("{mode:07o}").as_bytes());
        header[108..115].copy_from_slice(b"0000000");
        header[116..123].copy_from_slice(b"0000000");
        header[124..135].copy_from_slice(format!("{:011o}", contents.len()).as_bytes());
        header[136..147].copy_from_slice(b"00000000001");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header[257..265].copy_from_slice(b"ustar\x0000");
        seal(&mut header);
        self.0.extend(header);
        self.0.extend(contents);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The tar with its end.
    pub fn finish(&mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        std::mem::take(&mut self.0)
    }
}

/// Makes a header's checksum right.
fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
