//! What every verb is given: where the store is and how it is opened.
//!
//! A verb that changes the store opens it with [`Context::own`], one that only looks with
//! [`Context::read`]; that is all there is to saying which it is.

use std::time::Duration;

use lapstrake_engine::{
    Client, Engine, Error, Opening, Patience, StorageRequest, StoreError, Surroundings,
};
use serde_json::json;

use crate::arguments::Arguments;
use crate::failure::Result;
use crate::network::{self, Network};
use crate::settings::Settings;
use crate::{render, storage, surroundings};

/// How long a command waits for another one that changes the same store.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one does that moves whole images, and that nobody sits and watches.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// The command line, as far as it is not a verb's own.
pub(crate) struct Context {
    /// Where the store and the mounts are.
    pub(crate) around: Surroundings,
    /// Whether results are JSON.
    pub(crate) json: bool,
    /// Whether only results, warnings and errors are printed.
    pub(crate) quiet: bool,
    /// What holds where nothing was typed with the verb.
    pub(crate) settings: Settings,
}

impl Context {
    pub(crate) fn of(arguments: &Arguments) -> Result<Self> {
        let settings = Settings::read(arguments, &|name| std::env::var_os(name))?;
        let run_dir = settings.run_dir.value.as_deref();
        Ok(Self {
            around: surroundings::look(&settings.root.value, run_dir)?,
            json: arguments.json,
            quiet: arguments.quiet,
            settings,
        })
    }

    /// Opens the store to change it; makes it if there is none.
    pub(crate) fn own(&self) -> Result<Engine> {
        self.own_within(self.patience())
    }

    /// As [`Context::own`], for a verb that moves whole images: it waits longer for another owner.
    pub(crate) fn own_patiently(&self) -> Result<Engine> {
        self.own_within(self.settings.wait.value.unwrap_or(LONG_PATIENCE))
    }

    /// How long to wait for another process that owns the store.
    pub(crate) fn patience(&self) -> Duration {
        self.settings.wait.value.unwrap_or(PATIENCE)
    }

    /// As [`Context::own`], waiting so long for another owner to go.
    pub(crate) fn own_within(&self, at_most: Duration) -> Result<Engine> {
        let storage = self.storage()?;
        let patience = Patience {
            at_most,
            tell: &mut |refusal| self.waiting(refusal, at_most),
        };
        let opening = Opening::Own(Some(patience));
        Ok(Engine::open(&self.around, opening)?.with_storage(storage))
    }

    /// Opens the store to look, beside a process that may change it.
    pub(crate) fn read(&self) -> Result<Engine> {
        let storage = self.storage()?;
        Ok(Engine::open(&self.around, Opening::ReadOnly)?.with_storage(storage))
    }

    /// A client that reaches registries as was typed, or as the settings say.
    pub(crate) fn client(&self, network: &Network) -> Result<Client> {
        Ok(network::client(network, &self.settings).map_err(Error::from)?)
    }

    /// Layers to move at a time.
    pub(crate) fn parallel(&self, typed: Option<u16>) -> usize {
        usize::from(typed.unwrap_or(self.settings.parallel.value))
    }

    /// Tells a person how it went, unless they want JSON or quiet.
    pub(crate) fn say(&self, text: &str) {
        if !self.json && !self.quiet {
            render::say(text);
        }
    }

    /// Tells a person something that they should know, also if they want quiet.
    pub(crate) fn warn(&self, text: &str) {
        if !self.json {
            render::say(text);
        }
    }

    /// Tells that another process owns the store, and how long it is waited for.
    pub(crate) fn waiting(&self, refusal: &StoreError, at_most: Duration) {
        let seconds = at_most.as_secs();
        if seconds == 0 {
            return;
        }
        if self.json {
            let object = json!({
                "event": "waiting_for_store", "why": refusal.to_string(), "at_most_s": seconds,
            });
            render::say(&object.to_string());
        } else if !self.quiet {
            render::say(&format!(
                "lapstrake: {refusal}; waiting up to {seconds} s for it to end (--wait)"
            ));
        }
    }

    /// What is asked of the storage.
    pub(crate) fn storage(&self) -> Result<StorageRequest> {
        Ok(storage::request(&self.settings)?)
    }
}

/// Where clients run.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}
