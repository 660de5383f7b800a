//! Files in and out of a container, whether it runs or not.
//!
//! While that goes on, the container is neither started nor removed nor taken down: its root stays where it is. One that
//! does not run has its root and volumes mounted for as long as it takes. One that runs may end meanwhile, and that is
//! told; see [`super::turns`].

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use lapstrake_container::archive::{self, Attachment, PathStat, PutOptions, View};
use lapstrake_container::settings::MountKind;
use lapstrake_container::spec;
use lapstrake_transfer::archive::unpacked;

use super::Containers;
use super::container::Container;
use super::error::{Error, Result};
use super::record::{Phase, Record};
use crate::events::Action;

/// How files are put into a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PutFiles {
    /// Whether a directory may take the place of something else, and something else that of a directory.
    pub replace_across_kinds: bool,
    /// Whether everything is the container's user's, and not whose the tar says.
    pub own: bool,
}

/// What is done with a container's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Reads,
    Writes,
}

impl Containers {
    /// Looks at a file or directory in a container.
    ///
    /// # Errors
    /// If there is no such container, or nothing at the path.
    pub async fn stat_file(&self, name: &str, path: &str) -> Result<PathStat> {
        let (container, path) = (self.find(name)?, path.to_owned());
        let doing = format!("looks at {path}");
        let look = move |view: &View, _: &Record| Ok(view.stat(&path)?);
        self.with_files(&container, Access::Reads, doing, look)
            .await
    }

    /// Writes a file or directory in a container as a tar; before that, tells what it is.
    ///
    /// # Errors
    /// As [`Containers::stat_file`], and if something can't be read or `out` refuses.
    pub async fn copy_out(
        &self,
        name: &str,
        path: &str,
        tell: impl FnOnce(PathStat) + Send + 'static,
        out: std::fs::File,
    ) -> Result<()> {
        let (container, path) = (self.find(name)?, path.to_owned());
        let doing = format!("copies {path} out of it");
        let read = move |view: &View, _: &Record| {
            let resource = view.get(&path)?;
            tell(resource.stat.clone());
            Ok(resource.write(std::io::BufWriter::new(out))?)
        };
        self.with_files(&container, Access::Reads, doing, read)
            .await?;
        self.tell(&container, Action::ExtractFrom, &[]);
        Ok(())
    }

    /// Writes what is in a tar, which may be compressed, into a directory of a container.
    ///
    /// # Errors
    /// If there is no such container or directory, it may not write there, or the tar is not sound.
    pub async fn copy_in(
        &self,
        name: &str,
        path: &str,
        tar: impl Read + Send + 'static,
        how: PutFiles,
    ) -> Result<()> {
        let (container, path) = (self.find(name)?, path.to_owned());
        let doing = format!("copies files into {path}");
        let root = self.places(&container.id).root;
        let write = move |view: &View, record: &Record| {
            let owner = how.own.then(|| owner(&root, record)).transpose()?;
            let options = PutOptions {
                replace_across_kinds: how.replace_across_kinds,
                owner,
            };
            let tar = unpacked(tar).map_err(|source| archive::Error::Io {
                action: "read the archive for",
                path: path.clone(),
                source,
            })?;
            Ok(view.put(&path, tar, options)?)
        };
        self.with_files(&container, Access::Writes, doing, write)
            .await?;
        self.tell(&container, Action::ExtractTo, &[]);
        Ok(())
    }

    /// Does something with a container's files as it sees them. `doing` says what, for those who have to wait.
    async fn with_files<T: Send + 'static>(
        &self,
        container: &Arc<Container>,
        access: Access,
        doing: String,
        look: impl FnOnce(&View, &Record) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (all, this) = (self.clone(), Arc::clone(container));
        // A task of its own: a client that goes ends no step that blocks, and so must not end the lock.
        let task = tokio::spawn(async move {
            let _copying = this.copying(doing).await;
            let runs = may_copy(&this).await?;
            let of = Arc::clone(&this);
            let step = move |all: &Self| match runs {
                true => {
                    let record = of.record();
                    look(&all.view_of(&record)?, &record)
                }
                false => all.with_root_mounted(&of, access, look),
            };
            all.blocking(step).await
        });
        let panicked = |error| Error::Internal(format!("copying files failed: {error}"));
        task.await.map_err(panicked)?
    }

    fn with_root_mounted<T>(
        &self,
        container: &Container,
        access: Access,
        look: impl FnOnce(&View, &Record) -> Result<T>,
    ) -> Result<T> {
        let record = container.record();
        self.clear_last_run(&record.id)?;
        let places = self.places(&record.id);
        let mounted = (self.inner.engine.mount_writable(&record.id, &places.root))
            .map_err(Error::from)
            .and_then(|_mounted| {
                let view = self.view_of(&record)?;
                look(&view, &record)
            });
        let taken_down = self.tear_down(&record.id);
        // What came before an error is there.
        let settled = match access {
            Access::Reads => Ok(()),
            Access::Writes => {
                let size = self.settle_size(container);
                container.change(|record| record.state.size = size);
                self.save(container)
            }
        };
        self.let_go(&record.id);
        let value = mounted?;
        taken_down.and(settled)?;
        Ok(value)
    }

    /// A container's root, which is mounted, and what is mounted over it.
    fn view_of(&self, record: &Record) -> Result<View> {
        let places = self.places(&record.id);
        let host = &record.settings.host;
        let mut attachments = Vec::new();
        for name in ["hosts", "hostname", "resolv.conf"] {
            let (source, destination) = (places.etc(name), Path::new("/etc").join(name));
            let is_hidden = host
                .mounts
                .iter()
                .any(|point| point.destination == destination);
            if source.exists() && !is_hidden {
                attachments.push(Attachment {
                    source,
                    destination,
                    writable: true,
                });
            }
        }
        let shown = host.mounts.iter().filter(|point| !point.shadowed);
        let shown: Vec<_> = shown
            .filter(|point| point.kind != MountKind::Tmpfs)
            .collect();
        let sources = self.attach_each(&record.id, &shown)?;
        attachments.extend(shown.iter().zip(sources).map(|(point, source)| Attachment {
            source,
            destination: point.destination.clone(),
            writable: point.writable,
        }));
        let read_only = host.security.read_only_root;
        Ok(View::open(&places.root, &attachments, read_only)?)
    }
}

/// Whether files may be copied in or out of a container, whose files the caller has; and if so, whether it runs.
async fn may_copy(container: &Container) -> Result<bool> {
    let _changing = container.changing().await;
    match container.phase() {
        Phase::Removing | Phase::Dead => Err(Error::Conflict(format!(
            "container {} is marked for removal",
            container.id
        ))),
        phase => Ok(phase.has_process()),
    }
}

/// The user and group that a container runs as.
fn owner(root: &Path, record: &Record) -> Result<(u32, u32)> {
    let user = record.settings.execution.user.as_deref().unwrap_or("");
    let user = spec::user::resolve(root, user, &[])?;
    Ok((user.uid, user.gid))
}
