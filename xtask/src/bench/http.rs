//! A daemon, asked without its client.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::error::{Error, IoContext as _, Result};

/// Asks a daemon, and waits for the whole answer.
pub(super) fn ask(socket: &Path, path: &str) -> Result<()> {
    request(
        socket,
        &format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n"),
    )
}

/// Has a daemon do something.
pub(super) fn say(socket: &Path, path: &str, body: &str) -> Result<()> {
    let length = body.len();
    request(
        socket,
        &format!(
            "POST {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

fn request(socket: &Path, request: &str) -> Result<()> {
    let asked = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = asked().io("ask", socket)?;
    let status = answer.split(' ').nth(1);
    if status.is_some_and(|status| ["200", "201"].contains(&status)) {
        return Ok(());
    }
    Err(Error::Unexpected {
        what: request.lines().next().unwrap_or_default().to_owned(),
        why: answer,
    })
}
