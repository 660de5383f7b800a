//! Processes under monitors: how one is begun, and what all monitors are told alike.

use std::ffi::OsStr;
use std::path::Path;

use lapstrake_monitor::client::Client;
use lapstrake_monitor::orders::{Orders, Runtime, Size};

use super::super::Containers;
use super::super::error::Result;

impl Containers {
    pub(crate) fn monitor(&self, dir: &Path, orders: &Orders) -> Result<Client> {
        let (program, arguments) = &self.inner.options.monitor;
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        Ok(lapstrake_monitor::client::launch(
            program, &arguments, dir, orders,
        )?)
    }

    pub(crate) fn runtime_for_monitor(&self, name: Option<&str>) -> Result<Runtime> {
        let runtime = self.runtime(name)?;
        Ok(Runtime {
            program: runtime.program,
            arguments: Vec::new(),
            root: runtime.state,
        })
    }
}

/// The size of a terminal: rows and columns.
pub(crate) fn size((height, width): (u16, u16)) -> Size {
    Size { height, width }
}
