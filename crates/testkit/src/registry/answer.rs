//! An answer as data: what is sent, and where it breaks off.

use std::sync::Arc;

/// An answer. `Content-Length` is `announced`, whatever is sent.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Arc<[u8]>,
    /// The part of `body` that is meant.
    pub(super) from: usize,
    pub(super) announced: usize,
    pub(super) ending: Ending,
}

/// What happens in the middle of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing: all of it is sent.
    Whole,
    /// The connection closes after so many bytes.
    Cut(usize),
    /// Nothing more comes after so many bytes, though the connection stays.
    Stall(usize),
    /// Not even a head: the connection closes.
    Silent,
}

impl Answer {
    pub(super) fn ok(media_type: &str, body: Arc<[u8]>) -> Self {
        Self {
            status: 200,
            headers: vec![("Content-Type", media_type.to_owned())],
            from: 0,
            announced: body.len(),
            body,
            ending: Ending::Whole,
        }
    }

    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new().into(),
            from: 0,
            announced: 0,
            ending: Ending::Whole,
        }
    }

    pub(super) fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    pub(super) fn json(text: String) -> Self {
        Self::ok("application/json", text.into_bytes().into())
    }

    pub(super) fn error(status: u16, code: &str, message: &str) -> Self {
        let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
        Self {
            status,
            ..Self::json(body.to_string())
        }
    }

    pub(super) fn redirect(location: String) -> Self {
        Self {
            status: 307,
            ..Self::json(String::new())
        }
        .with("Location", location)
    }

    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The answer to a request for the bytes from `first` to `last`, or to the end.
    pub(super) fn part(mut self, first: usize, last: Option<usize>) -> Self {
        let whole = self.body.len();
        if first >= whole {
            return Self::error(416, "RANGE_INVALID", "the range is behind the end")
                .with("Content-Range", format!("bytes */{whole}"));
        }
        let last = last.map_or(whole - 1, |last| last.min(whole - 1));
        self.status = 206;
        self.from = first;
        self.announced = (last + 1).saturating_sub(first);
        let range = format!("bytes {first}-{last}/{whole}");
        self.with("Content-Range", range)
    }
}
