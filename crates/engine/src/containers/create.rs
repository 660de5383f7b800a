//! Making a container.
//!
//! Its writable layer is made first and its record written last, which is the moment from which it is there. What a
//! crash leaves between the two is swept when the daemon starts.

use std::sync::Arc;

use lapstrake_container::settings::{MountRequests, NetworkMode, Settings};
use lapstrake_container::spec;
use lapstrake_snapshot::room::Limit;

use super::container::Container;
use super::error::{Error, Result};
use super::record::{Record, State, now};
use super::{Containers, merge, names};
use crate::events::Action;
use crate::image::Claimed;

/// A container to make.
#[derive(Debug, Clone, Default)]
pub struct NewContainer {
    /// Its name; made up if nothing.
    pub name: Option<String>,
    /// What it is to be. Where its image says something and the client nothing, the image decides. Mounts are
    /// resolved from the requests.
    pub settings: Settings,
    /// What is to be mounted in it.
    pub mounts: MountRequests,
    /// What the client's protocol keeps with it.
    pub document: String,
}

/// A container that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What the client should know.
    pub warnings: Vec<String>,
}

/// How often a made-up name may be taken before it is an error.
const NAME_ATTEMPTS: u32 = 64;

impl Containers {
    /// Makes a container.
    ///
    /// # Errors
    /// If its image is not here, its name is taken, or its settings can't be had.
    pub async fn create(&self, new: NewContainer) -> Result<Created> {
        if let Some(name) = &new.name {
            names::checked(name)?;
        }
        let id = hexadecimal(&random::<32>()?);
        let name = self.reserve(new.name.as_deref(), &id)?;
        let reserved = name.clone();
        let made = self
            .blocking(move |all| all.make(&id, &reserved, new))
            .await;
        match made {
            Ok((container, warnings)) => {
                self.tell(&container, Action::Create, &[]);
                Ok(Created {
                    id: container.id.clone(),
                    warnings,
                })
            }
            Err(error) => {
                self.registry().release(&name);
                Err(error)
            }
        }
    }

    fn reserve(&self, name: Option<&str>, id: &str) -> Result<String> {
        if let Some(name) = name {
            let name = names::checked(name)?;
            self.registry().reserve(name, id)?;
            return Ok(name.to_owned());
        }
        let mut taken = None;
        for attempt in 0..NAME_ATTEMPTS {
            let name = names::made_up(random::<4>()?, attempt);
            match self.registry().reserve(&name, id) {
                Ok(()) => return Ok(name),
                Err(error) => taken = Some(error),
            }
        }
        Err(taken.unwrap_or_else(|| Error::Internal("no name is free".to_owned())))
    }

    fn make(
        &self,
        id: &str,
        name: &str,
        new: NewContainer,
    ) -> Result<(Arc<Container>, Vec<String>)> {
        let engine = &self.inner.engine;
        let claimed = engine.claim(
            new.settings
                .image
                .parse::<crate::ImageName>()
                .map_err(|error| Error::Invalid(format!("invalid reference format: {error}")))?,
        )?;
        let mut settings = new.settings;
        let of_image = &claimed.config.value().config;
        settings.execution = merge::merge(settings.execution, of_image);
        if settings.arguments().first().is_none_or(String::is_empty) {
            return Err(Error::Invalid("no command specified".to_owned()));
        }
        let warnings = self.validate(&mut settings)?;
        settings.host.resources = spec::resources::settled(&settings.host.resources);
        let named = settings.execution.hostname.as_ref();
        if named.is_none_or(String::is_empty) {
            let own = match settings.host.network {
                NetworkMode::Host => self.facts()?.hostname.clone(),
                _ => id[..12].to_owned(),
            };
            settings.execution.hostname = Some(own);
        }
        let limit = limit_of(&settings)?;
        let resolved = self.resolve_mounts(&claimed, &settings, &new.mounts)?;
        let volumes = self.inner.volumes.claim(&resolved.volumes, id)?;
        settings.host.mounts = resolved.mounts;
        let record = Record {
            id: id.to_owned(),
            name: name.to_owned(),
            created: now(),
            image: claimed.image.config.to_string(),
            driver: engine.driver()?.name().to_owned(),
            settings,
            document: new.document,
            state: State::default(),
        };
        let container = Arc::new(Container::new(record));
        let made = self
            .make_layer(&container, &claimed, limit)
            .and_then(|()| self.save(&container));
        match made {
            Ok(()) => {
                // First: who prunes volumes finds them claimed, or a container that uses them.
                self.registry().add(Arc::clone(&container));
                for name in volumes.made() {
                    self.tell_volume(name, Action::Create, &[]);
                }
                if let Err(error) = self.inner.volumes.done(volumes) {
                    // The container is there.
                    self.note(&format!("container {id}: {error}"));
                }
                Ok((container, warnings))
            }
            Err(error) => {
                // The failure is what to tell; what is left is swept at the next start.
                drop(engine.remove_writable(id));
                drop(super::dirs::remove_dir(&self.places(id).files));
                self.inner.volumes.undo(volumes);
                Err(error)
            }
        }
    }

    /// Makes its writable layer and its directory, and fills its new volumes.
    fn make_layer(&self, container: &Container, claimed: &Claimed, limit: Limit) -> Result<()> {
        let id = &container.id;
        self.inner.engine.create_over(claimed, id, limit)?;
        let size = self.new_size(container);
        container.change(|record| record.state.size = size);
        let files = self.places(id).files;
        super::dirs::make_dir(&files)?;
        // Until it is started.
        self.let_go(id);
        let mounts = container.with(|record| record.settings.host.mounts.clone());
        self.fill_volumes(id, claimed, &mounts)
    }
}

/// What its writable layer may use.
fn limit_of(settings: &Settings) -> Result<Limit> {
    let options = settings.host.storage_options.iter();
    let options: Vec<_> = options
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let limit = Limit::from_options(options.iter().map(String::as_str));
    limit.map_err(|error| Error::Invalid(error.to_string()))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written");
        text
    })
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    use std::io::Read as _;
    let path = std::path::Path::new("/dev/urandom");
    let mut bytes = [0; N];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(super::error::io_error("read", path))?;
    Ok(bytes)
}
