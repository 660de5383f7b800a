//! A bounded pipe of byte chunks from async code to a blocking thread.
//!
//! An end that is dropped early is told to the other: a reader sees why the writer stopped (or
//! that it was dropped), a writer sees that nobody reads.

use bytes::Bytes;
use tokio::sync::mpsc;

/// Makes a pipe that holds at most `chunks` chunks.
pub fn pipe<E>(chunks: usize) -> (PipeWriter<E>, PipeReader<E>) {
    let (sender, receiver) = mpsc::channel(chunks);
    (PipeWriter { sender }, PipeReader { receiver })
}

enum Item<E> {
    Chunk(Bytes),
    End,
    Failed(E),
}

/// The async end.
#[derive(Debug)]
pub struct PipeWriter<E> {
    sender: mpsc::Sender<Item<E>>,
}

/// The blocking end.
#[derive(Debug)]
pub struct PipeReader<E> {
    receiver: mpsc::Receiver<Item<E>>,
}

/// The reader is gone; nothing more needs to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads from the pipe any more")]
pub struct Closed;

impl<E> PipeWriter<E> {
    /// Passes a chunk on, waiting while the pipe is full.
    ///
    /// # Errors
    /// If the reader is gone.
    pub async fn write(&self, chunk: Bytes) -> Result<(), Closed> {
        self.sender
            .send(Item::Chunk(chunk))
            .await
            .map_err(|_gone| Closed)
    }

    /// Ends the pipe: all chunks were written. A reader that is gone needs no end.
    pub async fn end(self) {
        drop(self.sender.send(Item::End).await);
    }

    /// Ends the pipe with the reason why there are no more chunks.
    pub async fn fail(self, error: E) {
        drop(self.sender.send(Item::Failed(error)).await);
    }
}

/// Why there are no more chunks, other than that the end was reached.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken<E> {
    /// The writer said why.
    #[error(transparent)]
    Failed(E),
    /// The writer was dropped: its task was cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl<E> PipeReader<E> {
    /// The next chunk, waiting for it; `None` at the end.
    ///
    /// # Errors
    /// If the writer failed or was dropped before it ended the pipe.
    pub fn read(&mut self) -> Result<Option<Bytes>, Broken<E>> {
        match self.receiver.blocking_recv() {
            Some(Item::Chunk(chunk)) => Ok(Some(chunk)),
            Some(Item::End) => Ok(None),
            Some(Item::Failed(error)) => Err(Broken::Failed(error)),
            None => Err(Broken::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn chunks_arrive_in_order_and_then_the_end() {
        let (writer, mut reader) = pipe::<()>(1);
        let read = crate::worker("reader", move || {
            let mut all = Vec::new();
            while let Some(chunk) = reader.read().unwrap() {
                all.extend_from_slice(&chunk);
            }
            all
        })
        .unwrap();
        for chunk in ["a", "b", "c"] {
            writer
                .write(Bytes::from_static(chunk.as_bytes()))
                .await
                .unwrap();
        }
        writer.end().await;
        assert_eq!(read.join().await.unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_dropped_writer_is_not_an_end() {
        let (writer, mut reader) = pipe::<()>(1);
        drop(writer);
        let seen = crate::blocking(move || reader.read()).await.unwrap();
        assert_eq!(seen, Err(Broken::Cancelled));
    }

    #[tokio::test]
    async fn a_writer_learns_that_nobody_reads() {
        let (writer, reader) = pipe::<()>(1);
        drop(reader);
        assert_eq!(writer.write(Bytes::new()).await, Err(Closed));
    }
}
