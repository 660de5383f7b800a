//! What every verb is given: where the store is and how it is opened.
//!
//! A verb that changes the store opens it with [`Context::own`], one that only looks with
//! [`Context::read`]; that is all there is to saying which it is.

use std::time::Duration;

use lapstrake_engine::{Client, Engine, Error, Opening, Patience, StorageRequest, Surroundings};

use crate::arguments::{Arguments, Storage};
use crate::failure::Result;
use crate::network::{self, Network};
use crate::{render, storage, surroundings};

/// How long a command waits for another one that changes the same store.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// The command line, as far as it is not a verb's own.
pub(crate) struct Context<'a> {
    /// Where the store and the mounts are.
    pub(crate) around: Surroundings,
    /// Whether results are JSON.
    pub(crate) json: bool,
    storage: &'a Storage,
}

impl<'a> Context<'a> {
    pub(crate) fn of(arguments: &'a Arguments) -> Result<Self> {
        Ok(Self {
            around: surroundings::look(&arguments.root, arguments.run_dir.as_deref())?,
            json: arguments.json,
            storage: &arguments.storage,
        })
    }

    /// Opens the store to change it; makes it if there is none.
    pub(crate) fn own(&self) -> Result<Engine> {
        self.own_within(PATIENCE)
    }

    /// As [`Context::own`], waiting so long for another owner to go.
    pub(crate) fn own_within(&self, at_most: Duration) -> Result<Engine> {
        let storage = self.storage()?;
        let patience = Patience {
            at_most,
            tell: &mut |refusal| render::waiting(refusal, at_most),
        };
        let opening = Opening::Own(Some(patience));
        Ok(Engine::open(&self.around, opening)?.with_storage(storage))
    }

    /// Opens the store to look, beside a process that may change it.
    pub(crate) fn read(&self) -> Result<Engine> {
        let storage = self.storage()?;
        Ok(Engine::open(&self.around, Opening::ReadOnly)?.with_storage(storage))
    }

    fn storage(&self) -> Result<StorageRequest> {
        Ok(storage::request(self.storage)?)
    }
}

/// A client that reaches registries so.
pub(crate) fn client(network: &Network) -> Result<Client> {
    Ok(network::client(network).map_err(Error::from)?)
}

/// Where clients run.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
