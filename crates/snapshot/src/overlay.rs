//! Overlay: what this kernel's takes, and which options it gets.
//!
//! Why these:
//! - `xino=on`: inode and device numbers that do not change at copy-up, and one `st_dev` for the
//!   whole root, so that `du -x` and `find -xdev` see all of it.
//! - `index=off`: the index ties a writable layer to the very lower directories of its first mount
//!   by file handle, and refuses them (`ESTALE`) when another driver or host realised the same
//!   layers. What it would bring, hard links that survive copy-up, no other storage driver has.
//! - `redirect_dir=nofollow`, `metacopy=off`: no layer of ours holds a redirect, so one that is
//!   found is an attack or damage, and is not followed. Renaming a directory of a lower layer then
//!   gives `EXDEV`, and programs copy, as they do over every storage driver's default.
//! - `metacopy=on`, for a writable layer that is declared for it; the kernel couples it to
//!   `redirect_dir=on`. Redirects found in lower layers are followed then, which is safe only
//!   because no layer ever holds overlay's attributes but that of opaque directories.

use std::os::fd::AsFd;

use lapstrake_sys::mount::Context;
use rustix::fs::{Mode, OFlags};

use crate::error::io;
use crate::{CopyUp, Error, Result, Upper};

/// How overlay takes its lower directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayApi {
    /// One descriptor after the other (Linux 6.13).
    Descriptors,
    /// One path after the other (Linux 6.7).
    Paths,
    /// All in one string of a page (older).
    OnePage,
}

impl OverlayApi {
    /// Asks the kernel. Overlay checks values when they are set, so asking needs no mount. Before
    /// 6.5 it took any name and judged later.
    pub fn probe() -> Result<Self> {
        let named = |source| Error::Mount {
            object: "overlay".to_owned(),
            source,
        };
        let overlay = Context::open("overlay").map_err(named)?;
        if overlay.string("lapstrake-is-there-any-check", "1").is_ok() {
            return Ok(Self::OnePage);
        }
        let root = rustix::fs::open("/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(io("open", "/"))?;
        if overlay.fd("lowerdir+", root.as_fd()).is_ok() {
            return Ok(Self::Descriptors);
        }
        Ok(match overlay.string("lowerdir+", "/") {
            Ok(()) => Self::Paths,
            Err(_) => Self::OnePage,
        })
    }
}

/// Options other than directories.
pub(crate) fn options(upper: Option<&Upper>) -> [(&'static str, &'static str); 4] {
    let (metacopy, redirect) = match upper.map(|upper| upper.copy_up) {
        Some(CopyUp::AttributesFirst) => ("on", "on"),
        Some(CopyUp::Whole) | None => ("off", "nofollow"),
    };
    [
        ("xino", "on"),
        ("index", "off"),
        ("metacopy", metacopy),
        ("redirect_dir", redirect),
    ]
}
