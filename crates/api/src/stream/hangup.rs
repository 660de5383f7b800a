//! To know that a client has gone, without a word to or from it.
//!
//! A client that has said all it had to say closes its half of the connection and goes on to listen: reading tells no
//! more than that. Of a Unix socket the kernel says when the other half is closed, too.

use std::future::pending;
use std::io::{Error, ErrorKind};
use std::os::fd::AsFd as _;

use tokio::io::Interest;
use tokio::net::UnixStream;

/// Waits until the other end of a connection is closed, in both directions; for ever, if the system does not let that be
/// watched. It keeps the connection open on this end.
pub(super) fn hangup(stream: &UnixStream) -> impl Future<Output = ()> + Send + use<> {
    let watched = another(stream);
    async move {
        let closed = match &watched {
            Ok(watched) => write_closed(watched).await,
            Err(error) => Err(Error::from(error.kind())),
        };
        if closed.is_err() {
            pending().await
        }
    }
}

/// The same connection by another descriptor: what is told of this one is read away from nobody.
fn another(stream: &UnixStream) -> std::io::Result<UnixStream> {
    let descriptor = stream.as_fd().try_clone_to_owned()?;
    UnixStream::from_std(descriptor.into())
}

async fn write_closed(watched: &UnixStream) -> std::io::Result<()> {
    while !watched.ready(Interest::WRITABLE).await?.is_write_closed() {
        // That it can be written is known, and is to be told no more: nobody writes by this descriptor.
        let known = || Err::<(), _>(Error::from(ErrorKind::WouldBlock));
        drop(watched.try_io(Interest::WRITABLE, known));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::timeout;

    #[tokio::test]
    async fn who_listens_yet_is_there_and_who_closed_both_halves_is_not() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
        let mut gone = Box::pin(hangup(&ours));
        let mut is_gone = async || {
            let waited = timeout(Duration::from_millis(50), &mut gone);
            waited.await.is_ok()
        };
        assert!(!is_gone().await);
        theirs.write_all(b"last").await.expect("room");
        theirs.shutdown().await.expect("open");
        assert!(!is_gone().await);
        ours.write_all(b"heard").await.expect("somebody listens");
        drop(theirs);
        assert!(is_gone().await);
        let mut said = Vec::new();
        ours.read_to_end(&mut said).await.ok();
        assert_eq!(said, b"last");
    }
}
