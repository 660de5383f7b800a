//! Starting a monitor.
//!
//! The program that is started splits itself: the part that this process waits for ends as soon as the
//! other part listens, or could not be set up. So nobody waits for a monitor that does not
//! come, and nobody has to reap one later: it belongs to the first process of the machine (or to the nearest
//! subreaper).

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::client::Client;
use crate::error::{Error, Result};
use crate::orders::Orders;

/// Starts a monitor: `program arguments… dir`, which must end in [`crate::process::run`]. The directory
/// must exist and hold nothing of another monitor. Returns when the monitor listens; it starts
/// nothing before [`Client::start`].
///
/// # Errors
/// [`Error::NotStarted`] with the monitor's own words.
pub fn launch(program: &Path, arguments: &[&OsStr], dir: &Path, orders: &Orders) -> Result<Client> {
    orders.write(dir)?;
    // Words of a program that fails end with it; a monitor that listens says nothing and keeps none of these.
    let output = Command::new(program)
        .args(arguments)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|source| Error::io("start", program, source))?;
    if output.status.success() {
        return Ok(Client::new(dir));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    Err(Error::NotStarted {
        dir: dir.to_owned(),
        reason: if said.is_empty() {
            output.status.to_string()
        } else {
            said.to_owned()
        },
    })
}
