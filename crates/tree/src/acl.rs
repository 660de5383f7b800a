//! Access control lists: the text that tars hold, and the attribute that Linux has instead.
//!
//! Archivers write users and groups by name. Whose id that is only a password file could tell, which a
//! layer's reader has not: a list is taken if each of its entries has an id, as its name or (libarchive)
//! in a fourth field, and otherwise left out whole. Docker leaves out every such list.

/// The attribute that holds a file's own list.
pub(crate) const ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds what files made in a directory begin with.
pub(crate) const DEFAULT: &[u8] = b"system.posix_acl_default";

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Entries of a list: tag, permissions, id. Linux wants them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    tag: u16,
    id: u32,
    permissions: u16,
}

/// A list as Linux holds it, from its text; nothing if it is not one or has a name without an id.
pub(crate) fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|byte| matches!(byte, b',' | b'\n'));
    let lines = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty());
    let mut entries = lines.map(entry).collect::<Option<Vec<_>>>()?;
    entries.sort_unstable();
    let binary = entries
        .iter()
        .fold(VERSION.to_le_bytes().to_vec(), |mut binary, entry| {
            binary.extend_from_slice(&entry.tag.to_le_bytes());
            binary.extend_from_slice(&entry.permissions.to_le_bytes());
            binary.extend_from_slice(&entry.id.to_le_bytes());
            binary
        });
    is_valid(&binary).then_some(binary)
}

/// Whether a list says no more than a file's mode.
pub(crate) fn is_minimal(binary: &[u8]) -> bool {
    binary.len() == 4 + 3 * 8
}

/// The permission bits of a file with this valid list: the group's are the mask, as Linux sets them.
pub(crate) fn mode(binary: &[u8]) -> u16 {
    let (entries, _) = binary.get(4..).unwrap_or_default().as_chunks::<8>();
    let entries: Vec<_> = entries.iter().map(decode).collect();
    let of = |tag| {
        entries
            .iter()
            .find(|entry| entry.tag == tag)
            .map(|entry| entry.permissions)
    };
    let group = of(MASK).or_else(|| of(GROUP_OBJ)).unwrap_or(0);
    (of(USER_OBJ).unwrap_or(0) << 6) | (group << 3) | of(OTHER).unwrap_or(0)
}

/// Whether Linux would take this as a list: one entry for owner, group and others each, named ones in
/// order, and a mask if there are any.
pub(crate) fn is_valid(binary: &[u8]) -> bool {
    let Some((version, entries)) = binary.split_first_chunk::<4>() else {
        return false;
    };
    let (entries, rest) = entries.as_chunks::<8>();
    let entries: Vec<_> = entries.iter().map(decode).collect();
    let count = |tag| entries.iter().filter(|entry| entry.tag == tag).count();
    let named = count(USER) + count(GROUP);
    u32::from_le_bytes(*version) == VERSION
        && rest.is_empty()
        && [USER_OBJ, GROUP_OBJ, OTHER]
            .iter()
            .all(|tag| count(*tag) == 1)
        && count(MASK) <= 1
        && (named == 0 || count(MASK) == 1)
        && named + 3 + count(MASK) == entries.len()
        && entries.is_sorted_by(|a, b| (a.tag, a.id) < (b.tag, b.id))
        && entries.iter().all(|entry| entry.permissions <= 7)
        && entries
            .iter()
            .all(|entry| !matches!(entry.tag, USER | GROUP) || entry.id != NO_ID)
}

fn decode(bytes: &[u8; 8]) -> Entry {
    let [t0, t1, p0, p1, id @ ..] = *bytes;
    let tag = u16::from_le_bytes([t0, t1]);
    // Ids mean something only where there is a name.
    let id = if matches!(tag, USER | GROUP) {
        u32::from_le_bytes(id)
    } else {
        NO_ID
    };
    Entry {
        tag,
        id,
        permissions: u16::from_le_bytes([p0, p1]),
    }
}

/// `kind:name:permissions`, perhaps with `:id`, perhaps with a comment.
fn entry(line: &[u8]) -> Option<Entry> {
    let line = line.split(|byte| *byte == b'#').next()?.trim_ascii();
    let mut fields = line.split(|byte| *byte == b':');
    let (kind, name) = (fields.next()?, fields.next()?);
    // `other:r-x` and `mask:rwx` may leave the name out.
    let (name, permissions) = match (kind, fields.next()) {
        (b"other" | b"o" | b"mask" | b"m", None) => (&b""[..], name),
        (_, third) => (name, third?),
    };
    let (tag, id) = match (kind, name) {
        (b"user" | b"u", b"") => (USER_OBJ, NO_ID),
        (b"group" | b"g", b"") => (GROUP_OBJ, NO_ID),
        (b"mask" | b"m", b"") => (MASK, NO_ID),
        (b"other" | b"o", b"") => (OTHER, NO_ID),
        (b"user" | b"u", _) => (USER, id(fields.next()).or_else(|| id(Some(name)))?),
        (b"group" | b"g", _) => (GROUP, id(fields.next()).or_else(|| id(Some(name)))?),
        _ => return None,
    };
    Some(Entry {
        tag,
        id,
        permissions: bits(permissions)?,
    })
}

fn id(digits: Option<&[u8]>) -> Option<u32> {
    str::from_utf8(digits?).ok()?.parse().ok()
}

fn bits(permissions: &[u8]) -> Option<u16> {
    permissions.iter().try_fold(0, |bits, letter| match letter {
        b'r' => Some(bits | 4),
        b'w' => Some(bits | 2),
        b'x' => Some(bits | 1),
        b'-' => Some(bits),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Option<String> {
        let binary = from_text(text.as_bytes())?;
        Some(binary.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[test]
    fn texts_of_gnu_tar_and_libarchive_become_what_linux_has() {
        // What the kernel gave for `setfacl -m u:1:rw,g:65000:r,u:12345:x` on a file of mode 0644.
        let expected = "0200000001000600ffffffff02000600010000000200010039300000\
                        04000400ffffffff08000400e8fd000010000700ffffffff20000400ffffffff";
        for text in [
            "user::rw-\nuser:1:rw-\nuser:12345:--x\ngroup::r--\ngroup:65000:r--\nmask::rwx\nother::r--\n",
            "user::rw-,group::r--,other::r--,user:daemon:rw-:1,user:12345:--x,group:65000:r--,mask::rwx",
            "u::rw,u:1:rw-,u:12345:x,g::r,g:65000:r,m:rwx,o:r # comment",
        ] {
            assert_eq!(hex(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_list_is_none() {
        for text in [
            "",
            "user::rw-",
            "user::rw-,group::r--,other::r--,user:daemon:rw-,mask::rwx",
            "user::rw-,group::r--,other::r--,user:1:rw-",
            "user::rw-,user::rw-,group::r--,other::r--",
            "user::rw-,group::r--,other::r--,user:1:rw-,user:1:r--,mask::rwx",
            "user::q,group::r--,other::r--",
            "everyone@:rwx",
        ] {
            assert_eq!(hex(text), None, "{text}");
        }
    }

    #[test]
    fn the_mask_is_the_group_of_the_mode() {
        let list = |text: &[u8]| mode(&from_text(text).unwrap());
        assert_eq!(list(b"user::rw-,group::r--,other::--x"), 0o641);
        assert_eq!(
            list(b"user::rwx,user:1:r--,group::r--,mask::rw-,other::---"),
            0o760
        );
    }

    #[test]
    fn a_list_of_the_mode_alone_is_minimal() {
        let minimal = from_text(b"user::rw-,group::r--,other::r--").unwrap();
        assert!(is_minimal(&minimal));
        let more = from_text(b"user::rw-,group::r--,other::r--,mask::rwx").unwrap();
        assert!(!is_minimal(&more));
    }
}
