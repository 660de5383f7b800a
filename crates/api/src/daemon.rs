//! What all requests share.

use std::sync::Arc;
use std::time::SystemTime;

use lapstrake_engine::containers::Containers;
use lapstrake_engine::{ClientOptions, Engine};
use tokio::sync::{Mutex, OnceCell, watch};

use crate::system::{Fixed, Reckonings};

/// The Docker whose answers these are. Clients compare it with what they need.
pub(crate) const LEVEL: &str = "28.2.2";
/// Ours.
pub(crate) const OURS: &str = env!("CARGO_PKG_VERSION");
/// The `Server` header.
pub(crate) const SERVER: &str = concat!(
    "Docker/28.2.2 (linux) Lapstrake/",
    env!("CARGO_PKG_VERSION")
);

/// Where decisions are told, a line each. What it is given holds no secret.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// What the daemon is told of its surroundings.
#[derive(Clone)]
pub struct Settings {
    /// How registries are reached; credentials come with each request.
    pub registries: ClientOptions,
    /// Layers to move at a time.
    pub parallel: usize,
    /// The OCI runtime: a name, or a path.
    pub runtime: String,
    /// The log driver of containers of which nothing is said.
    pub log_driver: String,
    /// This machine's name.
    pub hostname: String,
    /// Where decisions are told.
    pub log: Log,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("registries", &self.registries)
            .field("parallel", &self.parallel)
            .field("runtime", &self.runtime)
            .field("log_driver", &self.log_driver)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// The engine, and what is known beside it.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) engine: Arc<Engine>,
    pub(crate) containers: Containers,
    pub(crate) settings: Settings,
    pub(crate) started: SystemTime,
    /// What is asked of the machine once.
    pub(crate) fixed: OnceCell<Arc<Fixed>>,
    /// Who asks what takes room.
    pub(crate) reckonings: Reckonings,
    /// Held while images are pruned.
    pub(crate) pruning_images: Mutex<()>,
    stopping: watch::Sender<bool>,
}

impl Daemon {
    /// A daemon over an engine that owns its store, and its containers.
    pub fn new(engine: Arc<Engine>, containers: Containers, settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            engine,
            containers,
            settings,
            started: SystemTime::now(),
            fixed: OnceCell::new(),
            reckonings: Reckonings::default(),
            pruning_images: Mutex::default(),
            stopping: watch::Sender::new(false),
        })
    }

    /// Tells a decision.
    pub(crate) fn say(&self, line: &str) {
        (self.settings.log)(line);
    }

    /// Ends what would never end by itself.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits until the daemon is to stop.
    pub(crate) fn stopping(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut stopping = self.stopping.subscribe();
        async move {
            while !*stopping.borrow_and_update() {
                // The daemon is gone: that is stopping too.
                if stopping.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}
