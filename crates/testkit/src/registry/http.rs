//! As much of HTTP/1.1 as registries are asked with: bodies with a length or in chunks, answers with a
//! length.

use std::io::{self, BufRead, Read as _, Write};
use std::time::{Duration, Instant};

use super::answer::{Answer, Ending};

/// Bytes of a request's head that are read.
const MAX_HEAD: u64 = 64 << 10;

/// Bytes that are sent at once by a registry that is slow.
const PACED: usize = 16 << 10;

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) method: String,
    /// Path and query, also if the request was made to a proxy.
    pub(super) target: String,
    /// What was read of it.
    pub(super) body: Vec<u8>,
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
        let (Some(method), Some(mut target)) = (words.next(), words.next()) else {
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
        // To a proxy, the whole URL is sent.
        if let Some(rest) = target.strip_prefix("http://") {
            target = rest
                .split_once('/')
                .map_or_else(|| "/".to_owned(), |(_host, path)| format!("/{path}"));
        }
        Ok(Some(Self {
            method,
            target,
            body: Vec::new(),
            headers,
        }))
    }

    /// Reads the body, or the first `most` bytes of it.
    pub(super) fn read_body(
        &mut self,
        stream: &mut impl BufRead,
        most: Option<usize>,
    ) -> io::Result<()> {
        let most = most.unwrap_or(usize::MAX);
        if self.header("transfer-encoding") != Some("chunked") {
            let length = self.header("content-length").map(str::parse);
            let length = length.transpose().map_err(|_| io::ErrorKind::InvalidData)?;
            self.body = vec![0; length.unwrap_or(0).min(most)];
            return stream.read_exact(&mut self.body);
        }
        while self.body.len() < most {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16);
            let length = length.map_err(|_| io::ErrorKind::InvalidData)?;
            let before = self.body.len();
            self.body.resize(before + length, 0);
            stream.read_exact(&mut self.body[before..])?;
            stream.read_line(&mut String::new())?;
            if length == 0 {
                break;
            }
        }
        self.body.truncate(most);
        Ok(())
    }

    pub(super) fn header(&self, wanted: &str) -> Option<&str> {
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

    /// The bytes wanted, for `bytes=FIRST-` and `bytes=FIRST-LAST`, the only forms that a pull sends.
    pub(super) fn wanted(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self.range()?.strip_prefix("bytes=")?.split_once('-')?;
        let last = match last {
            "" => None,
            last => Some(last.parse().ok()?),
        };
        Some((first.parse().ok()?, last))
    }
}

/// Sends an answer. Whether the connection can serve another request.
pub(super) fn send(
    stream: &mut impl Write,
    answer: &Answer,
    is_head: bool,
    pace: Option<u64>,
) -> io::Result<bool> {
    if answer.ending == Ending::Silent {
        return Ok(false);
    }
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
        Ending::Silent => 0,
    };
    let body = &answer.body[answer.from..answer.from + length];
    match pace {
        None => stream.write_all(body)?,
        Some(pace) => {
            let start = Instant::now();
            let mut sent = 0;
            for piece in body.chunks(PACED) {
                stream.write_all(piece)?;
                sent += piece.len() as u64;
                let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / pace);
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
    }
    Ok(answer.ending == Ending::Whole)
}

/// A parameter of a query, decoded.
pub(super) fn query(target: &str, wanted: &str) -> Option<String> {
    let (_, query) = target.split_once('?')?;
    form(query, wanted).next()
}

/// All parameters of one name, decoded.
pub(super) fn queries(target: &str, wanted: &str) -> Vec<String> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    form(query, wanted).collect()
}

/// The fields of one name in a form.
pub(super) fn form(form: &str, wanted: &str) -> impl Iterator<Item = String> {
    form.split('&').filter_map(move |pair| {
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
