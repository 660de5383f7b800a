//! Sockets in the file system: one daemon at each, for its owner and a group.
//!
//! Whoever listens at `PATH` holds a lock on `PATH.lock`, which ends with the process, however that ends. So a socket
//! that a dead daemon left is told from one that is served, and two daemons that start together can't both win. The
//! file of the lock stays: to remove it would let two hold it.

use std::fs::{File, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::net::UnixListener;

use crate::server::ServeError;

/// Whose group the socket is, if nothing is said and there is one.
const GROUP: &str = "docker";
/// For its owner and its group.
const MODE: u32 = 0o660;
/// Clients that may wait to be let in.
const BACKLOG: i32 = 1024;

/// The right to listen at a path. The socket is removed with it.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    _lock: File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // It is ours, for the lock is; if it can't be removed, the next daemon does.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Listens at a path.
pub(crate) fn listen(
    path: &Path,
    group: Option<&str>,
) -> Result<(UnixListener, Claim), ServeError> {
    let group = group_id(group)?;
    let io = |action| {
        move |source: std::io::Error| ServeError::Io {
            action,
            place: path.display().to_string(),
            source,
        }
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(io("make the directory of"))?;
    }
    let claim = claim(path)?;
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            // Not ours to remove.
            std::mem::forget(claim);
            return Err(ServeError::NoSocket(path.to_owned()));
        }
        // A daemon that has no such lock may serve it: Docker's own.
        Ok(_socket) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            std::mem::forget(claim);
            return Err(ServeError::Served(path.to_owned()));
        }
        Ok(_left) => std::fs::remove_file(path).map_err(io("remove"))?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(io("look at")(error)),
    }
    let listener = bind(path).map_err(io("listen at"))?;
    if let Some(group) = group {
        chown(path, None, Some(group)).map_err(io("give its group"))?;
    }
    // Last: until now it was the owner's alone.
    std::fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(io("open"))?;
    let listener = UnixListener::from_std(listener).map_err(io("listen at"))?;
    Ok((listener, claim))
}

fn claim(path: &Path) -> Result<Claim, ServeError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let name = PathBuf::from(name);
    let io = |source: std::io::Error| ServeError::Io {
        action: "lock",
        place: name.display().to_string(),
        source,
    };
    let mut options = File::options();
    let lock = options.create(true).append(true).open(&name).map_err(io)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Claim {
            path: path.to_owned(),
            _lock: lock,
        }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ServeError::Served(path.to_owned())),
        Err(error) => Err(io(error.into())),
    }
}

/// A socket that is nobody's but ours from its first moment on: Linux takes the mode that the socket had before it
/// was bound.
fn bind(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// The group of a socket: the one that was named must be there, Docker's may.
fn group_id(named: Option<&str>) -> Result<Option<u32>, ServeError> {
    let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
    match named {
        None => Ok(find_group(&groups, GROUP)),
        Some(name) => match find_group(&groups, name).or_else(|| name.parse().ok()) {
            Some(id) => Ok(Some(id)),
            None => Err(ServeError::NoGroup(name.to_owned())),
        },
    }
}

fn find_group(groups: &str, name: &str) -> Option<u32> {
    let mut rows = groups.lines().map(|line| line.split(':'));
    rows.find_map(|mut row| {
        (row.next() == Some(name))
            .then(|| row.nth(1)?.parse().ok())
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_daemon_listens_at_a_path_and_a_dead_one_s_socket_is_taken_over() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("d/x.sock");
        let (listener, claim) = listen(&path, None).expect("the first");
        let mode = std::fs::metadata(&path).expect("a socket").permissions();
        assert_eq!(mode.mode() & 0o777, MODE);
        let second = listen(&path, None);
        assert!(matches!(second, Err(ServeError::Served(_))), "{second:?}");
        // As if it had been killed: the lock is gone, the socket is not.
        drop(listener);
        let Claim { path: left, _lock } = &claim;
        assert!(left.exists());
        rustix::fs::flock(_lock, FlockOperation::Unlock).expect("unlocked");
        let (_listener, second) = listen(&path, None).expect("after the first");
        std::mem::forget(claim);
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_is_not_ours_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        File::create(&file).expect("a file");
        let refused = listen(&file, None);
        assert!(matches!(refused, Err(ServeError::NoSocket(_))));
        let served = directory.path().join("served");
        let _docker = std::os::unix::net::UnixListener::bind(&served).expect("a socket");
        assert!(matches!(listen(&served, None), Err(ServeError::Served(_))));
        assert!(file.exists() && served.exists());
        let no_group = listen(&directory.path().join("x"), Some("no such group"));
        assert!(matches!(no_group, Err(ServeError::NoGroup(_))));
    }

    #[test]
    fn groups_are_found_by_name() {
        let groups = "root:x:0:\ndocker:x:998:me,you\n";
        assert_eq!(find_group(groups, "docker"), Some(998));
        assert_eq!(find_group(groups, "dock"), None);
    }
}
