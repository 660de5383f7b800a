//! As much of HTTP/1.1 as a pull needs: requests without bodies, answers with a length.

use std::io::{self, BufRead, Read as _, Write};

use super::answer::{Answer, Ending};

/// Bytes of a request's head that are read.
const MAX_HEAD: u64 = 64 << 10;

/// A request's head.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) method: String,
    pub(super) target: String,
    headers: Vec<(String, String)>,
}

impl Incoming {
    /// Reads a head; `None` at the end of the connection.
    pub(super) fn read(stream: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut stream = stream.take(MAX_HEAD);
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut words = line.split_whitespace().map(str::to_owned);
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        Ok(Some(Self {
            method,
            target,
            headers,
        }))
    }

    fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(name, _)| name == wanted)?;
        Some(value)
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    pub(super) fn range(&self) -> Option<&str> {
        self.header("range")
    }

    /// The first byte wanted, for `bytes=FIRST-`, the only form that a pull sends.
    pub(super) fn first_byte(&self) -> Option<usize> {
        let range = self.range()?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// Sends an answer. Whether the connection can serve another request.
pub(super) fn send(stream: &mut impl Write, answer: &Answer, is_head: bool) -> io::Result<bool> {
    let mut head = format!(
        "HTTP/1.1 {} Testkit\r\nContent-Length: {}\r\n",
        answer.status, answer.announced
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if is_head {
        return Ok(true);
    }
    let length = match answer.ending {
        Ending::Whole => answer.announced,
        Ending::Cut(bytes) | Ending::Stall(bytes) => bytes.min(answer.announced),
    };
    stream.write_all(&answer.body[answer.from..answer.from + length])?;
    Ok(answer.ending == Ending::Whole)
}

/// A parameter of a query, decoded.
pub(super) fn query(target: &str, wanted: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name == wanted).then(|| decode(value))
    })
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let escaped = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(match (first, escaped) {
            (_, Some(byte)) => {
                rest = &after[2..];
                byte
            }
            (b'+', None) => b' ',
            (byte, None) => *byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
