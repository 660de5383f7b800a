//! A request's body, for a blocking step that reads it.

use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use http_body_util::BodyExt as _;
use lapstrake_bridge::{Broken, PipeReader, pipe};

use crate::answer::Said;

/// Pieces that came and were not read yet.
const PIECES: usize = 8;

/// A reader of a body, which comes while it is read. If the client breaks off, reading fails.
pub(crate) fn reader(mut body: Said) -> impl Read + Send + 'static {
    let (writer, reader) = pipe(PIECES);
    tokio::spawn(async move {
        loop {
            match body.frame().await {
                None => return writer.end().await,
                Some(Err(error)) => return writer.fail(error.to_string()).await,
                Some(Ok(frame)) => {
                    // What comes after a body is of no use here.
                    let Ok(bytes) = frame.into_data() else {
                        continue;
                    };
                    if !bytes.is_empty() && writer.write(bytes).await.is_err() {
                        return;
                    }
                }
            }
        }
    });
    Reader {
        pipe: reader,
        piece: Bytes::new(),
    }
}

struct Reader {
    pipe: PipeReader<String>,
    piece: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            match self.pipe.read() {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(Broken::Failed(why)) => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
                Err(Broken::Cancelled) => {
                    let why = "the client went away";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                }
            }
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
