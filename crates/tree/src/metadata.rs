//! What a header and the extended headers before it say of a file's attributes.

use crate::{
    acl,
    error::Refusal,
    header::Header,
    limits::{
        DEVICE_MAJOR_MAX, DEVICE_MINOR_MAX, PATH_BYTES_MAX, XATTR_LIST_BYTES_MAX,
        XATTR_NAME_BYTES_MAX, XATTR_TOTAL_BYTES_MAX, XATTR_VALUE_BYTES_MAX,
    },
    model::{Device, Metadata, Timestamp, Xattrs},
    pax::Attributes,
    whiteout::steers_overlay,
};

/// A file's attributes. `dropped` counts extended ones that are left out: overlay's own, those of
/// namespaces that Linux has not, and access lists of users whose ids are not known.
pub(crate) fn metadata(
    header: &Header<'_>,
    local: &Attributes,
    global: &Attributes,
    dropped: &mut u64,
) -> Result<Metadata, Refusal> {
    let mut mode = u16::try_from(header.mode()? & 0o7777).expect("masked to twelve bits");
    let uid = local.uid(global).map_or_else(|| header.uid(), Ok)?;
    let gid = local.gid(global).map_or_else(|| header.gid(), Ok)?;
    let mtime = match local.mtime(global) {
        Some(mtime) => mtime,
        None => Timestamp {
            seconds: header.mtime()?,
            nanoseconds: 0,
        },
    };
    let mut xattrs = xattrs(local, global, dropped)?;
    for (name, text) in [
        (acl::ACCESS, local.acl(global)),
        (acl::DEFAULT, local.default_acl(global)),
    ] {
        let Some(text) = text.filter(|_| !xattrs.contains_key(name)) else {
            continue;
        };
        match acl::from_text(text) {
            Some(list) => drop(xattrs.insert(name.into(), list.into())),
            None => *dropped += 1,
        }
    }
    // As if the list were set on the file: the mode follows it, and a list that says no more is none.
    if let Some(list) = xattrs.get(acl::ACCESS) {
        mode = mode & !0o777 | acl::mode(list);
        if acl::is_minimal(list) {
            xattrs.remove(acl::ACCESS);
        }
    }
    Ok(Metadata {
        mode,
        uid: owner(uid).ok_or("its owner is beyond 32 bits")?,
        gid: owner(gid).ok_or("its group is beyond 32 bits")?,
        mtime,
        xattrs,
    })
}

fn xattrs(local: &Attributes, global: &Attributes, dropped: &mut u64) -> Result<Xattrs, Refusal> {
    let mut xattrs = Xattrs::new();
    for (name, value) in local.xattrs(global) {
        if steers_overlay(name) || !has_namespace(name) {
            *dropped += 1;
            continue;
        }
        if name.contains(&0) {
            return Err("an attribute's name has a NUL in it".into());
        }
        if matches!(name, acl::ACCESS | acl::DEFAULT) && !acl::is_valid(value) {
            return Err("its access control list is malformed".into());
        }
        within("an attribute's name", name.len(), XATTR_NAME_BYTES_MAX)?;
        within("an attribute", value.len(), XATTR_VALUE_BYTES_MAX)?;
        xattrs.insert(name.into(), value.into());
    }
    let names = xattrs.keys().map(|name| name.len() + 1).sum();
    let values: usize = xattrs.values().map(|value| value.len()).sum();
    within(
        "the length of its attributes' names",
        names,
        XATTR_LIST_BYTES_MAX,
    )?;
    within(
        "the length of its attributes",
        names + values,
        XATTR_TOTAL_BYTES_MAX,
    )?;
    Ok(xattrs)
}

fn within(what: &'static str, length: usize, limit: u64) -> Result<(), Refusal> {
    if length as u64 > limit {
        Err(Refusal::Limit { what, limit })
    } else {
        Ok(())
    }
}

/// Ids are 32 bits. Writers that took them for signed ones stored -2 for 4294967294; -1 is nobody's.
fn owner(id: i64) -> Option<u32> {
    let id = if (i64::from(i32::MIN)..0).contains(&id) {
        id + (1 << 32)
    } else {
        id
    };
    u32::try_from(id).ok().filter(|id| *id != u32::MAX)
}

/// Linux knows no other attributes, so no file could have them: GNU tar drops them with a warning.
fn has_namespace(attribute: &[u8]) -> bool {
    let namespaces: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    matches!(attribute, acl::ACCESS | acl::DEFAULT)
        || namespaces
            .iter()
            .any(|prefix| attribute.len() > prefix.len() && attribute.starts_with(prefix))
}

/// A device's numbers, if Linux has such a device.
pub(crate) fn device(header: &Header<'_>) -> Result<Device, Refusal> {
    let (major, minor) = header.device()?;
    let bounded = |number: i64, limit: u64| {
        let number = u32::try_from(number)
            .ok()
            .filter(|number| u64::from(*number) <= limit);
        number.ok_or(Refusal::Limit {
            what: "its device number",
            limit,
        })
    };
    Ok(Device {
        major: bounded(major, DEVICE_MAJOR_MAX)?,
        minor: bounded(minor, DEVICE_MINOR_MAX)?,
    })
}

/// A symbolic link's target, if Linux has such a link.
pub(crate) fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    if target.is_empty() {
        return Err("it is a symbolic link to nothing".into());
    }
    within("its target", target.len(), PATH_BYTES_MAX - 1)?;
    Ok(target)
}
