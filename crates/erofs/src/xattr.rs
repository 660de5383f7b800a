//! Extended attributes: a name's prefix as a number, and values that many inodes share.
//!
//! An inode's attributes follow it: a header, the numbers of shared attributes, then its own. What
//! several inodes have in common (a capability, an ACL, a label) is written once, in one area for
//! the whole index, and so is what is long, because bytes beside the inodes are read with them.

use std::collections::HashMap;

use lapstrake_tree::model::{BLOCK, Metadata};

use crate::{
    disk::{XATTR_ENTRY_LEN, XATTR_HEADER_LEN, get_u16, get_u32},
    error::Unrepresentable,
};

/// Attributes of at least this many bytes go to the shared area even if only one inode has them.
const LONG: u64 = 512;
/// Shared attributes of one inode; their count is a byte.
const SHARED_MAX: usize = 255;
/// Longest attribute name that system calls take, prefix included.
const NAME_MAX: usize = 255;
/// Attributes of one inode together: header and 65,534 words.
const BODY_MAX: u64 = 12 + 65_534 * 4;

const PREFIXES: [(u8, &[u8]); 3] = [(1, b"user."), (4, b"trusted."), (6, b"security.")];
const WHOLE_NAMES: [(u8, &[u8]); 2] = [
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
];

/// Splits a name into its prefix's number and the rest. Nothing for names that EROFS has no number
/// for; the kernel shows none of those.
pub(crate) fn split_name(full: &[u8]) -> Option<(u8, &[u8])> {
    let prefixed = PREFIXES.iter().find_map(|(index, prefix)| {
        full.strip_prefix(*prefix)
            .filter(|rest| !rest.is_empty())
            .map(|rest| (*index, rest))
    });
    let whole = || WHOLE_NAMES.iter().find(|(_, name)| *name == full);
    prefixed.or_else(|| whole().map(|(index, _)| (*index, &[][..])))
}

/// Reverses [`split_name`].
fn join_name(index: u8, rest: &[u8]) -> Option<Box<[u8]>> {
    let (_, start) = PREFIXES
        .iter()
        .chain(&WHOLE_NAMES)
        .find(|(number, _)| *number == index)?;
    let full = [*start, rest].concat();
    (split_name(&full) == Some((index, rest)) && full.len() <= NAME_MAX).then_some(full.into())
}

/// An attribute of the tree: full name and value.
pub(crate) type Attribute<'t> = (&'t [u8], &'t [u8]);

/// The attributes of `metadata` that EROFS can say.
pub(crate) fn storable(metadata: &Metadata) -> impl Iterator<Item = Attribute<'_>> {
    metadata
        .xattrs
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .filter(|(name, _)| split_name(name).is_some())
}

/// Refuses attributes with a prefix that is known but a length that is not.
pub(crate) fn check(metadata: &Metadata) -> Result<(), Unrepresentable> {
    for (name, value) in storable(metadata) {
        if name.len() > NAME_MAX {
            return Err(Unrepresentable::AttributeName(name.len()));
        }
        if u16::try_from(value.len()).is_err() {
            return Err(Unrepresentable::AttributeValue(value.len()));
        }
    }
    Ok(())
}

fn entry_len((name, value): Attribute<'_>) -> u64 {
    let rest = split_name(name).map_or(0, |(_, rest)| rest.len());
    ((XATTR_ENTRY_LEN + rest + value.len()) as u64).next_multiple_of(4)
}

fn encode_entry((name, value): Attribute<'_>, out: &mut Vec<u8>) {
    let (index, rest) = split_name(name).expect("only storable attributes are written");
    let start = out.len();
    out.push(u8::try_from(rest.len()).expect("checked before layout"));
    out.push(index);
    out.extend(
        u16::try_from(value.len())
            .expect("checked before layout")
            .to_le_bytes(),
    );
    out.extend_from_slice(rest);
    out.extend_from_slice(value);
    let padded = start + (out.len() - start).next_multiple_of(4);
    out.resize(padded, 0);
}

/// The attributes in the shared area, in order of first use.
#[derive(Debug)]
pub(crate) struct Shared<'t> {
    numbers: HashMap<Attribute<'t>, u32>,
    order: Vec<Attribute<'t>>,
    len: u64,
}

impl<'t> Shared<'t> {
    /// Chooses what to share among all inodes. Nothing if the area would exceed what its 32-bit
    /// numbers, in units of 4 bytes, can reach.
    pub(crate) fn choose(all: impl Iterator<Item = &'t Metadata>) -> Option<Self> {
        let mut uses: HashMap<Attribute<'t>, u32> = HashMap::new();
        let mut order = Vec::new();
        for attribute in all.flat_map(storable) {
            let count = uses.entry(attribute).or_insert_with(|| {
                order.push(attribute);
                0
            });
            *count = count.saturating_add(1);
        }
        order.retain(|attribute| uses[attribute] > 1 || entry_len(*attribute) >= LONG);
        let mut numbers = HashMap::with_capacity(order.len());
        let mut len = 0;
        for attribute in &order {
            numbers.insert(*attribute, u32::try_from(len / 4).ok()?);
            len += entry_len(*attribute);
        }
        // The area begins anywhere in a block, and numbers count from that block.
        u32::try_from((len + BLOCK) / 4).ok()?;
        Some(Self {
            numbers,
            order,
            len,
        })
    }

    /// Length of the area in bytes.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The area's entries one by one, each appended to an empty buffer.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Vec<u8>> {
        self.order.iter().map(|attribute| {
            let mut entry = Vec::new();
            encode_entry(*attribute, &mut entry);
            entry
        })
    }

    /// What follows an inode with these attributes.
    pub(crate) fn body<'m>(&self, metadata: &'m Metadata) -> Body<'m>
    where
        't: 'm,
    {
        let mut body = Body::default();
        if metadata.xattrs.is_empty() {
            return body;
        }
        for attribute in storable(metadata) {
            match self.numbers.get(&attribute) {
                Some(number) if body.shared.len() < SHARED_MAX => body.shared.push(*number),
                _ => body.own.push(attribute),
            }
        }
        body
    }
}

/// The attributes behind one inode.
#[derive(Debug, Default)]
pub(crate) struct Body<'t> {
    shared: Vec<u32>,
    own: Vec<Attribute<'t>>,
}

impl Body<'_> {
    /// Length in bytes; none without attributes.
    pub(crate) fn len(&self) -> u64 {
        if self.shared.is_empty() && self.own.is_empty() {
            return 0;
        }
        let own: u64 = self.own.iter().map(|attribute| entry_len(*attribute)).sum();
        (XATTR_HEADER_LEN + 4 * self.shared.len()) as u64 + own
    }

    /// The number by which an inode says that length.
    pub(crate) fn count(&self) -> Result<u16, Unrepresentable> {
        let len = self.len();
        if len > BODY_MAX {
            return Err(Unrepresentable::Attributes(len));
        }
        let words = len.saturating_sub(XATTR_HEADER_LEN as u64).div_ceil(4);
        let count = if len == 0 { 0 } else { words + 1 };
        Ok(u16::try_from(count).expect("bounded just above"))
    }

    /// Appends header, shared numbers and own entries. `first` is the number of the shared area's
    /// first entry.
    pub(crate) fn encode(&self, first: u32, out: &mut Vec<u8>) {
        if self.len() == 0 {
            return;
        }
        out.extend([0; 4]);
        out.push(u8::try_from(self.shared.len()).expect("at most SHARED_MAX"));
        out.extend([0; 7]);
        for number in &self.shared {
            out.extend((first + number).to_le_bytes());
        }
        for attribute in &self.own {
            encode_entry(*attribute, out);
        }
    }
}

/// Length of what follows an inode that says `count`.
pub(crate) fn body_len(count: u16) -> usize {
    match count {
        0 => 0,
        count => XATTR_HEADER_LEN + 4 * (usize::from(count) - 1),
    }
}

/// An attribute as read: full name and value.
pub(crate) type Read<'b> = (Box<[u8]>, &'b [u8]);

/// Reads one entry at the start of `bytes`, and how long it is.
fn decode_entry(bytes: &[u8]) -> Option<(Read<'_>, usize)> {
    let header = bytes.get(..XATTR_ENTRY_LEN)?;
    let name_end = XATTR_ENTRY_LEN + usize::from(header[0]);
    let value_end = name_end + usize::from(get_u16(header, 2));
    let name = join_name(header[1], bytes.get(XATTR_ENTRY_LEN..name_end)?)?;
    Some((
        (name, bytes.get(name_end..value_end)?),
        value_end.next_multiple_of(4),
    ))
}

/// Reads what follows an inode; `area` is everything from the shared area's start on. Nothing if
/// it is not as written here.
pub(crate) fn decode<'b>(body: &'b [u8], area: &'b [u8]) -> Option<Vec<Read<'b>>> {
    let mut found = Vec::new();
    if body.is_empty() {
        return Some(found);
    }
    let header = body.get(..XATTR_HEADER_LEN)?;
    if header[..4] != [0; 4] || header[5..] != [0; 7] {
        return None;
    }
    let (numbers, mut own) =
        body[XATTR_HEADER_LEN..].split_at_checked(4 * usize::from(header[4]))?;
    for number in numbers.chunks_exact(4) {
        let at = usize::try_from(get_u32(number, 0)).ok()?.checked_mul(4)?;
        found.push(decode_entry(area.get(at..)?)?.0);
    }
    while !own.is_empty() {
        let (attribute, len) = decode_entry(own)?;
        found.push(attribute);
        own = own.get(len..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_number_or_are_not_stored() {
        let check = |name: &str, want: Option<(u8, &str)>| {
            let split = split_name(name.as_bytes());
            assert_eq!(
                split,
                want.map(|(index, rest)| (index, rest.as_bytes())),
                "{name}"
            );
            if let Some((index, rest)) = split {
                assert_eq!(join_name(index, rest).as_deref(), Some(name.as_bytes()));
            }
        };
        check("user.a", Some((1, "a")));
        check("user.", None);
        check("trusted.overlay.opaque", Some((4, "overlay.opaque")));
        check("security.capability", Some((6, "capability")));
        check("system.posix_acl_access", Some((2, "")));
        check("system.posix_acl_default", Some((3, "")));
        check("system.posix_acl_accessx", None);
        check("system.nfs4_acl", None);
        check("com.apple.quarantine", None);
    }
}
