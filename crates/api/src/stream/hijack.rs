//! A connection that is taken over: bytes in both directions, as attach and exec have it.
//!
//! A client that asks for an upgrade gets the connection itself; one that does not gets an answer with a body, and
//! its request's body is what it says.

use std::future::pending;
use std::io::Cursor;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::answer::{self, Response, Said};
use crate::call::Call;
use crate::server::Lingering;
use crate::stream::hangup::hangup;
use crate::stream::{Sink, channel};
use crate::version::Version;

/// Some clients read the answer's head through a buffer and what follows past it: what comes in the same
/// segment is lost to them.
const PAUSE: Duration = Duration::from_millis(5);
/// What is read at a time.
const PIECE: usize = 32 << 10;

/// Both directions of a connection. Each ends when it is shut down or dropped.
pub(crate) struct Duplex {
    /// What the client says; it ends when the client says no more, while it may go on to listen.
    pub(crate) input: Box<dyn AsyncRead + Send + Unpin>,
    /// What it hears.
    pub(crate) output: Box<dyn AsyncWrite + Send + Unpin>,
    /// Done when the client is known to have gone. Over TCP that is not seen before something is written.
    pub(crate) gone: Gone,
}

type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The type of a stream: of a terminal, or of output and errors with their headers.
pub(crate) fn stream_type(version: Version, multiplexed: bool) -> HeaderValue {
    HeaderValue::from_static(if multiplexed && version.from(1, 42) {
        "application/vnd.docker.multiplexed-stream"
    } else {
        "application/vnd.docker.raw-stream"
    })
}

/// Answers by taking the connection over; `talk` gets it when the answer's head was sent.
pub(crate) fn hijack<F>(
    call: &mut Call,
    content_type: HeaderValue,
    talk: impl FnOnce(Duplex) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let wants_upgrade = call.head.contains_key(UPGRADE);
    match call.upgrade.take() {
        Some(upgrade) if wants_upgrade => {
            tokio::spawn(switched(upgrade, talk));
            let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
            let reason = ReasonPhrase::from_static(b"UPGRADED");
            response.extensions_mut().insert(reason);
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, content_type);
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("tcp"));
            response
        }
        _ => {
            let said = call.take_body();
            let (sink, body) = channel(4);
            let reads = sink.clone();
            let gone = Box::pin(async move { reads.gone().await });
            let (ours, theirs) = tokio::io::duplex(2 * PIECE);
            let (hear, say) = tokio::io::split(theirs);
            tokio::spawn(listen(said, say));
            tokio::spawn(tell(hear, sink));
            tokio::spawn(talk(duplex(ours, gone)));
            answer::with_body(StatusCode::OK, content_type, body)
        }
    }
}

fn duplex(connection: impl AsyncRead + AsyncWrite + Send + 'static, gone: Gone) -> Duplex {
    let (input, output) = tokio::io::split(connection);
    Duplex {
        input: Box::new(input),
        output: Box::new(output),
        gone,
    }
}

async fn switched<F: Future<Output = ()>>(upgrade: OnUpgrade, talk: impl FnOnce(Duplex) -> F) {
    // A client that went before it was answered has nothing to say.
    let Ok(connection) = upgrade.await else {
        return;
    };
    tokio::time::sleep(PAUSE).await;
    talk(taken_over(connection)).await;
}

/// A connection of which the client knows that it is its own.
fn taken_over(connection: Upgraded) -> Duplex {
    match connection.downcast::<TokioIo<Lingering<UnixStream>>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner().into_inner();
            let gone = Box::pin(hangup(&stream));
            let (rest, output) = stream.into_split();
            Duplex {
                // What came with the request was read already.
                input: Box::new(Cursor::new(parts.read_buf).chain(rest)),
                output: Box::new(output),
                gone,
            }
        }
        Err(connection) => duplex(TokioIo::new(connection), Box::pin(pending())),
    }
}

/// From the request's body to whoever listens.
async fn listen(mut body: Said, mut to: impl AsyncWrite + Unpin) {
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Nobody may listen any more.
    drop(to.shutdown().await);
}

/// From whoever talks to the answer's body.
async fn tell(mut from: impl AsyncRead + Unpin, to: Sink) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if to
            .send(Bytes::copy_from_slice(&piece[..length]))
            .await
            .is_err()
        {
            return;
        }
    }
}
