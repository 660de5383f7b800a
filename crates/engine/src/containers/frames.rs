//! Reading the frames of a monitor's stream.

use tokio::io::{AsyncRead, AsyncReadExt as _};

use lapstrake_monitor::wire::{HEADER, Stream, parse_header};

/// What one frame may hold.
const FRAME_BYTES: u32 = 16 << 20;

/// The next frame: which stream, and what it says. Nothing at the end.
///
/// # Errors
/// If the stream breaks off or is none of frames.
pub(crate) async fn next(
    from: &mut (impl AsyncRead + Unpin),
) -> std::io::Result<Option<(Stream, Vec<u8>)>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let framed = parse_header(header).filter(|(_, length)| *length <= FRAME_BYTES);
    let (stream, length) =
        framed.ok_or_else(|| std::io::Error::other("what a monitor sent is no frame"))?;
    let mut bytes = vec![0; usize::try_from(length).map_err(std::io::Error::other)?];
    from.read_exact(&mut bytes).await?;
    Ok(Some((stream, bytes)))
}

/// Gathers what all frames say, up to a length; the rest is read and dropped.
pub(crate) async fn collect(
    mut from: impl AsyncRead + Unpin,
    into: &mut Vec<u8>,
    bytes_max: usize,
) {
    while let Ok(Some((_, bytes))) = next(&mut from).await {
        let room = bytes_max.saturating_sub(into.len());
        into.extend(&bytes[..bytes.len().min(room)]);
    }
}
