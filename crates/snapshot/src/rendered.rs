//! A root in words: type, source and options, as `mount(8)` and containerd take them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use crate::overlay;
use crate::{Error, OpenDir, Overlay, Result};

/// How to mount a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `overlay` or `bind`.
    pub kind: &'static str,
    /// What is mounted; of an overlay, its name.
    pub source: PathBuf,
    /// Options, each by itself.
    pub options: Vec<String>,
}

impl Rendered {
    pub(crate) fn bind(source: &OpenDir, read_only: bool) -> Self {
        let access = if read_only { "ro" } else { "rw" };
        Self {
            kind: "bind",
            source: source.path().to_owned(),
            options: vec!["bind".to_owned(), access.to_owned()],
        }
    }

    pub(crate) fn overlay(overlay: &Overlay, lowers: &[&OpenDir]) -> Result<Self> {
        let upper = overlay.upper.as_ref();
        let options = overlay::options(upper);
        let mut options: Vec<String> = options
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let lowers = lowers.iter().map(|dir| plain(dir));
        let lowers: Vec<String> = lowers.collect::<Result<_>>()?;
        options.push(format!("lowerdir={}", lowers.join(":")));
        match upper {
            Some(upper) => {
                options.push(format!("upperdir={}", plain(&upper.upper)?));
                options.push(format!("workdir={}", plain(&upper.work)?));
            }
            None => options.push("ro".to_owned()),
        }
        Ok(Self {
            kind: "overlay",
            source: "lapstrake".into(),
            options,
        })
    }
}

/// A path that means itself in every list of options.
fn plain(dir: &OpenDir) -> Result<String> {
    let path = dir.path();
    let bytes = path.as_os_str().as_bytes();
    match path.to_str() {
        Some(text) if !bytes.iter().any(|b| b"\\,:\"' \n\t".contains(b)) => Ok(text.to_owned()),
        _ => Err(Error::Unwritable {
            path: path.to_owned(),
        }),
    }
}
