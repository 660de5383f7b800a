//! How it goes, told as JSON, a message a line: pulls, pushes, loads, imports.
//!
//! Until the first message, a failure is an answer of its own with its status; after it, the status is out and
//! the failure is the last message. When nobody reads any more, the work is given up.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Frame;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::answer::{self, Answered, BodyError, JSON, Response};
use crate::error::Failure;

/// Messages that were not sent yet. Progress is left out when half of them wait; what must be told is little.
const QUEUE: usize = 16 << 10;

/// A message. Fields that are not set are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    /// Words, as they are printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<String>,
    /// What is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<String>,
    /// How far it is.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub(crate) progress: Option<Progress>,
    /// Of what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// What came of it, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) aux: Option<serde_json::Value>,
    /// Why it failed.
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Detail>,
    /// The same, for old clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// How far something is, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Progress {
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) total: u64,
}

/// Why it failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Detail {
    pub(crate) message: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Message {
    /// What is done, of nothing in particular.
    pub(crate) fn status(words: impl Into<String>) -> Self {
        Self {
            status: Some(words.into()),
            ..Self::default()
        }
    }

    /// Words, as they are printed.
    pub(crate) fn stream(words: impl Into<String>) -> Self {
        Self {
            stream: Some(words.into()),
            ..Self::default()
        }
    }

    /// What is done of a layer, without numbers.
    pub(crate) fn layer(id: &str, words: &str) -> Self {
        Self::progress(id, words, 0, 0)
    }

    /// What is done of a layer, and how far it is.
    pub(crate) fn progress(id: &str, words: &str, current: u64, total: u64) -> Self {
        Self {
            status: Some(words.to_owned()),
            progress: Some(Progress { current, total }),
            id: Some(id.to_owned()),
            ..Self::default()
        }
    }

    fn failed(failure: &Failure) -> Self {
        Self {
            detail: Some(Detail {
                message: failure.message.clone(),
            }),
            error: Some(failure.message.clone()),
            ..Self::default()
        }
    }

    fn line(&self) -> Bytes {
        // Strings and numbers can always be written.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.extend_from_slice(b"\r\n");
        line.into()
    }
}

enum Item {
    Line(Bytes),
    Failed(Failure),
}

/// Where messages are sent.
#[derive(Clone)]
pub(crate) struct Messages(mpsc::Sender<Item>);

impl Messages {
    /// Says what must be told.
    pub(crate) fn say(&self, message: &Message) {
        // Either nobody reads any more, and the work ends soon, or somebody is slower than there is use in.
        drop(self.0.try_send(Item::Line(message.line())));
    }

    /// Says how far it is, if there is room to.
    pub(crate) fn progress(&self, message: &Message) {
        if self.0.capacity() > QUEUE / 2 {
            self.say(message);
        }
    }
}

/// As [`messages`], but a failure is a message even if it is the first: as Docker loads.
pub(crate) async fn only_messages<F>(work: impl FnOnce(Messages) -> F) -> Answered
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut items = start(work);
    let first = match items.recv().await {
        Some(Item::Failed(failure)) => Some(Message::failed(&failure).line()),
        Some(Item::Line(line)) => Some(line),
        None => None,
    };
    Ok(lines(first, items))
}

/// Answers with what `work` says, and in the end, if it failed, with that.
pub(crate) async fn messages<F>(work: impl FnOnce(Messages) -> F) -> Answered
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut items = start(work);
    let first = match items.recv().await {
        Some(Item::Failed(failure)) => return Err(failure),
        Some(Item::Line(line)) => Some(line),
        None => None,
    };
    Ok(lines(first, items))
}

fn start<F>(work: impl FnOnce(Messages) -> F) -> mpsc::Receiver<Item>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (sender, items) = mpsc::channel(QUEUE);
    let work = work(Messages(sender.clone()));
    tokio::spawn(async move {
        tokio::select! {
            done = work => if let Err(failure) = done {
                // If nobody reads it, nobody asked.
                drop(sender.send(Item::Failed(failure)).await);
            },
            () = sender.closed() => {}
        }
    });
    items
}

fn lines(first: Option<Bytes>, items: mpsc::Receiver<Item>) -> Response {
    let body = Lines { first, items }.boxed_unsync();
    answer::with_body(StatusCode::OK, JSON, body)
}

struct Lines {
    first: Option<Bytes>,
    items: mpsc::Receiver<Item>,
}

impl hyper::body::Body for Lines {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(line) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(line))));
        }
        let next = self.items.poll_recv(context);
        next.map(|item| {
            let line = match item? {
                Item::Line(line) => line,
                Item::Failed(failure) => Message::failed(&failure).line(),
            };
            Some(Ok(Frame::data(line)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(answered: Answered) -> String {
        let body = answered.expect("an answer").into_body();
        let bytes = body.collect().await.expect("a body").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }

    #[tokio::test]
    async fn a_failure_before_the_first_message_is_an_answer_of_its_own() {
        let answered = messages(|_say| async { Err(Failure::not_found("no x")) }).await;
        assert_eq!(answered.err(), Some(Failure::not_found("no x")));
    }

    #[tokio::test]
    async fn messages_are_lines_and_a_failure_after_them_is_the_last() {
        let answered = messages(|say| async move {
            say.say(&Message::status("a"));
            say.say(&Message::progress("1", "b", 1, 2));
            say.say(&Message::layer("1", "c"));
            Err(Failure::internal("d"))
        });
        assert_eq!(
            text(answered.await).await,
            concat!(
                "{\"status\":\"a\"}\r\n",
                "{\"status\":\"b\",\"progressDetail\":{\"current\":1,\"total\":2},\"id\":\"1\"}\r\n",
                "{\"status\":\"c\",\"progressDetail\":{},\"id\":\"1\"}\r\n",
                "{\"errorDetail\":{\"message\":\"d\"},\"error\":\"d\"}\r\n",
            )
        );
    }

    #[tokio::test]
    async fn work_is_given_up_when_nobody_reads() {
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let answered = messages(|say| async move {
            let _dropped_with_the_work = tell;
            say.say(&Message::status("a"));
            std::future::pending().await
        });
        drop(answered.await);
        assert!(told.await.is_err());
    }
}
