//! Closing a connection under a client that still writes.
//!
//! To the client a connection that is closed so is a broken pipe, and that is what it reports, not the answer that was
//! sent. So where a body was left unread, the connection is closed for writing, and what comes is read away for a moment, as
//! Go's server does it (net/http, `rstAvoidanceDelay`).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::runtime::Handle;

/// How long a client has to take its answer.
const MOMENT: Duration = Duration::from_secs(1);

/// Whether something that a client says over a connection was left unread.
#[derive(Debug, Clone, Default)]
pub(super) struct Unread(Arc<AtomicBool>);

impl Unread {
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection that is closed only after a moment, if something was left unread.
pub(crate) struct Lingering<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    /// There until it is dropped.
    stream: Option<S>,
    unread: Unread,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Lingering<S> {
    pub(super) fn new(stream: S, unread: Unread) -> Self {
        Self {
            stream: Some(stream),
            unread,
        }
    }

    /// The connection itself, for whoever takes it over.
    pub(crate) fn into_inner(mut self) -> S {
        self.stream.take().expect("there until it is dropped")
    }

    /// Does something with the connection.
    fn poll<T>(
        self: Pin<&mut Self>,
        does: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.get_mut().stream {
            Some(stream) => does(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Drop for Lingering<S> {
    fn drop(&mut self) {
        let Some(mut stream) = self.stream.take().filter(|_| self.unread.is_set()) else {
            return;
        };
        // When the daemon stops there is nothing to do it in.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            let read_away = async {
                stream.shutdown().await?;
                let mut piece = vec![0; 16 << 10];
                while stream.read(&mut piece).await? > 0 {}
                io::Result::Ok(())
            };
            // A client that goes, or goes on too long, is its own affair.
            drop(tokio::time::timeout(MOMENT, read_away).await);
        });
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncRead for Lingering<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_read(context, buffer))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> AsyncWrite for Lingering<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|stream| stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll(|stream| stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}
