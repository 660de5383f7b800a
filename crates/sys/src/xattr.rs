//! Extended attributes, whole: the buffer grows until the kernel's answer fits.
//!
//! A final symbolic link is followed only by those functions whose names say so: for paths that lead to an open
//! file.

use std::path::Path;

use rustix::io::Errno;

/// Names of all attributes that the caller may see.
pub fn list(path: &Path) -> Result<Vec<Box<[u8]>>, Errno> {
    let names = whole(|buffer| rustix::fs::llistxattr(path, buffer))?;
    Ok(split(&names))
}

/// The value of one attribute; `None` when the file does not have it.
pub fn get(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match whole(|buffer| rustix::fs::lgetxattr(path, name, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// As [`list`], of what a final link leads to.
pub fn list_followed(path: &Path) -> Result<Vec<Box<[u8]>>, Errno> {
    let names = whole(|buffer| rustix::fs::listxattr(path, buffer))?;
    Ok(split(&names))
}

/// As [`get`], of what a final link leads to.
pub fn get_followed(path: &Path, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    match whole(|buffer| rustix::fs::getxattr(path, name, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn split(names: &[u8]) -> Vec<Box<[u8]>> {
    let names = names.split(|byte| *byte == 0);
    names
        .filter(|name| !name.is_empty())
        .map(Into::into)
        .collect()
}

fn whole(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 1024];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // 64 KiB is the kernel's limit for both a value and a list of names.
            Err(Errno::RANGE) if buffer.len() <= 1 << 16 => buffer.resize(buffer.len() * 4, 0),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_comes_whole() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let value = vec![b'v'; 3000];
        let flags = rustix::fs::XattrFlags::empty();
        match rustix::fs::setxattr(file.path(), "user.long", &value, flags) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSPC) => {
                eprintln!("SKIPPED a_long_value_comes_whole: no such attributes here");
                return;
            }
            Err(errno) => panic!("setxattr: {errno}"),
        }
        assert_eq!(get(file.path(), b"user.long"), Ok(Some(value)));
        assert_eq!(get(file.path(), b"user.other"), Ok(None));
        let names = list(file.path()).expect("names");
        assert!(names.contains(&b"user.long"[..].into()), "{names:?}");
    }
}
