//! The monitor itself: one process, one thread, one loop.
//!
//! Its life: it reads its orders, opens the log and the socket, and splits off from whoever started it. It starts the
//! process when it is told to, with one call of the runtime, and passes bytes between the process, its log and
//! clients. When the process ends it takes what is left in the pipes, records the exit, tells everyone, lets the
//! runtime remove its state, and goes when the last client has the last byte.
//!
//! What it keeps true:
//! - A client that was acknowledged before the start gets the process's first byte.
//! - What a client got is in the log, or the reason why not is in `monitor.err`.
//! - The exit is on disk before anyone is told. Nothing that happens after can change it.
//! - A kill for want of memory is told when it happens, and at the latest with the exit.
//! - A client that is slow slows the process, as with Docker; one that has gone slows nobody.
//! - Nothing but the runtime's own calls ends it: signals are ignored. It reaps all that is left to it.

mod children;
mod complaints;
mod connection;
mod console;
mod monitor;
mod oom;
mod runtime;
mod stdio;

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use lapstrake_sys::process::{Side, keep_descriptors_from_children, split};

use crate::error::{Error, Result};
use crate::logs::Writer;
use crate::orders::Orders;
use crate::place::Place;
use crate::wire::SOCKET;

use children::Children;
use complaints::Complaints;
use monitor::Monitor;
use runtime::Runtime;
use stdio::Stdio;

/// What is called from time to time while a process lives, if its orders ask for a guard. It says when it wants to be
/// called again. What it says went wrong is written down.
pub type Guard = Box<dyn FnMut() -> std::result::Result<Duration, String>>;

/// Is the monitor whose orders are in `dir`. To be called first in a program, before it has threads.
///
/// It returns twice, in two processes: in the caller's as soon as the monitor listens or could not be set up,
/// and in the monitor when all is over. Both have nothing left to do but end, with success or after
/// telling the error. `guard` makes the guard from the orders' `guard`, in the monitor.
///
/// # Errors
/// What keeps the monitor from listening.
pub fn run(dir: &Path, guard: impl FnOnce(&serde_json::Value) -> Guard) -> Result<()> {
    let dir = std::path::absolute(dir).map_err(|source| Error::io("find", dir, source))?;
    keep_descriptors_from_children()
        .map_err(|source| Error::io("set up a process for", &dir, source))?;
    let orders = Orders::read(&dir)?;
    let place = Place::open(&dir)?;
    let log = orders.log.as_ref().map(Writer::open).transpose()?;
    let stdio = Stdio::new(&orders).map_err(|errno| Error::io("make pipes for", &dir, errno))?;
    let listener = UnixListener::bind(place.here(SOCKET))
        .and_then(|listener| {
            listener.set_nonblocking(true)?;
            let owner = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(place.here(SOCKET), owner)?;
            Ok(listener)
        })
        .map_err(|source| Error::io("listen in", &dir, source))?;
    let children = Children::adopt().map_err(|source| Error::io("watch over", &dir, source))?;
    let side = split().map_err(|source| Error::io("split off for", &dir, source))?;
    if side == Side::Parent {
        return Ok(());
    }
    let mut complaints = Complaints::new(&place);
    complaints.note("detach", leave().and_then(|()| children.keep_orphans()));
    let guard = orders.guard.as_ref().map(guard);
    Monitor {
        runtime: Runtime::new(&orders, &dir, &complaints),
        orders,
        place,
        listener: Some(listener),
        children,
        stdio,
        log,
        complaints,
        guard,
        memory: None,
        connections: Vec::new(),
        phase: monitor::Phase::NotStarted,
        buffer: vec![0; monitor::CHUNK].into_boxed_slice(),
    }
    .live();
    Ok(())
}

/// Leaves the session, the directory and the streams of whoever started this.
fn leave() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
