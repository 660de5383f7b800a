//! Beside each running container, and each command run in one, stands a small process of its own: the monitor.
//!
//! It owns what must outlive the daemon: the container's stdin, stdout and stderr, its log file and its
//! exit code. The daemon may be killed at any time; containers, their logs and their exits don't notice.
//!
//! - [`orders`]: what a monitor is to do, written into its directory before it is started.
//! - [`client`]: how the daemon starts one and talks to it, also one that an earlier daemon started.
//! - [`exit`]: what is left on disk when it has gone.
//! - [`logs`]: the log files, to write and to read.
//! - [`process`]: the monitor itself.
//!
//! Nothing here knows the store, Docker's API or what a container is beyond a bundle that a runtime runs.
#![forbid(unsafe_code)]

pub mod client;
pub mod error;
pub mod exit;
pub mod logs;
pub mod orders;
pub mod process;
pub mod time;
pub mod wire;

mod place;

pub use client::Client;
pub use error::{Error, Result};
pub use exit::Exit;
pub use orders::Orders;
pub use time::Timestamp;
