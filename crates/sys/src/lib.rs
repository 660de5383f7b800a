//! The kernel: mounts, directories, loop devices, quotas, the FUSE device, xattrs, publish-by-link, processes, threads that
//! wait for it.
//!
//! The only crate with `unsafe`; it knows no policy.
#![allow(
    unsafe_code,
    reason = "system calls that no safe crate wraps live here and nowhere else"
)]

pub mod btrfs;
pub mod copy;
pub mod descent;
pub mod dir;
pub mod ext4;
pub mod file;
pub mod fstab;
pub mod fuse;
pub mod inflate;
pub mod loopdev;
pub mod mount;
pub mod parallel;
pub mod process;
pub mod publish;
pub mod quota;
pub mod xattr;
