//! What can go wrong with one answer.

use super::answer::{Answer, Ending};

/// What one `GET` of an object meets instead of the right answer. Bytes are counted from the start of
/// that answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// None: keeps a place in the queue, so that a later try meets the next fault.
    None,
    /// The connection closes after so many bytes of the body.
    CutAfter(usize),
    /// After so many bytes of the body nothing more comes; the connection stays open.
    StallAfter(usize),
    /// One bit of the body is another.
    WrongByte(usize),
    /// So many bytes are announced and sent, no more.
    ShortBody(usize),
    /// So many bytes too many are announced and sent.
    LongBody(usize),
    /// The whole object comes, whatever range was asked for.
    IgnoreRange,
    /// The same, and the connection closes after so many bytes of it.
    IgnoreRangeAndCutAfter(usize),
    /// The range that comes starts so many bytes later than the one asked for.
    WrongRange(usize),
    /// Another host (`host:port`) has it, under the same path.
    RedirectTo(String),
    /// An error of this status.
    Status(u16),
    /// An error of this status, with this `Retry-After`.
    RetryAfter(u16, String),
}

impl Fault {
    /// The answer with this fault, from the right one to a request for a range.
    pub(super) fn spoil(
        self,
        whole: Answer,
        range: Option<(usize, Option<usize>)>,
        target: &str,
    ) -> Answer {
        let right = |whole: Answer| match range {
            Some((first, last)) => whole.part(first, last),
            None => whole,
        };
        match self {
            Self::None => right(whole),
            Self::CutAfter(bytes) => right(whole).ending(Ending::Cut(bytes)),
            Self::StallAfter(bytes) => right(whole).ending(Ending::Stall(bytes)),
            Self::WrongByte(at) => {
                let mut answer = right(whole);
                let mut body = answer.body.to_vec();
                if let Some(byte) = body.get_mut(answer.from + at) {
                    *byte ^= 1;
                }
                answer.body = body.into();
                answer
            }
            Self::ShortBody(bytes) => {
                let mut answer = right(whole);
                answer.announced = bytes.min(answer.announced);
                answer
            }
            Self::LongBody(bytes) => {
                let mut answer = right(whole);
                let mut body = answer.body.to_vec();
                body.resize(body.len() + bytes, 0);
                answer.announced += bytes;
                answer.body = body.into();
                answer
            }
            Self::IgnoreRange => whole,
            Self::IgnoreRangeAndCutAfter(bytes) => whole.ending(Ending::Cut(bytes)),
            Self::WrongRange(bytes) => {
                let (first, last) = range.unwrap_or((0, None));
                whole.part(first + bytes, last)
            }
            Self::RedirectTo(host) => Answer::redirect(format!("http://{host}{target}")),
            Self::Status(status) => Answer::error(status, "UNKNOWN", "a fault was asked for"),
            Self::RetryAfter(status, text) => {
                Answer::error(status, "TOOMANYREQUESTS", "a fault was asked for")
                    .with("Retry-After", text)
            }
        }
    }
}
