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
}

impl Fault {
    /// The answer with this fault, from the right one to a request for the bytes from `first` on.
    pub(super) fn spoil(self, whole: Answer, first: Option<usize>, target: &str) -> Answer {
        let right = |whole: Answer| match first {
            Some(first) => whole.part(first),
            None => whole,
        };
        match self {
            Self::None => right(whole),
            Self::CutAfter(bytes) => ending(right(whole), Ending::Cut(bytes)),
            Self::StallAfter(bytes) => ending(right(whole), Ending::Stall(bytes)),
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
            Self::IgnoreRangeAndCutAfter(bytes) => ending(whole, Ending::Cut(bytes)),
            Self::WrongRange(bytes) => whole.part(first.unwrap_or(0) + bytes),
            Self::RedirectTo(host) => Answer::redirect(format!("http://{host}{target}")),
            Self::Status(status) => Answer::error(status, "UNKNOWN", "a fault was asked for"),
        }
    }
}

fn ending(answer: Answer, ending: Ending) -> Answer {
    Answer { ending, ..answer }
}
