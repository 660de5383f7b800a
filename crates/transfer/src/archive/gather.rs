//! Reads an archive or a layout once, from its beginning to its end.
//!
//! Which files are layers is not known before the documents that say so have come, and these may come
//! last. So each file's first bytes decide: what is compressed or a tar is staged as a layer while it
//! streams by, what is small is kept in memory, the rest is passed over. Staged layers are ended and
//! brought to disk by another thread while the next ones come. They have no names yet: those that no
//! image needs are gone when this is dropped.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use lapstrake_fill::spans::Blob;
use lapstrake_oci::{Algorithm, Compression, DiffId, Digest, bounds};
use lapstrake_store::{Claim, LayerState, Object, Store};
use lapstrake_tree::archive::{Archive, Member, MemberKind, begins_a_tar};
use rustix::fs::{Mode, OFlags};

use super::facts::{Facts, Found, LayerFact, named_digest};
use super::load::LoadEvent;
use super::problem::Problem;
use crate::error::{Class, Error, Result};
use crate::layer::{Received, Staged, receive_blob, receive_tar};
use crate::limits::Limits;
use crate::unpack::{Packing, Unpacked, peek};

/// Files of an archive: five for each of the most layers of a thousand images.
const FILES_MAX: usize = 200_000;
/// Bytes of all documents together.
const DOCUMENTS_BYTES_MAX: u64 = 48 << 20;
/// As many first bytes as tell what a file is: a header of a tar.
const START_BYTES: usize = 512;
/// Layers that were read and are not ended yet.
const UNFINISHED: usize = 2;

/// What was read.
pub(super) struct Gathered {
    pub(super) facts: Facts,
    pub(super) staged: BTreeMap<DiffId, Staged>,
    /// Layers that were in the store, which nobody can remove now.
    pub(super) claims: Vec<Claim>,
}

/// Runs `read`, which gives all files to a [`Gatherer`].
pub(super) fn gather(
    store: &Store,
    limits: Limits,
    tell: &(dyn Fn(LoadEvent) + Sync),
    read: impl FnOnce(&mut Gatherer<'_>) -> Result<()>,
) -> Result<Gathered> {
    std::thread::scope(|scope| {
        let (finish, received) = sync_channel(UNFINISHED);
        let finisher = std::thread::Builder::new()
            .name("finish".to_owned())
            .spawn_scoped(scope, move || finish_layers(store, &received, tell))
            .map_err(Error::NoThread)?;
        let mut gatherer = Gatherer {
            store,
            limits,
            tell,
            facts: Facts::default(),
            documents_bytes: 0,
            paths: HashSet::new(),
            claims: Vec::new(),
            finish,
        };
        let done = read(&mut gatherer);
        let Gatherer {
            facts,
            claims,
            finish,
            ..
        } = gatherer;
        // The finisher ends when no more layers can come.
        drop(finish);
        let finished = finisher
            .join()
            .map_err(|_panic| Error::Panicked("finish"))?;
        match (done, finished) {
            // The reader only saw the other side go, which says why.
            (Err(Error::Abandoned), Err(error)) | (Err(error), _) | (Ok(()), Err(error)) => {
                Err(error)
            }
            (Ok(()), Ok(staged)) => Ok(Gathered {
                facts,
                staged,
                claims,
            }),
        }
    })
}

/// Ends layers and syncs them.
fn finish_layers(
    store: &Store,
    received: &Receiver<Received>,
    tell: &(dyn Fn(LoadEvent) + Sync),
) -> Result<BTreeMap<DiffId, Staged>> {
    let mut all = BTreeMap::new();
    while let Ok(layer) = received.recv() {
        let (id, tar_bytes) = (layer.id(), layer.tar_len());
        if all.contains_key(&id) {
            continue;
        }
        let staged = layer.stage()?;
        staged.sync(store)?;
        tell(LoadEvent::Layer {
            id: id.clone(),
            tar_bytes,
        });
        all.insert(id, staged);
    }
    Ok(all)
}

/// Takes the files of an archive as they come.
pub(super) struct Gatherer<'a> {
    store: &'a Store,
    limits: Limits,
    tell: &'a (dyn Fn(LoadEvent) + Sync),
    facts: Facts,
    documents_bytes: u64,
    paths: HashSet<String>,
    claims: Vec<Claim>,
    finish: SyncSender<Received>,
}

impl Gatherer<'_> {
    /// Takes all of an archive.
    pub(super) fn archive(&mut self, input: impl Read) -> Result<()> {
        let input = Unpacked::new(input).map_err(Error::Input)?;
        let mut archive = Archive::new(input);
        while let Some(Member { path, kind }) = archive.next().map_err(readable)? {
            // Nothing that matters has a name that is no text.
            let Ok(path) = String::from_utf8(path) else {
                continue;
            };
            match kind {
                MemberKind::File { size } => self.file(path, size, &mut archive.body())?,
                MemberKind::Link { target } => match String::from_utf8(target) {
                    Ok(target) => self.add(path, Found::Link(target))?,
                    Err(_) => self.add(path, Found::Unusable("a link to no text".to_owned()))?,
                },
                MemberKind::Directory | MemberKind::Other => {}
            }
        }
        Ok(())
    }

    /// Takes all of a layout in a directory. Links are not followed.
    pub(super) fn directory(&mut self, root: &Path) -> Result<()> {
        for name in ["oci-layout", "index.json"] {
            self.plain_file(root, name)?;
        }
        for algorithm in list(&root.join("blobs"))? {
            let blobs = format!("blobs/{algorithm}");
            for name in list(&root.join(&blobs))? {
                self.plain_file(root, &format!("{blobs}/{name}"))?;
            }
        }
        Ok(())
    }

    fn plain_file(&mut self, root: &Path, name: &str) -> Result<()> {
        let path = root.join(name);
        let unreadable = |source: std::io::Error| Problem::Unreadable {
            path: path.clone(),
            source,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(unreadable(error.into()).into()),
        };
        let about = file.metadata().map_err(unreadable)?;
        if !about.is_file() {
            return Ok(());
        }
        self.file(name.to_owned(), about.len(), &mut file)
    }

    fn add(&mut self, path: String, found: Found) -> Result<()> {
        if self.facts.len() == FILES_MAX {
            let (what, limit) = ("files", FILES_MAX as u64);
            return Err(Problem::TooMuch { what, limit }.into());
        }
        Ok(self.facts.add(path, found)?)
    }

    fn file(&mut self, path: String, size: u64, body: &mut dyn Read) -> Result<()> {
        if !self.paths.insert(path.clone()) {
            return Err(Problem::Twice { path }.into());
        }
        let (start, mut body) = peek(body, START_BYTES).map_err(Error::Input)?;
        let packing = Packing::detect(&start);
        let is_tar = begins_a_tar(&start);
        if is_tar || packing != Packing::Blob(Compression::None) {
            if let Some(known) = self.known(&path, size, is_tar)? {
                (self.tell)(LoadEvent::Exists {
                    id: known.id.clone(),
                });
                return self.add(path, Found::Layer(known));
            }
            (self.tell)(LoadEvent::Started {
                path: path.clone(),
                bytes: size,
            });
            let found = self.layer(&path, packing, &mut body)?;
            return self.add(path, found);
        }
        if size > bounds::MAX_CONFIG_BYTES as u64 {
            let why = format!("it is no layer, and {size} bytes are too many for a document");
            return self.add(path, Found::Unusable(why));
        }
        self.documents_bytes += size;
        if self.documents_bytes > DOCUMENTS_BYTES_MAX {
            let (what, limit) = ("bytes of documents", DOCUMENTS_BYTES_MAX);
            return Err(Problem::TooMuch { what, limit }.into());
        }
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(Error::Input)?;
        self.add(path, Found::Document(bytes.into()))
    }

    /// A layer that is in the store, if the file's name says that it is this one. That is only looked at
    /// as a name: whether an image needs that layer, its config says.
    fn known(&mut self, path: &str, size: u64, is_tar: bool) -> Result<Option<LayerFact>> {
        let Some(digest) = named_digest(path) else {
            return Ok(None);
        };
        let id = if is_tar {
            DiffId(digest.clone())
        } else {
            match self.store.state().layer_of_blob(&digest, size)? {
                Some(id) => id,
                None => return Ok(None),
            }
        };
        // Claimed before it is looked for.
        let claim = self.store.claim([Object::Layer(id.clone())]);
        let record = self.store.state().layer(&id)?;
        let Some(record) = record.filter(|record| {
            record.state != LayerState::Doubtful
                && (!is_tar || record.tar_len == size)
                && self.store.content.has_layer(&id)
        }) else {
            return Ok(None);
        };
        self.claims.push(claim);
        Ok(Some(LayerFact {
            id,
            tar_len: record.tar_len,
            blob: Blob {
                digest,
                bytes: size,
                // Nothing is made of it any more.
                compression: Compression::None,
            },
        }))
    }

    fn layer(&mut self, path: &str, packing: Packing, body: &mut dyn Read) -> Result<Found> {
        let algorithm =
            named_digest(path).map_or(Algorithm::Sha256, |named: Digest| named.algorithm());
        let received = match (packing, algorithm) {
            (Packing::Blob(Compression::None), Algorithm::Sha256) => {
                receive_tar(self.store, body, self.limits)
            }
            (Packing::Blob(_), _) => receive_blob(self.store, body, algorithm, self.limits),
            (Packing::Bzip2 | Packing::Xz, _) => {
                let mut tar = Unpacked::new(body).map_err(Error::Input)?;
                receive_tar(self.store, &mut tar, self.limits)
            }
        };
        let received = match received {
            Ok(received) => received,
            // Perhaps it is no layer at all. If the input itself is broken, the next look at it says so.
            Err(error) if matches!(error.class(), Class::Invalid | Class::DataLoss) => {
                return Ok(Found::Unusable(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        let fact = LayerFact {
            id: received.id(),
            tar_len: received.tar_len(),
            blob: received.blob(),
        };
        self.finish
            .send(received)
            .map_err(|_gone| Error::Abandoned)?;
        Ok(Found::Layer(fact))
    }
}

/// An archive that can't be read is not a tar that is wrong.
fn readable(error: lapstrake_tree::error::Error) -> Error {
    match error {
        lapstrake_tree::error::Error::Io { source, .. } => Error::Input(source),
        error => Error::Archived(error),
    }
}

/// Names in a directory, in order; none if it is not there.
fn list(path: &Path) -> Result<Vec<String>> {
    let unreadable = |source| Problem::Unreadable {
        path: path.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error).into()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
