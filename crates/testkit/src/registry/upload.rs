//! Uploads: sessions that grow until a `PUT` names what came, with faults where a test wants them.
//!
//! Each answer has a `Location` with a state that only the next request may use, as docker-registry's
//! has, so that a client that keeps an old one is found out.

use std::collections::{BTreeMap, VecDeque};

use lapstrake_oci::{Algorithm, Digest};

use super::State;
use super::answer::{Answer, Ending};
use super::http::{Incoming, query};

/// What one `PATCH` or `PUT` of an upload meets instead of the right answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadFault {
    /// None: keeps a place in the queue, so that a later request meets the next fault.
    None,
    /// The connection closes after so many bytes of the body, which are kept.
    CutAfter(usize),
    /// The same, and the session is forgotten.
    LoseAfter(usize),
    /// All is done as it should be, but the connection closes before the answer.
    NoAnswer,
    /// One bit of what came becomes another.
    WrongByte,
    /// An error of this status, without or with a `Retry-After`; nothing of the body is kept.
    Status(u16, Option<String>),
}

/// Sessions under way.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    sessions: BTreeMap<String, Session>,
    begun: usize,
    pub(super) faults: VecDeque<UploadFault>,
    /// Whether sessions can be asked where they stand.
    pub(super) are_silent: bool,
    /// Whether the registry knows little: it fails at blobs that come in one request, and tells the
    /// length of what came where the place of the last byte is asked for.
    pub(super) are_simple: bool,
    /// What is told as the least length of a piece.
    pub(super) least_piece: Option<usize>,
}

#[derive(Debug, Default)]
struct Session {
    bytes: Vec<u8>,
    state: usize,
}

impl Uploads {
    /// How much of a request's body is read: all, unless a fault cuts it.
    pub(super) fn take_fault(&mut self) -> UploadFault {
        self.faults.pop_front().unwrap_or(UploadFault::None)
    }
}

impl UploadFault {
    pub(super) fn readable(&self) -> Option<usize> {
        match self {
            Self::CutAfter(bytes) | Self::LoseAfter(bytes) => Some(*bytes),
            _ => None,
        }
    }
}

/// `POST …/blobs/uploads/`: begins a session, or mounts.
pub(super) fn begin(state: &mut State, request: &Incoming, path: &str) -> Answer {
    if request.header("content-length").is_none() {
        return Answer::error(411, "UNSUPPORTED", "a length is required, be it 0");
    }
    if let Some(digest) = query(&request.target, "mount")
        && state.content.blob(&digest).is_some()
        && query(&request.target, "from").is_some_and(|from| state.mountable.contains(&from))
    {
        return created(path, &digest);
    }
    state.uploads.begun += 1;
    let name = format!("u{}", state.uploads.begun);
    state
        .uploads
        .sessions
        .insert(name.clone(), Session::default());
    let answer = progress(202, path, &name, &state.uploads.sessions[&name]);
    match state.uploads.least_piece {
        Some(least) => answer.with("OCI-Chunk-Min-Length", least.to_string()),
        None => answer,
    }
}

/// Anything asked of a session. `whole` is false if the body was cut.
pub(super) fn go_on(
    state: &mut State,
    request: &Incoming,
    path: &str,
    name: &str,
    fault: UploadFault,
) -> Answer {
    let Some(session) = state.uploads.sessions.get_mut(name) else {
        return unknown();
    };
    match request.method.as_str() {
        "GET" if state.uploads.are_silent => return unknown(),
        "GET" => return progress(204, path, name, session),
        "DELETE" => {
            state.uploads.sessions.remove(name);
            return Answer::empty(204);
        }
        "PATCH" | "PUT" => {}
        _ => return Answer::error(405, "UNSUPPORTED", "not for uploads"),
    }
    if query(&request.target, "_state") != Some(session.state.to_string()) {
        return Answer::error(400, "BLOB_UPLOAD_INVALID", "the state is another's");
    }
    if let UploadFault::Status(status, retry_after) = fault {
        let answer = Answer::error(status, "UNKNOWN", "a fault was asked for");
        return match retry_after {
            Some(text) => answer.with("Retry-After", text),
            None => answer,
        };
    }
    if state.uploads.are_simple && request.method == "PUT" && !request.body.is_empty() {
        return Answer::error(500, "UNSUPPORTED", "blobs come in PATCH here");
    }
    if let Some(range) = request.header("content-range") {
        let first = range
            .split_once('-')
            .and_then(|(first, _)| first.parse().ok());
        if first != Some(session.bytes.len()) {
            return progress(416, path, name, session);
        }
    }
    session.bytes.extend_from_slice(&request.body);
    if fault == UploadFault::WrongByte
        && let Some(byte) = session.bytes.last_mut()
    {
        *byte ^= 1;
    }
    if let UploadFault::LoseAfter(_) = fault {
        state.uploads.sessions.remove(name);
        return Answer::empty(500).ending(Ending::Silent);
    }
    if fault.readable().is_some() {
        return Answer::empty(500).ending(Ending::Silent);
    }
    session.state += 1;
    let answer = if request.method == "PATCH" && state.uploads.are_simple {
        progress_to(session.bytes.len(), 202, path, name, session)
    } else if request.method == "PATCH" {
        progress(202, path, name, session)
    } else {
        finish(state, request, path, name)
    };
    if fault == UploadFault::NoAnswer {
        return answer.ending(Ending::Silent);
    }
    answer
}

fn finish(state: &mut State, request: &Incoming, path: &str, name: &str) -> Answer {
    let Some(session) = state.uploads.sessions.remove(name) else {
        return unknown();
    };
    let want: Option<Digest> =
        query(&request.target, "digest").and_then(|digest| digest.parse().ok());
    let algorithm = want.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
    match want {
        Some(want) if algorithm.digest(&session.bytes) == want => {
            state.content.add_blob(session.bytes.into());
            created(path, &want.to_string())
        }
        _ => Answer::error(400, "DIGEST_INVALID", "the digest is another"),
    }
}

fn created(path: &str, digest: &str) -> Answer {
    Answer::empty(201)
        .with("Location", format!("/v2/{path}/blobs/{digest}"))
        .with("Docker-Content-Digest", digest.to_owned())
}

fn progress(status: u16, path: &str, name: &str, session: &Session) -> Answer {
    let last = session.bytes.len().saturating_sub(1);
    progress_to(last, status, path, name, session)
}

fn progress_to(last: usize, status: u16, path: &str, name: &str, session: &Session) -> Answer {
    Answer::empty(status)
        .with(
            "Location",
            format!("/v2/{path}/blobs/uploads/{name}?_state={}", session.state),
        )
        .with("Range", format!("0-{last}"))
}

fn unknown() -> Answer {
    Answer::error(
        404,
        "BLOB_UPLOAD_UNKNOWN",
        "blob upload unknown to registry",
    )
}
