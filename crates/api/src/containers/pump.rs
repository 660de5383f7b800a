//! Between a client's connection and a monitor's.
//!
//! A monitor's frames are the client's, unless there is a terminal: then the client gets what is in them.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;

use lapstrake_engine::streams::{HEADER, Stream, header, parse_header};

use super::detach::DetachKeys;
use crate::stream::Duplex;

const PIECE: usize = 32 << 10;

/// How a client is attached.
#[derive(Debug)]
pub(super) struct Terms {
    /// Whether there is a terminal.
    pub(super) tty: bool,
    /// Whether the client speaks, too.
    pub(super) stdin: bool,
    /// What it types to leave.
    pub(super) keys: DetachKeys,
}

/// Carries bytes both ways until the process ended, or the client leaves. The client hears that it is over when
/// `ended` is done.
pub(super) async fn pump(
    client: Duplex,
    monitor: UnixStream,
    terms: Terms,
    ended: impl Future<Output = ()>,
) {
    let Duplex {
        input,
        mut output,
        gone,
    } = client;
    // What is written tells that, and this holds the connection open.
    drop(gone);
    let (from_monitor, to_monitor) = monitor.into_split();
    let out = async {
        let told = if terms.tty {
            unframe(from_monitor, &mut output).await
        } else {
            copy(from_monitor, &mut output).await
        };
        // A client that went hears nothing.
        drop(told);
        ended.await;
        drop(output.shutdown().await);
    };
    if !terms.stdin {
        out.await;
        return;
    }
    let keys = terms.tty.then_some(terms.keys);
    let speak = async {
        match listen(input, to_monitor, keys).await {
            Left::Detached => {}
            // There may be more to hear.
            Left::Silent(_open) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = out => {}
        () = speak => {}
    }
}

/// Why a client says no more.
enum Left<W> {
    /// It typed the keys.
    Detached,
    /// It has said all. What is held here keeps the connection open.
    Silent(W),
}

async fn listen<W: AsyncWrite + Unpin>(
    mut input: impl AsyncRead + Unpin,
    mut to: W,
    mut keys: Option<DetachKeys>,
) -> Left<W> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = input.read(&mut piece).await.unwrap_or(0);
        let said = &piece[..length];
        let (said, detached) = match &mut keys {
            Some(keys) => keys.pass(said),
            None => (said.to_vec(), false),
        };
        // An empty frame ends the input: only when it does.
        if (!said.is_empty() || length == 0) && frame(&mut to, &said).await.is_err() {
            return Left::Silent(to);
        }
        if detached {
            return Left::Detached;
        }
        if length == 0 {
            return Left::Silent(to);
        }
    }
}

async fn frame(to: &mut (impl AsyncWrite + Unpin), said: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(said.len()).map_err(std::io::Error::other)?;
    to.write_all(&header(Stream::Stdin, length)).await?;
    to.write_all(said).await
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await? {
            0 => return Ok(()),
            length => {
                to.write_all(&piece[..length]).await?;
                to.flush().await?;
            }
        }
    }
}

/// Passes on what is in frames.
async fn unframe(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let mut head = [0; HEADER];
        if from.read_exact(&mut head).await.is_err() {
            return Ok(());
        }
        let (_, length) = parse_header(head).ok_or_else(|| std::io::Error::other("no frame"))?;
        let mut left = usize::try_from(length).map_err(std::io::Error::other)?;
        while left > 0 {
            let some = left.min(PIECE);
            from.read_exact(&mut piece[..some]).await?;
            to.write_all(&piece[..some]).await?;
            left -= some;
        }
        to.flush().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_terminals_frames_are_opened() {
        let mut framed = Vec::new();
        for text in ["one", "", "two"] {
            let length = u32::try_from(text.len()).expect("a short text");
            framed.extend(header(Stream::Stdout, length));
            framed.extend(text.as_bytes());
        }
        let mut heard = Vec::new();
        unframe(&framed[..], &mut heard).await.expect("frames");
        assert_eq!(heard, b"onetwo");
    }

    #[tokio::test]
    async fn what_a_client_says_is_framed_and_its_end_is_a_frame_too() {
        let mut framed = Vec::new();
        let left = listen(&b"ab"[..], &mut framed, None).await;
        assert!(matches!(left, Left::Silent(_)));
        assert_eq!(
            framed,
            [0, 0, 0, 0, 0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }
}
