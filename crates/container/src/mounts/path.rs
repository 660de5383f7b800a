//! Paths as text, before anything is looked up.

use std::path::{Path, PathBuf};

use super::error::Fault;

/// A path without `.`, `..`, doubled slashes or a slash at the end; a relative one stays relative.
pub(crate) fn clean(path: &str) -> PathBuf {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => PathBuf::from(format!("/{joined}")),
        (false, true) => PathBuf::from("."),
        (false, false) => PathBuf::from(joined),
    }
}

/// Whether a path names something below where one is.
pub(super) fn is_local(path: &str) -> bool {
    let cleaned = clean(path);
    !path.is_empty() && cleaned.is_relative() && !cleaned.starts_with("..")
}

/// Whether something can be mounted there.
pub(super) fn check_destination(path: &str) -> Result<(), Fault> {
    if clean(&path.replace('\\', "/")) == Path::new("/") {
        return Err(Fault::Root);
    }
    check_absolute(path)
}

pub(super) fn check_absolute(path: &str) -> Result<(), Fault> {
    if path.starts_with(['/', '\\']) {
        return Ok(());
    }
    Err(Fault::Relative(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_text() {
        for (path, cleaned) in [
            ("", "."),
            ("/", "/"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("a/..", "."),
            ("../a/../..", "../.."),
            ("./a", "a"),
        ] {
            assert_eq!(clean(path), Path::new(cleaned), "{path:?}");
        }
    }

    #[test]
    fn a_local_path_stays_below() {
        for (path, local) in [
            ("a", true),
            (".", true),
            ("a/..", true),
            ("a/../b", true),
            ("", false),
            ("/a", false),
            ("..", false),
            ("a/../..", false),
            ("..a", true),
        ] {
            assert_eq!(is_local(path), local, "{path:?}");
        }
    }
}
