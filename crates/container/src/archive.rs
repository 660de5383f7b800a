//! Files in and out of a container's root, whether it runs or not: looked at, read as a tar, written from one.
//!
//! The container is not asked and not trusted. A [`View`] puts together what it sees, its root and over that
//! what is mounted in it, and walks there as the container would, link by link; but every step is one name
//! beneath an open directory, no link is followed by the kernel, and `..` goes back the way that was come. So
//! nothing in the container, however it is changed meanwhile, leads out of it.
//!
//! What is mounted is opened when a path leads there: one that hangs is no matter to others. Memory file systems are
//! not seen, as in Docker.

mod error;
mod get;
mod put;
mod stat;
mod view;
mod walk;

pub use error::{Class, Error};
pub use get::Resource;
pub use put::PutOptions;
pub use stat::PathStat;
pub use view::{Attachment, View};
