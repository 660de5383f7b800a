//! Mounting what a line of fstab(5) would: a source, a type, and options of which some are the kernel's own
//! and the rest the file system's.

use std::ffi::CString;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{self, MountFlags, MountPropagationFlags};

use crate::mount::{Error, Result};

/// A mount as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// A device, a path, `host:/path`.
    pub source: &'a str,
    /// The type of the file system; anything for a bind.
    pub kind: &'a str,
    /// Options, with commas between them.
    pub options: &'a str,
}

/// What options come to.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    flags: MountFlags,
    propagation: MountPropagationFlags,
    data: String,
}

/// Mounts at a directory. Takes as long as the file system does: a server that does not answer may take
/// minutes.
///
/// # Errors
/// If the kernel refuses.
pub fn mount(line: Line<'_>, target: &Path) -> Result<()> {
    let options = parse(line.options);
    let named = |errno| Error::refused("mount at", target.display().to_string(), errno);
    let data = CString::new(options.data).map_err(|_nul| named(Errno::INVAL))?;
    mount::mount(
        line.source,
        target,
        line.kind,
        options.flags,
        Some(data.as_c_str()),
    )
    .map_err(named)?;
    let finish = || {
        if !options.propagation.is_empty() {
            mount::mount_change(target, options.propagation)?;
        }
        // A bind takes its flags only when it is there.
        if options
            .flags
            .contains(MountFlags::BIND | MountFlags::RDONLY)
        {
            mount::mount_remount(target, options.flags, c"")?;
        }
        Ok(())
    };
    finish().map_err(|errno| {
        // The failure is what to tell.
        mount::unmount(target, mount::UnmountFlags::DETACH).ok();
        named(errno)
    })
}

fn parse(text: &str) -> Options {
    let mut options = Options {
        flags: MountFlags::empty(),
        propagation: MountPropagationFlags::empty(),
        data: String::new(),
    };
    for option in text.split(',').filter(|option| !option.is_empty()) {
        if option == "defaults" {
            continue;
        }
        if let Some((flag, set)) = flag(option) {
            options.flags.set(flag, set);
        } else if let Some(propagation) = propagation(option) {
            options.propagation |= propagation;
        } else {
            if !options.data.is_empty() {
                options.data.push(',');
            }
            options.data.push_str(option);
        }
    }
    options
}

/// A flag, and whether the option sets it.
fn flag(option: &str) -> Option<(MountFlags, bool)> {
    Some(match option {
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "mand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, true),
        "nomand" => (MountFlags::PERMIT_MANDATORY_FILE_LOCKING, false),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        "bind" => (MountFlags::BIND, true),
        "rbind" => (MountFlags::BIND.union(MountFlags::REC), true),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<MountPropagationFlags> {
    let (recursive, option) = match option.strip_prefix('r') {
        Some(rest) => (MountPropagationFlags::REC, rest),
        None => (MountPropagationFlags::empty(), option),
    };
    let propagation = match option {
        "shared" => MountPropagationFlags::SHARED,
        "slave" => MountPropagationFlags::DOWNSTREAM,
        "private" => MountPropagationFlags::PRIVATE,
        "unbindable" => MountPropagationFlags::UNBINDABLE,
        _ => return None,
    };
    Some(propagation | recursive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_options_are_told_from_the_file_systems() {
        let options = parse("rw,addr=10.0.0.1,nolock,ro,noexec,,rslave,defaults,exec");
        let expected = Options {
            flags: MountFlags::RDONLY,
            propagation: MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
            data: "addr=10.0.0.1,nolock".to_owned(),
        };
        assert_eq!(options, expected);
        assert_eq!(parse("rbind").flags, MountFlags::BIND | MountFlags::REC);
        assert_eq!(parse("").data, "");
    }
}
