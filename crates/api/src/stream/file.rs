//! An answer that somebody writes into a file, which is a pipe to the client.

use std::fs::File;
use std::os::fd::OwnedFd;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use crate::answer::{self, Answered};
use crate::error::Failure;
use crate::stream::{Sink, channel};

/// What is read at a time.
const PIECE: usize = 128 << 10;

/// Answers with what `write` writes. If it fails before it wrote anything, that is the answer; after that, the connection
/// breaks, so that no client takes a part for the whole. When nobody reads any more, it writes to nobody, and fails.
pub(crate) async fn file<F>(content_type: HeaderValue, write: impl FnOnce(File) -> F) -> Answered
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let cannot = |error: std::io::Error| Failure::internal(format!("cannot make a pipe: {error}"));
    let (theirs, ours) = std::os::unix::net::UnixStream::pair().map_err(cannot)?;
    ours.set_nonblocking(true).map_err(cannot)?;
    let mut ours = UnixStream::from_std(ours).map_err(cannot)?;
    let writing = tokio::spawn(write(File::from(OwnedFd::from(theirs))));
    let mut first = vec![0; PIECE];
    let length = ours.read(&mut first).await.map_err(cannot)?;
    first.truncate(length);
    if length == 0 {
        let written = writing.await;
        written.map_err(|error| Failure::internal(error.to_string()))??;
    } else {
        let (sink, body) = channel(2);
        tokio::spawn(async move {
            if sink.send(first).await.is_err() || pass_on(&mut ours, &sink).await.is_none() {
                return;
            }
            if let Ok(Err(failure)) = writing.await {
                sink.fail(failure.message).await;
            }
        });
        return Ok(answer::with_body(StatusCode::OK, content_type, body));
    }
    let nothing = answer::full(Vec::new());
    Ok(answer::with_body(StatusCode::OK, content_type, nothing))
}

/// Until there is no more. Nothing, if the client went.
async fn pass_on(from: &mut UnixStream, sink: &Sink) -> Option<()> {
    loop {
        let mut piece = vec![0; PIECE];
        // What is written into it is here or gone: reading can't fail otherwise.
        let length = from.read(&mut piece).await.unwrap_or_default();
        if length == 0 {
            return Some(());
        }
        piece.truncate(length);
        sink.send(piece).await.ok()?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use http_body_util::BodyExt as _;

    use super::*;

    const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

    #[tokio::test]
    async fn what_is_written_is_answered() {
        let answered = file(TAR, |mut file| async move {
            let write = move || file.write_all(&vec![7; 3 * PIECE]);
            lapstrake_bridge::blocking(write)
                .await?
                .expect("somebody reads");
            Ok(())
        });
        let body = answered.await.expect("an answer").into_body();
        let bytes = body.collect().await.expect("whole").to_bytes();
        assert_eq!(bytes.len(), 3 * PIECE);
    }

    #[tokio::test]
    async fn a_failure_is_an_answer_or_breaks_the_connection() {
        let at_once = file(TAR, |_file| async { Err(Failure::not_found("no x")) }).await;
        assert_eq!(at_once.err(), Some(Failure::not_found("no x")));
        let later = file(TAR, |mut file| async move {
            file.write_all(b"part").expect("somebody reads");
            Err(Failure::internal("broken"))
        });
        let body = later.await.expect("an answer").into_body();
        assert!(body.collect().await.is_err());
    }
}
