//! Connections: each gets a thread, which reads a request, decides the answer and sends it.

use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use lapstrake_oci::Algorithm;

use super::answer::{Answer, Ending};
use super::http::{self, Incoming};
use super::upload::{self, UploadFault};
use super::{Request, Shared, State};

/// How often a stalled answer looks whether the registry still runs.
const STALL_STEP: Duration = Duration::from_millis(20);

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in listener.incoming() {
        if shared.is_stopped() {
            return;
        }
        let Ok(connection) = connection else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that goes away is no fault of the registry's; the test sees it elsewhere.
            drop(talk(&connection, &shared));
        });
    }
}

fn talk(connection: &TcpStream, shared: &Shared) -> io::Result<()> {
    connection.set_nodelay(true)?;
    shared.state().connections.push(connection.try_clone()?);
    let mut input = BufReader::new(connection);
    let mut output = connection;
    while let Some(mut request) = Incoming::read(&mut input)? {
        let is_piece = matches!(request.method.as_str(), "PATCH" | "PUT")
            && request.target.contains("/blobs/uploads/");
        let fault = if is_piece {
            shared.state().uploads.take_fault()
        } else {
            UploadFault::None
        };
        request.read_body(&mut input, fault.readable())?;
        let (answer, delay, pace) = {
            let answer = decide(&request, shared, fault);
            let state = shared.state();
            (answer, state.delay, state.pace)
        };
        std::thread::sleep(delay);
        let is_open = http::send(&mut output, &answer, request.method == "HEAD", pace)?;
        if matches!(answer.ending, Ending::Stall(_)) {
            while !shared.is_stopped() {
                std::thread::sleep(STALL_STEP);
            }
        }
        if !is_open {
            break;
        }
    }
    // The copy kept for the end holds the connection open, so closing this one is not enough.
    connection.shutdown(std::net::Shutdown::Both)
}

fn decide(request: &Incoming, shared: &Shared, fault: UploadFault) -> Answer {
    let mut state = shared.state();
    state.requests.push(Request {
        method: request.method.clone(),
        target: request.target.clone(),
        authorization: request.authorization().map(str::to_owned),
        range: request.range().map(str::to_owned),
        host: request.header("host").unwrap_or_default().to_owned(),
        meta: request.header("x-meta-test").map(str::to_owned),
        body_bytes: request.body.len(),
    });
    let path = request.target.split('?').next().unwrap_or_default();
    if path == "/token" {
        return state.tokens.hand_out(&shared.access, request);
    }
    let host = shared.address.to_string();
    if path == "/v2/" {
        let refusal = state.tokens.refusal(&shared.access, request, &host, "");
        return refusal.unwrap_or_else(|| Answer::json("{}".to_owned()));
    }
    // From the right, since a repository may have such words in its name.
    let Some((path, object)) = path.strip_prefix("/v2/").and_then(|path| {
        let (path, name) = path.rsplit_once('/')?;
        let (path, kind) = path.rsplit_once('/')?;
        Some((path, (kind, name)))
    }) else {
        return Answer::error(404, "UNSUPPORTED", "no such endpoint");
    };
    let repository = path.strip_suffix("/blobs").unwrap_or(path);
    if let Some(refusal) = state
        .tokens
        .refusal(&shared.access, request, &host, repository)
    {
        return refusal;
    }
    match (request.method.as_str(), object) {
        ("GET" | "HEAD", ("blobs" | "manifests", _)) => serve(&mut state, request, path, object),
        ("GET", ("tags", "list")) => list_tags(&state, request, path),
        ("PUT", ("manifests", name)) => put_manifest(&mut state, request, path, name),
        (_, ("uploads", name)) => {
            let path = path.strip_suffix("/blobs").unwrap_or(path);
            if request.method == "POST" && name.is_empty() {
                upload::begin(&mut state, request, path)
            } else {
                upload::go_on(&mut state, request, path, name, fault)
            }
        }
        _ => Answer::error(405, "UNSUPPORTED", "no such method"),
    }
}

fn list_tags(state: &State, request: &Incoming, path: &str) -> Answer {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .clone()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    };
    let asked = value("n").and_then(|n| n.parse::<usize>().ok());
    let most = asked
        .unwrap_or(usize::MAX)
        .min(state.page.unwrap_or(usize::MAX));
    let tags = state.content.tags(path);
    if tags.is_empty() {
        return Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry");
    }
    let last = value("last").unwrap_or_default();
    let mut rest = tags.iter().filter(|tag| tag.as_str() > last);
    let page: Vec<_> = rest.by_ref().take(most).collect();
    let answer = Answer::json(serde_json::json!({ "name": path, "tags": page }).to_string());
    match (page.last(), rest.next()) {
        (Some(last), Some(_)) => {
            let link = format!("</v2/{path}/tags/list?n={most}&last={last}>; rel=\"next\"");
            answer.with("Link", link)
        }
        _ => answer,
    }
}

fn put_manifest(state: &mut State, request: &Incoming, path: &str, name: &str) -> Answer {
    let media_type = request.header("content-type").unwrap_or_default();
    let digest = Algorithm::Sha256.digest(&request.body).to_string();
    let tag = (name != digest).then_some(name);
    if name.contains(':') && tag.is_some() {
        return Answer::error(400, "DIGEST_INVALID", "the digest is another");
    }
    let raw = request.body.clone().into();
    state.content.add_manifest(path, tag, media_type, raw);
    Answer::empty(201)
        .with("Location", format!("/v2/{path}/manifests/{digest}"))
        .with("Docker-Content-Digest", digest)
}

fn serve(state: &mut State, request: &Incoming, path: &str, (kind, name): (&str, &str)) -> Answer {
    let (digest, whole) = match kind {
        "blobs" => match state.content.blob(name) {
            Some((digest, bytes)) => (digest, Answer::ok("application/octet-stream", bytes)),
            None => return Answer::error(404, "BLOB_UNKNOWN", "blob unknown to registry"),
        },
        "manifests" => match state.content.manifest(path, name) {
            Some((digest, stored)) => (digest, Answer::ok(&stored.media_type, stored.raw)),
            None => return Answer::error(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        },
        _ => return Answer::error(404, "UNSUPPORTED", "no such endpoint"),
    };
    let whole = whole.with("Docker-Content-Digest", digest.to_string());
    let fault = match request.method.as_str() {
        "GET" => state.take_fault(&digest),
        _ => None,
    };
    let fault = fault.unwrap_or(super::Fault::None);
    fault.spoil(whole, request.wanted(), &request.target)
}
