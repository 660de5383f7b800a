//! What Lapstrake does, as verbs: pull an image, list images, mount one, run a command in one.
//!
//! What it keeps true: a root is mounted only from layers whose files are what the record says; what
//! a verb mounts or creates is undone when the verb fails.
//!
//! Left out: containers that outlive their command, and every wire format.
#![forbid(unsafe_code)]

mod check;
mod commit;
pub mod containers;
mod df;
mod error;
pub mod events;
mod export;
mod facts;
mod history;
mod image;
mod image_events;
mod inspect;
mod list;
mod load;
mod monitor;
mod names;
mod output;
mod prune;
mod push;
mod reading;
mod remove;
mod repair;
mod root;
mod run;
mod runtime_spec;
mod save;
mod storage;
mod tag;
mod volumes;
pub mod watermark;
mod when;
mod would_prune;
mod writable;

pub use check::{CheckReport, DamagedLayer, Depth, Verdict, check};
pub use commit::{CommitOptions, Committed};
pub use df::{ContainerUse, DiskUsage, Held, ImageUse, ObjectUse, VolumeUse, WritableUse};
pub use error::{Class, Error};
pub use export::{Exported, RootOf};
pub use history::{History, Step};
pub use inspect::{ImageDetails, LayerDetails, WritableDetails};
pub use list::{ImageFilter, ImageSummary};
pub use load::{ImportOptions, Imported};
pub use monitor::monitor;
pub use names::ImageName;
pub use output::{Target, reader_went};
pub use prune::{Doing, Label, Prune, Which};
pub use push::Pushed;
pub use remove::{DeletedImage, IfUsed, Removed};
pub use repair::{repair, scrub};
pub use root::{Access, MountedRoot};
pub use run::{Bundle, RunOptions};
pub use save::{SaveAs, Saved};
pub use storage::{StorageInfo, StorageRequest};
pub use tag::Tagged;
pub use volumes::{
    ANONYMOUS_LABEL, AttachedImage, Claim as VolumeClaim, NewVolume, PruneVolumes, PrunedVolumes,
    SettledVolumes, UsersOf, VolumeDetails, VolumeError, VolumeErrorClass, VolumeSize, Volumes,
};
pub use when::{duration, rfc3339 as parse_rfc3339, to_rfc3339 as rfc3339, until};
pub use writable::{WritableSummary, free_removed};

/// What a container is to be.
pub mod settings {
    pub use lapstrake_container::settings::*;
    pub use lapstrake_container::spec::CgroupVersion;
    pub use lapstrake_oci::config::Execution;
}
/// What a container's monitor says, and its log.
pub mod streams {
    pub use lapstrake_monitor::Timestamp;
    pub use lapstrake_monitor::logs::{Entry, Query, Reader, Stopper};
    pub use lapstrake_monitor::wire::{HEADER, Stream, header, parse_header};
}

pub use lapstrake_drivers::choose::{Candidate, Choice, DriverName, NameError, Problem};
pub use lapstrake_drivers::options::{Error as StorageOptionError, Options as StorageOptions};
pub use lapstrake_oci::{Compression, Platform, Reference};
pub use lapstrake_registry_client::{
    AuthFile, Certificates, Client, Credential, Credentials, Error as ClientError, Mirror,
    Options as ClientOptions, PlainHttp, Proxies,
};
pub use lapstrake_snapshot::LiveRoot;
pub use lapstrake_snapshot::room::{Limit as RoomLimit, Report as RoomReport, Usage};
pub use lapstrake_store::check::{Fault, Finding, Part};
pub use lapstrake_store::{
    Area, Error as StoreError, ImageRecord, LayerState, Object, Patience, Source,
};
pub use lapstrake_transfer::archive::{
    LoadEvent, LoadFrom, Loaded, LoadedImage, Planned, SaveEvent,
};
pub use lapstrake_transfer::check::{CheckEvent, DamagedFiles, DeepOptions, Pace, ScrubOptions};
pub use lapstrake_transfer::encode::{Encoding, LevelError};
pub use lapstrake_transfer::is_unnamed;
pub use lapstrake_transfer::repair::{Fetcher, Mended};
pub use lapstrake_transfer::{Digests, LayerWay, PushEvent, PushOptions, PushedImage, PushedLayer};
pub use lapstrake_transfer::{Event, Limits, PullOptions, Pulled};
pub use lapstrake_tree::changes::{Change, ChangeKind, Changes};

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use lapstrake_snapshot::room::Rooms;
use lapstrake_snapshot::{Driver, RunDir};
use lapstrake_store::{HostId, Place, Store};

use crate::error::Result;
use crate::events::Action;
use crate::storage::Storage;

/// What the engine is told of its surroundings.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The store's root directory.
    pub root: PathBuf,
    /// Where mounts and sockets are kept: a directory that does not outlive a boot.
    pub run: PathBuf,
    /// This host's name.
    pub hostname: String,
    /// The running kernel's boot id.
    pub boot_id: String,
}

/// As Docker's data directory: for root, and whoever root's group lets through.
const STATE_MODE: u32 = 0o710;

/// An open store and the verbs on it.
#[derive(Debug)]
pub struct Engine {
    store: Arc<Store>,
    run: RunDir,
    storage: Storage,
    run_path: PathBuf,
    /// Opened when they are needed: most verbs do not.
    rooms: OnceLock<Rooms>,
    /// Held while a writable layer is made or removed.
    writables: Mutex<()>,
    events: Arc<events::Bus>,
    known_facts: facts::KnownFacts,
}

/// How to open the store.
#[derive(Debug)]
pub enum Opening<'a> {
    /// To change it; if another process may already, wait for that one to go.
    Own(Option<Patience<'a>>),
    /// To read it, beside a process that may change it.
    ReadOnly,
}

impl Engine {
    /// Opens the store; to change it, makes it if there is none.
    ///
    /// # Errors
    /// If a directory can't be used, the store has an unknown format, or another process owns it
    /// for too long.
    pub fn open(surroundings: &Surroundings, opening: Opening<'_>) -> Result<Self> {
        Self::open_over(surroundings, opening, Storage::of(StorageRequest::DEFAULT))
    }

    /// As [`Engine::open`], with a driver of the caller's.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(
        surroundings: &Surroundings,
        opening: Opening<'_>,
        driver: Arc<dyn Driver>,
    ) -> Result<Self> {
        Self::open_over(surroundings, opening, Storage::given(driver))
    }

    fn open_over(
        surroundings: &Surroundings,
        opening: Opening<'_>,
        storage: Storage,
    ) -> Result<Self> {
        let host = HostId::from_hostname(&surroundings.hostname);
        let place = Place {
            root: &surroundings.root,
            host: &host,
            boot_id: &surroundings.boot_id,
        };
        let store = match opening {
            Opening::Own(patience) => Store::open_at(place, patience)?,
            Opening::ReadOnly => Store::open_read_only(place)?,
        };
        let run = RunDir::at(surroundings.run.join("roots"))?;
        let engine = Self {
            store: Arc::new(store),
            run,
            storage,
            run_path: surroundings.run.clone(),
            rooms: OnceLock::new(),
            writables: Mutex::new(()),
            events: Arc::default(),
            known_facts: facts::KnownFacts::default(),
        };
        if engine.store.access() == lapstrake_store::Access::Owner {
            engine.keep_private()?;
            engine.link_images()?;
            engine.sweep_writables()?;
        }
        Ok(engine)
    }

    /// Shuts others out of the state: containers' environments may hold secrets. Content is the images' own, and
    /// stays as it is.
    fn keep_private(&self) -> Result<()> {
        let state = self.root().join("state");
        let mode = rustix::fs::Mode::from_raw_mode(STATE_MODE);
        let kept = rustix::fs::chmod(&state, mode).map_err(Into::into);
        kept.map_err(error::io_error("change the mode of", &state))
    }

    /// The store's root directory.
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// Where it tells what happens.
    pub fn events(&self) -> &Arc<events::Bus> {
        &self.events
    }

    /// Pulls an image; see [`lapstrake_transfer::pull`].
    ///
    /// # Errors
    /// If it can't be fetched or is not what its digests say.
    pub async fn pull(
        &self,
        client: &Client,
        reference: &Reference,
        options: &PullOptions,
        tell: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Pulled> {
        let pulled =
            lapstrake_transfer::pull(&self.store, client, reference, options, tell).await?;
        self.tell_moved(reference, Action::Pull);
        Ok(pulled)
    }

    /// Waits until nothing works for pulls any more, after one was cancelled by dropping its future.
    pub async fn stopped(&self) {
        lapstrake_transfer::stopped(&self.store).await;
    }
}
