//! Leases: claims that outlive their process, until a stated time.
//!
//! ```text
//! content/leases/<host>/<unique>      lapstrake-lease 1
//!                                     expires <seconds since 1970>
//!                                     layer sha256:…
//!                                     blob sha256:…
//!                                     end
//! ```
//!
//! Invariant: a lease is on disk before the first object that it covers, so a crash can leak but
//! not lose. They are files and not rows, because other hosts that use the same content directory
//! must see them. A lease appears and is renewed by one rename, whole; one that cannot be read
//! could cover anything, so nothing is removed until somebody looks at it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::HostId;
use crate::claims::Claim;
use crate::disk::{Disk, make_dirs_synced};
use crate::error::{Error, Result, io_error};
use crate::object::Object;
use crate::stage::{Moment, unique_name};

const FIRST_LINE: &str = "lapstrake-lease 1";
/// By how much the clocks of hosts that share content may differ.
const CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// The leases on a content directory.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    disk: Arc<dyn Disk>,
    /// Every host's.
    all: PathBuf,
    host: HostId,
}

/// A lease that was taken. Dropping it ends it; if the process dies, it ends when it expires.
#[derive(Debug)]
#[must_use = "dropping it ends it"]
pub struct Lease {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    objects: Vec<Object>,
    /// While the process lives, its own collections don't depend on the clock.
    _claim: Claim,
}

impl Leases {
    pub(crate) fn of(disk: Arc<dyn Disk>, content: &Path, host: &HostId) -> Self {
        Self {
            disk,
            all: content.join("leases"),
            host: host.clone(),
        }
    }

    /// Who takes leases here.
    pub(crate) fn host(&self) -> &str {
        self.host.as_str()
    }

    fn dir(&self) -> PathBuf {
        self.all.join(self.host.as_str())
    }

    /// Takes a lease on what `claim` claims, and waits until it is on disk.
    pub(crate) fn take(
        &self,
        claim: Claim,
        objects: Vec<Object>,
        expires: SystemTime,
    ) -> Result<Lease> {
        let dir = self.dir();
        make_dirs_synced(&*self.disk, &dir)?;
        let path = dir.join(unique_name());
        write(&*self.disk, &path, &objects, expires)?;
        Ok(Lease {
            disk: Arc::clone(&self.disk),
            path,
            objects,
            _claim: claim,
        })
    }

    /// What living leases of all hosts cover.
    pub(crate) fn covered(&self, now: SystemTime) -> Result<Vec<Object>> {
        let mut covered = Vec::new();
        for (host, path) in self.files()? {
            let Some((expires, objects)) = read(&path)? else {
                continue;
            };
            let margin = if host == self.host.as_str() {
                Duration::ZERO
            } else {
                CLOCK_SKEW
            };
            if expires + margin > now {
                covered.extend(objects);
            }
        }
        Ok(covered)
    }

    /// Removes this host's leases that have expired.
    pub(crate) fn sweep_expired(&self, now: SystemTime) -> Result<()> {
        let dir = self.dir();
        for name in names(&dir)?.iter().filter(|name| !name.starts_with('.')) {
            let path = dir.join(name);
            if read(&path)?.is_some_and(|(expires, _)| expires <= now) {
                remove(&*self.disk, &path)?;
            }
        }
        Ok(())
    }

    /// Removes what processes of this host that died before `opened` did not finish to write.
    pub(crate) fn sweep_unfinished(&self, opened: Moment) -> Result<()> {
        let dir = self.dir();
        let unfinished = names(&dir)?
            .into_iter()
            .filter(|name| name.starts_with('.'));
        for name in unfinished.filter(|name| opened.is_after(name)) {
            remove(&*self.disk, &dir.join(name))?;
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<(String, PathBuf)>> {
        let mut files = Vec::new();
        for host in names(&self.all)? {
            let dir = self.all.join(&host);
            let finished = names(&dir)?
                .into_iter()
                .filter(|name| !name.starts_with('.'));
            files.extend(finished.map(|name| (host.clone(), dir.join(name))));
        }
        Ok(files)
    }
}

impl Lease {
    /// Lets the lease live until `expires`; waits until that is on disk.
    ///
    /// # Errors
    /// If the file system refuses; it then still expires when it did.
    pub fn renew(&self, expires: SystemTime) -> Result<()> {
        write(&*self.disk, &self.path, &self.objects, expires)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // If this fails, the lease expires.
        drop(self.disk.remove_file(&self.path));
    }
}

fn write(disk: &dyn Disk, path: &Path, objects: &[Object], expires: SystemTime) -> Result<()> {
    let dir = path.parent().expect("a lease lies in a directory");
    let partial = dir.join(format!(".{}", unique_name()));
    let written = || {
        let mut file = disk.create(&partial)?;
        file.write_all(text(objects, expires).as_bytes())?;
        disk.sync_file(&file)?;
        disk.replace(&partial, path)?;
        disk.sync_dir(dir)
    };
    written().map_err(|error| {
        drop(disk.remove_file(&partial));
        io_error("write", path)(error)
    })
}

fn text(objects: &[Object], expires: SystemTime) -> String {
    let since = expires.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut text = format!("{FIRST_LINE}\nexpires {}\n", since.as_secs());
    for object in objects {
        text.push_str(&format!("{object}\n"));
    }
    text.push_str("end\n");
    text
}

/// A lease that is gone by now is none.
fn read(path: &Path) -> Result<Option<(SystemTime, Vec<Object>)>> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text).map(Some).ok_or_else(|| Error::Format {
            path: path.to_owned(),
            why: "it is no lease of a version that this lapstrake knows; nothing can be removed \
                  from the store while it is there"
                .to_owned(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("read", path)(error)),
    }
}

fn parse(text: &str) -> Option<(SystemTime, Vec<Object>)> {
    let body = text.strip_suffix("end\n")?;
    let mut lines = body.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let seconds = lines.next()?.strip_prefix("expires ")?.parse().ok()?;
    let expires = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    let objects = lines.map(|line| line.parse().ok()).collect::<Option<_>>()?;
    Some((expires, objects))
}

/// Names in a directory; none if it is not there.
fn names(dir: &Path) -> Result<Vec<String>> {
    crate::content::names(dir)
}

fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_error("remove", path)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::{Algorithm, DiffId};

    use super::*;
    use crate::claims::Claims;
    use crate::disk::RealDisk;

    fn leases(dir: &Path, host: &str) -> Leases {
        Leases::of(Arc::new(RealDisk), dir, &HostId::from_hostname(host))
    }

    fn objects() -> Vec<Object> {
        let digest = Algorithm::Sha256.digest(b"x");
        vec![Object::Blob(digest.clone()), Object::Layer(DiffId(digest))]
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn take(leases: &Leases, expires: SystemTime) -> Lease {
        let claim = Arc::new(Claims::default()).claim(objects());
        leases.take(claim, objects(), expires).unwrap()
    }

    #[test]
    fn a_lease_covers_its_objects_until_it_expires_is_renewed_and_ends_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let leases = leases(dir.path(), "h");
        assert_eq!(leases.covered(at(0)).unwrap(), []);
        let lease = take(&leases, at(100));
        assert_eq!(leases.covered(at(99)).unwrap(), objects());
        assert_eq!(leases.covered(at(100)).unwrap(), []);
        lease.renew(at(200)).unwrap();
        assert_eq!(leases.covered(at(199)).unwrap(), objects());
        drop(lease);
        assert_eq!(leases.covered(at(0)).unwrap(), []);
    }

    #[test]
    fn a_dead_process_lease_holds_until_it_expires_and_is_then_swept() {
        let dir = tempfile::tempdir().unwrap();
        let leases = leases(dir.path(), "h");
        let lease = take(&leases, at(100));
        std::mem::forget(lease);
        std::fs::File::create(dir.path().join("leases/h/.1-0")).unwrap();
        leases.sweep_unfinished(Moment::now()).unwrap();
        leases.sweep_expired(at(99)).unwrap();
        assert_eq!(names(&leases.dir()).unwrap().len(), 1);
        leases.sweep_expired(at(100)).unwrap();
        assert_eq!(names(&leases.dir()).unwrap().len(), 0);
    }

    #[test]
    fn another_host_has_more_time_for_its_clock_may_be_slow() {
        let dir = tempfile::tempdir().unwrap();
        let _lease = take(&leases(dir.path(), "other"), at(100));
        let here = leases(dir.path(), "h");
        assert_eq!(here.covered(at(699)).unwrap(), objects());
        assert_eq!(here.covered(at(700)).unwrap(), []);
        here.sweep_expired(at(1000)).unwrap();
        assert_eq!(here.files().unwrap().len(), 1);
    }

    #[test]
    fn a_lease_that_is_cut_short_or_unknown_covers_everything() {
        let whole = text(&objects(), at(7));
        assert_eq!(parse(&whole), Some((at(7), objects())));
        for length in 0..whole.len() {
            assert_eq!(parse(&whole[..length]), None, "{length}");
        }
        let dir = tempfile::tempdir().unwrap();
        let leases = leases(dir.path(), "h");
        let _lease = take(&leases, at(100));
        let path = leases.files().unwrap().remove(0).1;
        std::fs::File::create(path).unwrap();
        let error = leases.covered(at(0)).unwrap_err().to_string();
        assert!(error.contains("nothing can be removed"), "{error}");
    }
}
