//! What is left of a request's body once its answer is known.
//!
//! A client may still be writing when its answer is known: a refusal needs no body. An answer sent at once closes the
//! connection, see [`super::linger`]. So a short rest is read away before a refusal goes out, and the client can ask on, as
//! Go's server does it (net/http, `maxPostHandlerReadBytes`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use tokio::sync::oneshot;

use super::linger::Unread;
use crate::answer::{BodyError, Said};

/// A longer rest is not waited for: the connection is closed.
const MAX_BYTES: usize = 256 << 10;
/// Nor is a client that has stopped writing.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a body comes back to when nobody reads it any more.
pub(super) struct Rest {
    returned: Option<oneshot::Receiver<Incoming>>,
    unread: Unread,
}

/// Takes the body out of a request, to be read by whoever answers it. `unread` learns if it is not read to its end.
pub(super) fn lend(
    request: hyper::Request<Incoming>,
    unread: Unread,
) -> (hyper::Request<Said>, Rest) {
    let (back, returned) = oneshot::channel();
    // A client that waits to be asked for the body is better refused before it sends one.
    let waits = request.headers().contains_key(EXPECT);
    let told = unread.clone();
    let request = request.map(|body| {
        let lent = Some((body, back));
        Lent { lent, unread: told }.boxed()
    });
    let returned = (!waits).then_some(returned);
    (request, Rest { returned, unread })
}

impl Rest {
    /// Reads away what nobody read before an answer of this status, if nobody reads on.
    pub(super) async fn discard(self, status: StatusCode) {
        let Some(mut returned) = self.returned else {
            return;
        };
        let read = async {
            let body = match status.is_client_error() || status.is_server_error() {
                // Whoever read it has given up, but may yet wait for its next piece.
                true => returned.await.ok(),
                // It may be read while the answer is sent.
                false => returned.try_recv().ok(),
            };
            match body {
                Some(body) => read_away(body).await,
                None => true,
            }
        };
        if !tokio::time::timeout(TIMEOUT, read).await.unwrap_or(false) {
            self.unread.set();
        }
    }
}

/// Whether that was all.
async fn read_away(mut body: Incoming) -> bool {
    let mut bytes = 0;
    while bytes < MAX_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, Bytes::len),
            Some(Err(_)) | None => return true,
        }
    }
    false
}

/// A body that goes back when it is dropped before its end.
struct Lent {
    lent: Option<(Incoming, oneshot::Sender<Incoming>)>,
    unread: Unread,
}

impl Lent {
    fn body(&self) -> Option<&Incoming> {
        self.lent.as_ref().map(|(body, _back)| body)
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some((body, _back)) = &mut self.lent else {
            return Poll::Ready(None);
        };
        Pin::new(body)
            .poll_frame(context)
            .map_err(|error| Box::new(error) as BodyError)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some((body, back)) = self.lent.take()
            && !body.is_end_stream()
            && back.send(body).is_err()
        {
            // The answer has begun; nobody waits for the rest.
            self.unread.set();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::asking::Asked;

    /// A connection to a daemon.
    fn connected(asked: &Asked) -> DuplexStream {
        let (client, server) = tokio::io::duplex(4 << 10);
        let (open, _closed) = tokio::sync::mpsc::channel(1);
        tokio::spawn(super::super::answer(
            Arc::clone(&asked.daemon),
            server,
            open,
        ));
        client
    }

    /// What is answered, up to `end`.
    async fn answered(client: &mut DuplexStream, end: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !read.ends_with(end.as_bytes()) {
                match client.read_u8().await {
                    Ok(byte) => read.push(byte),
                    Err(_closed) => break,
                }
            }
        };
        let read_in_time = tokio::time::timeout(Duration::from_secs(20), reading).await;
        read_in_time.expect("an answer");
        String::from_utf8(read).expect("text")
    }

    #[tokio::test]
    async fn a_client_that_still_writes_when_it_is_refused_is_told_so_and_can_ask_on() {
        let asked = Asked::new();
        let mut client = connected(&asked);
        for path in [
            "/swarm/init",
            "/v1.99/swarm/init",
            "/nonsense",
            "/images/create?fromSrc=-&repo=:",
        ] {
            let head = format!("POST {path} HTTP/1.1\r\nhost: d\r\ncontent-length: 9000\r\n\r\n");
            client.write_all(head.as_bytes()).await.expect("sent");
            // By now the answer is known.
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.write_all(&[b'x'; 9000]).await.expect("sent");
            let refused = answered(&mut client, "}\n").await;
            assert!(refused.contains("\"message\":"), "{path}: {refused}");
        }
        let ping = b"GET /_ping HTTP/1.1\r\nhost: d\r\n\r\n";
        client.write_all(ping).await.expect("sent");
        assert!(answered(&mut client, "OK").await.contains("200 OK"));
    }

    #[tokio::test]
    async fn a_client_that_writes_more_than_anybody_reads_can_take_its_answer_first() {
        let asked = Asked::new();
        for (path, wanted) in [
            ("/swarm/init", "501 Not Implemented"),
            ("/images/load", "no valid tar header"),
            ("/images/create?fromSrc=-", "no valid tar header"),
        ] {
            let (mut reading, mut writing) = tokio::io::split(connected(&asked));
            let flood = tokio::spawn(async move {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nhost: d\r\ncontent-length: 99999999999\r\n\r\n"
                );
                let mut sent = writing.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = writing.write_all(&[b'x'; 4096]).await;
                }
            });
            let mut refused = vec![reading.read_u8().await.expect("an answer")];
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!flood.is_finished(), "{path}: the pipe is broken");
            let read = reading.read_to_end(&mut refused).await;
            read.expect("an end");
            flood.await.expect("an end");
            let refused = String::from_utf8(refused).expect("text");
            assert!(refused.contains(wanted), "{path}: {refused}");
        }
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_for_more_is_refused_at_once() {
        let asked = Asked::new();
        let mut client = connected(&asked);
        let head = b"POST /swarm/init HTTP/1.1\r\nhost: d\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
        client.write_all(head).await.expect("sent");
        let refused = answered(&mut client, "}\n").await;
        assert!(refused.starts_with("HTTP/1.1 501"), "{refused}");
    }
}
