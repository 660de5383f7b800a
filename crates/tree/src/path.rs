//! Names from a tar as components below the layer's root.
//!
//! As Docker does: a leading `/` is the layer's root, `.` and doubled or trailing slashes are
//! nothing, and `..` takes back what is before it in the name, whatever that is on disk. What then
//! still begins with `..` leaves the root and is refused; below a leading `/` it stays at the root.

use crate::{
    error::{Error, show},
    limits::{NAME_BYTES_MAX, PATH_BYTES_MAX},
};

/// The components of a name; none for the root.
pub(crate) fn components(name: &[u8]) -> Result<Vec<&[u8]>, Error> {
    if name.len() as u64 > PATH_BYTES_MAX {
        return Err(refused(name, "longer than 4096 bytes"));
    }
    let absolute = name.first() == Some(&b'/');
    let mut components = Vec::with_capacity(8);
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if components.pop().is_none() && !absolute {
                    return Err(Error::Breakout { path: show(name) });
                }
            }
            _ if component.len() as u64 > NAME_BYTES_MAX => {
                return Err(refused(name, "has a component longer than 255 bytes"));
            }
            _ if component.contains(&0) => return Err(refused(name, "has a NUL in it")),
            _ => components.push(component),
        }
    }
    Ok(components)
}

pub(crate) fn refused(name: &[u8], why: &'static str) -> Error {
    Error::Name {
        path: show(name),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        for (name, expected) in [
            ("", ""),
            (".", ""),
            ("./", ""),
            ("/", ""),
            ("a", "a"),
            ("./a/", "a"),
            ("/a//b/./c", "a b c"),
            ("a/../b", "b"),
            ("/../a", "a"),
            ("a/..", ""),
            ("...", "..."),
        ] {
            let parts = components(name.as_bytes()).unwrap();
            assert_eq!(parts.join(&b' '), expected.as_bytes(), "{name}");
        }
    }

    #[test]
    fn names_that_leave_the_root_are_refused() {
        for name in ["..", "../a", "a/../../b", "./.."] {
            assert!(
                matches!(components(name.as_bytes()), Err(Error::Breakout { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn names_that_no_file_can_have_are_refused() {
        let long = "n".repeat(256);
        let deep = "d/".repeat(2049);
        for name in [long.as_str(), deep.as_str(), "a\0b"] {
            assert!(
                matches!(components(name.as_bytes()), Err(Error::Name { .. })),
                "{name:?}"
            );
        }
        assert_eq!(components(&long.as_bytes()[1..]).unwrap().len(), 1);
    }
}
