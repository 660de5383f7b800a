//! A body that is written while it is sent: a bounded queue, and to know when nobody reads any more.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::answer::{Body, BodyError};

/// The client went away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client went away")]
pub(crate) struct Gone;

/// Where a body is written. The body ends when all of these are gone.
#[derive(Debug, Clone)]
pub(crate) struct Sink(mpsc::Sender<Result<Bytes, BodyError>>);

struct Queue(mpsc::Receiver<Result<Bytes, BodyError>>);

/// A body that holds at most `pieces` that were not sent yet. Each piece is sent when it comes.
pub(crate) fn channel(pieces: usize) -> (Sink, Body) {
    let (sender, receiver) = mpsc::channel(pieces);
    (Sink(sender), Queue(receiver).boxed_unsync())
}

impl Sink {
    /// Sends more, when there is room for it.
    pub(crate) async fn send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.send(Ok(bytes.into())).await.map_err(|_gone| Gone)
    }

    /// As [`Self::send`], on a thread that may wait.
    pub(crate) fn blocking_send(&self, bytes: impl Into<Bytes>) -> Result<(), Gone> {
        self.0.blocking_send(Ok(bytes.into())).map_err(|_gone| Gone)
    }

    /// Breaks the connection: the client sees that the body is not whole.
    pub(crate) async fn fail(&self, error: impl Into<BodyError>) {
        // Nobody is left to be told.
        drop(self.0.send(Err(error.into())).await);
    }

    /// As [`Self::fail`], on a thread that may wait.
    pub(crate) fn blocking_fail(&self, error: impl Into<BodyError>) {
        // Nobody is left to be told.
        drop(self.0.blocking_send(Err(error.into())));
    }

    /// Waits until nobody reads any more.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

impl hyper::body::Body for Queue {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = self.0.poll_recv(context);
        next.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_who_went_is_known() {
        let (sink, mut body) = channel(2);
        sink.send("a").await.expect("room");
        let frame = body.frame().await.expect("a frame").expect("bytes");
        assert_eq!(frame.into_data().expect("data"), "a");
        sink.fail("broken").await;
        assert!(body.frame().await.expect("a frame").is_err());
        drop(body);
        sink.gone().await;
        assert_eq!(sink.send("b").await, Err(Gone));
    }
}
