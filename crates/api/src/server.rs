//! Sockets: who may connect, over what, and what becomes of connections when the daemon stops.
//!
//! A socket in the file system is for its owner and a group. TCP is for clients that have a certificate of an authority that is
//! named; without TLS it is spoken only on this machine, and only if that was asked for. When the daemon is to stop,
//! nobody new is let in, and requests that are being answered have [`GRACE`] to end.

mod address;
mod linger;
mod rest;
mod tls;
mod unix;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

pub use address::{Address, AddressError};
pub(crate) use linger::Lingering;
pub use tls::TlsFiles;

use crate::daemon::Daemon;
use crate::router;

/// How long requests may go on when the daemon is to stop.
const GRACE: Duration = Duration::from_secs(10);
/// How long a client may take to say what it wants.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a client may take to show its certificate.
const TLS_TIMEOUT: Duration = Duration::from_secs(30);
/// A pause after the system had no descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why nobody can connect.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another daemon answers there.
    #[error("{} is served by another daemon: stop that, or use another --host", .0.display())]
    Served(PathBuf),
    /// Something that is no socket is there.
    #[error("{} is there and is no socket: remove it, or use another --host", .0.display())]
    NoSocket(PathBuf),
    /// No such group.
    #[error("there is no group {0}: name one that /etc/group has, or give its number")]
    NoGroup(String),
    /// A certificate or a key that can't be used.
    #[error("cannot use {}: {why}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not; no secret is in it.
        why: String,
    },
    /// The system refuses.
    #[error("cannot {action} {place}: {source}")]
    Io {
        /// The verb.
        action: &'static str,
        /// Where.
        place: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Where clients connect.
#[derive(Debug)]
pub struct Listener {
    place: Address,
    socket: Socket,
}

enum Socket {
    Unix(UnixListener, unix::Claim),
    Tcp(TcpListener, Option<TlsAcceptor>),
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unix(..) => "Unix",
            Self::Tcp(..) => "Tcp",
        })
    }
}

impl Listener {
    /// Listens at an address: a socket in the file system is the group's too, if one is named; TCP is spoken over TLS,
    /// if files for it are given. To be called inside the runtime.
    ///
    /// # Errors
    /// If somebody else listens there, or the system refuses.
    pub fn at(
        address: &Address,
        group: Option<&str>,
        tls: Option<&TlsFiles>,
    ) -> Result<Self, ServeError> {
        let socket = match address {
            Address::Unix(path) => {
                let (listener, claim) = unix::listen(path, group)?;
                Socket::Unix(listener, claim)
            }
            Address::Tcp(address) => {
                let acceptor = tls.map(tls::acceptor).transpose()?;
                let io = |source| ServeError::Io {
                    action: "listen at",
                    place: address.to_string(),
                    source,
                };
                let listener = std::net::TcpListener::bind(address).map_err(io)?;
                listener.set_nonblocking(true).map_err(io)?;
                let listener = TcpListener::from_std(listener).map_err(io)?;
                Socket::Tcp(listener, acceptor)
            }
        };
        Ok(Self {
            place: address.clone(),
            socket,
        })
    }

    /// Where that is. A port that was to be any is the one that it became.
    pub fn address(&self) -> Address {
        match &self.socket {
            Socket::Tcp(listener, _) => listener
                .local_addr()
                .map_or_else(|_| self.place.clone(), Address::Tcp),
            Socket::Unix(..) => self.place.clone(),
        }
    }
}

/// Answers whoever connects, until `stop` is done.
pub async fn serve(daemon: Arc<Daemon>, listeners: Vec<Listener>, stop: impl Future<Output = ()>) {
    // Every connection holds a sender: when all are gone, so are all connections.
    let (open, mut closed) = mpsc::channel(1);
    let accepting: Vec<_> = (listeners.into_iter())
        .map(|listener| tokio::spawn(accept(Arc::clone(&daemon), listener, open.clone())))
        .collect();
    drop(open);
    stop.await;
    for task in accepting {
        task.abort();
        // It was aborted; what it listened at is closed now.
        drop(task.await);
    }
    daemon.stop();
    if tokio::time::timeout(GRACE, closed.recv()).await.is_err() {
        daemon.say("stopping: requests that go on are given up");
    }
}

/// Is never sent: that it is there says that a connection is.
type Open = mpsc::Sender<std::convert::Infallible>;

async fn accept(daemon: Arc<Daemon>, listener: Listener, open: Open) {
    loop {
        let accepted = match &listener.socket {
            Socket::Unix(listener, _claim) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, _)| {
                    tokio::spawn(answer(Arc::clone(&daemon), stream, open.clone()))
                })
            }
            Socket::Tcp(listener, None) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, _)| {
                    tokio::spawn(answer(Arc::clone(&daemon), stream, open.clone()))
                })
            }
            Socket::Tcp(listener, Some(acceptor)) => {
                let accepted = listener.accept().await;
                accepted.map(|(stream, peer)| {
                    let shown = acceptor.accept(stream);
                    tokio::spawn(admit(Arc::clone(&daemon), shown, peer, open.clone()))
                })
            }
        };
        if let Err(error) = accepted {
            daemon.say(&format!("cannot accept a connection: {error}"));
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// Lets in who shows a certificate.
async fn admit(
    daemon: Arc<Daemon>,
    shown: tokio_rustls::Accept<TcpStream>,
    peer: SocketAddr,
    open: Open,
) {
    match tokio::time::timeout(TLS_TIMEOUT, shown).await {
        Ok(Ok(stream)) => answer(daemon, stream, open).await,
        Ok(Err(why)) => daemon.say(&format!("refused {peer}: {why}")),
        Err(_late) => daemon.say(&format!("refused {peer}: it showed no certificate")),
    }
}

/// Answers what comes over a connection. When the daemon is to stop, what was asked is answered yet.
async fn answer(
    daemon: Arc<Daemon>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    open: Open,
) {
    let answering = Arc::clone(&daemon);
    let unread = linger::Unread::default();
    let stream = Lingering::new(stream, unread.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let daemon = Arc::clone(&answering);
        let (request, rest) = rest::lend(request, unread.clone());
        async move {
            let response = router::answer(&daemon, request).await;
            rest.discard(response.status()).await;
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    // A client that breaks off is its own affair.
    tokio::select! {
        ended = connection.as_mut() => drop(ended),
        () = daemon.stopping() => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
    drop(open);
}
