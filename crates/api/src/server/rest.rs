//! What is left of a request's body once its answer is known.
//!
//! A client may still be writing when its answer is known: a refusal needs no body. An answer sent at once closes the
//! connection under the client's hands, which then reports a broken pipe and not the words it was refused with. So a
//! short rest is read away before the answer goes out, as Go's server does it (net/http, `maxPostHandlerReadBytes`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::EXPECT;
use tokio::sync::oneshot;

use crate::answer::{BodyError, Said};

/// A longer rest is not waited for: the connection is closed.
const MAX_BYTES: usize = 256 << 10;
/// Nor is a client that has stopped writing.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a body comes back to when nobody reads it any more.
pub(super) struct Rest(Option<oneshot::Receiver<Incoming>>);

/// Takes the body out of a request, to be read by whoever answers it.
pub(super) fn lend(request: hyper::Request<Incoming>) -> (hyper::Request<Said>, Rest) {
    let (back, returned) = oneshot::channel();
    // A client that waits to be asked for the body is better refused before it sends one.
    let waits = request.headers().contains_key(EXPECT);
    let request = request.map(|body| Lent(Some((body, back))).boxed());
    (request, Rest((!waits).then_some(returned)))
}

impl Rest {
    /// Reads away what nobody read, if nobody reads on.
    pub(super) async fn discard(self) {
        let Some(Ok(mut body)) = self.0.map(|mut returned| returned.try_recv()) else {
            return;
        };
        let read = async {
            let mut bytes = 0;
            while bytes < MAX_BYTES
                && let Some(Ok(frame)) = body.frame().await
            {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // One that is late loses its connection, as does one that says too much.
        drop(tokio::time::timeout(TIMEOUT, read).await);
    }
}

/// A body that goes back when it is dropped before its end.
struct Lent(Option<(Incoming, oneshot::Sender<Incoming>)>);

impl Lent {
    fn body(&self) -> Option<&Incoming> {
        self.0.as_ref().map(|(body, _back)| body)
    }
}

impl Body for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some((body, _back)) = &mut self.0 else {
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
        if let Some((body, back)) = self.0.take()
            && !body.is_end_stream()
        {
            // Nobody waits for it when the answer went out first.
            drop(back.send(body));
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
        for path in ["/swarm/init", "/v1.99/swarm/init", "/nonsense"] {
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
    async fn a_client_that_says_too_much_is_refused_all_the_same() {
        let asked = Asked::new();
        let (mut reading, mut writing) = tokio::io::split(connected(&asked));
        let flood = tokio::spawn(async move {
            let head = b"POST /swarm/init HTTP/1.1\r\nhost: d\r\ncontent-length: 99999999\r\n\r\n";
            let mut sent = writing.write_all(head).await;
            while sent.is_ok() {
                sent = writing.write_all(&[b'x'; 4096]).await;
            }
        });
        let mut refused = Vec::new();
        let read = reading.read_to_end(&mut refused).await;
        read.expect("an end");
        flood.await.expect("an end");
        let refused = String::from_utf8(refused).expect("text");
        assert!(refused.contains("501 Not Implemented"), "{refused}");
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
