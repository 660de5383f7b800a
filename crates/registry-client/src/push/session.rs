//! One upload: begun, fed, asked where it stands when a connection broke, begun again if it is lost, and
//! finished.
//!
//! A registry's answers give the next `Location`, which may hold a state that only the next request may
//! use. So the last one is kept, and nothing is made of its parts.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lapstrake_distribution::{endpoint, range};
use lapstrake_oci::Digest;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use reqwest::{Body as HttpBody, Method, Response, StatusCode, Url};

use super::body::{self, Body, Progress};
use super::source::{ByteStream, Source};
use super::{Pushed, Way, same_digest};
use crate::client::Client;
use crate::error::{Class, Error};
use crate::http::{self, Asked};
use crate::options::Pushing;
use crate::request::{Peer, Request, is_refusal};
use crate::retry::{self, Patience};

const OCTETS: &str = "application/octet-stream";
/// What is sent at once to a registry that refuses a whole blob as too large, or a proxy before it.
const FALLBACK_PIECE: u64 = 16 << 20;
/// How a registry tells the least length of a piece that is not the last.
const LEAST_PIECE: HeaderName = HeaderName::from_static("oci-chunk-min-length");
/// Pieces are held in memory; a registry may not ask for any size.
const MAX_LEAST_PIECE: u64 = 64 << 20;

/// An upload and where it stands.
struct Place {
    url: Url,
    /// Bytes that the registry has.
    has: u64,
    least_piece: u64,
}

pub(super) struct Session<'a, S> {
    client: &'a Client,
    peer: &'a Peer,
    want: Option<&'a Digest>,
    source: &'a mut S,
    what: String,
    progress: Arc<Progress>,
    pushing: Pushing,
    /// Whether the registry failed at a blob that came in one request.
    was_whole_refused: bool,
    /// The source where a piece ended, with what was read of it but not sent. It can't be shared between
    /// threads, which a push may be: nobody ever waits for this lock.
    open: Mutex<Option<Reading>>,
}

/// A source being read in pieces.
struct Reading {
    stream: ByteStream,
    at: u64,
    left: Bytes,
}

impl<'a, S: Source> Session<'a, S> {
    pub(super) fn new(
        client: &'a Client,
        peer: &'a Peer,
        want: Option<&'a Digest>,
        source: &'a mut S,
    ) -> Self {
        let what = want.map_or_else(
            || format!("a new blob of {}", peer.path),
            |digest| format!("the blob {digest}"),
        );
        Self {
            client,
            peer,
            want,
            source,
            what,
            progress: Progress::new(want.is_some()),
            pushing: client.net.options.pushing,
            was_whole_refused: false,
            open: Mutex::default(),
        }
    }

    fn opened_before(&mut self) -> &mut Option<Reading> {
        self.open.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            registry: &self.peer.endpoint.name,
            what: &self.what,
        }
    }

    /// Pushes the blob, into an upload that was begun already if there is one.
    pub(super) async fn run(mut self, begun: Option<Url>) -> Result<Pushed, Error> {
        let mut place = match begun {
            Some(url) => Place {
                url,
                has: 0,
                least_piece: 0,
            },
            None => self.begin().await?,
        };
        let mut patience = Patience::default();
        let mut best = 0;
        loop {
            let error = match self.send(&mut place).await {
                Ok(digest) => {
                    return Ok(Pushed {
                        digest,
                        way: Way::Sent(self.progress.given()),
                    });
                }
                Err(error) => error,
            };
            self.opened_before().take();
            if let (Error::Status { status: 413, .. }, Pushing::Whole) = (&error, self.pushing) {
                self.pushing = Pushing::Pieces(FALLBACK_PIECE);
                place = self.begin().await?;
                continue;
            }
            // Docker and skopeo send a blob and then its name, so a registry may know nothing else.
            if let Error::Status {
                status: 500 | 501, ..
            } = &error
            {
                self.was_whole_refused = true;
            }
            patience.received(place.has.saturating_sub(best));
            best = best.max(place.has);
            let Some(pause) = patience.after(&error) else {
                return Err(error);
            };
            tokio::time::sleep(pause).await;
            place = match self.find_out(&place).await? {
                Some(place) => place,
                None => match self.arrived().await? {
                    Some(pushed) => return Ok(pushed),
                    None => self.begin().await?,
                },
            };
            patience.received(place.has.saturating_sub(best));
            best = best.max(place.has);
        }
    }

    /// An upload that is no more may be one that was finished, though its last answer was lost.
    async fn arrived(&self) -> Result<Option<Pushed>, Error> {
        let is_named = self.want.is_some() || self.progress.length().is_some();
        let Some(digest) = self.digest().filter(|_| is_named) else {
            return Ok(None);
        };
        let size = self.client.has_blob(self.peer, &digest).await?;
        Ok(size.map(|_| Pushed {
            digest,
            way: Way::Sent(self.progress.given()),
        }))
    }

    /// The blob's name, once all of it was read.
    fn digest(&self) -> Option<Digest> {
        self.want.cloned().or_else(|| self.progress.digest())
    }

    async fn begin(&self) -> Result<Place, Error> {
        let url = self
            .peer
            .endpoint
            .url(&endpoint::uploads(&self.peer.path))?;
        let request = Request::new(self.peer, &self.what, Method::POST, url.clone());
        let answer = retry::until_done(|| self.client.net.fetch(&request)).await?;
        let least_piece = http::text(answer.headers(), &LEAST_PIECE)
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        Ok(Place {
            url: self.client.net.target(&url, &answer, self.asked())?,
            has: 0,
            least_piece: u64::min(least_piece, MAX_LEAST_PIECE),
        })
    }

    /// Asks where the upload stands; `None` if that is lost, or is not known for certain.
    async fn find_out(&self, place: &Place) -> Result<Option<Place>, Error> {
        let request = Request::new(self.peer, &self.what, Method::GET, place.url.clone());
        let answer = match retry::until_done(|| self.client.net.fetch(&request)).await {
            Ok(answer) => answer,
            Err(error) if error.class() == Class::Unavailable => return Err(error),
            Err(_lost) => return Ok(None),
        };
        let has = http::text(answer.headers(), &RANGE).and_then(range::parse_received);
        let Some(has) = has.filter(|has| *has <= self.progress.reached()) else {
            return Ok(None);
        };
        let url = self.client.net.target(&place.url, &answer, self.asked());
        Ok(Some(Place {
            url: url.unwrap_or_else(|_| place.url.clone()),
            has,
            least_piece: place.least_piece,
        }))
    }

    /// Sends what the registry does not have yet, and finishes.
    async fn send(&mut self, place: &mut Place) -> Result<Digest, Error> {
        let was_resumed = place.has > 0;
        let pieces = match self.pushing {
            Pushing::Whole => None,
            Pushing::Pieces(bytes) => Some(bytes.max(place.least_piece).max(1)),
        };
        match (pieces, self.want, self.source.length()) {
            (Some(bytes), _, _) => self.send_pieces(place, bytes).await?,
            (None, Some(digest), Some(length)) if !was_resumed && !self.was_whole_refused => {
                // All in one request, which says at once what it is.
                let body = self.body(0, Some(length)).await?;
                let url = with_digest(&place.url, digest);
                let answer = self.request(Method::PUT, url, body, 0, Some(length));
                let answer = answer.await?;
                let answer = self.judge(answer, place, was_resumed).await?;
                same_digest(answer.headers(), digest, self.asked().registry)?;
                return Ok(digest.clone());
            }
            (None, _, length) => {
                let length = length.or(self.progress.length());
                let left = length.map(|length| length.saturating_sub(place.has));
                if left != Some(0) {
                    let body = self.body(place.has, left).await?;
                    let (url, from) = (place.url.clone(), place.has);
                    let answer = self.request(Method::PATCH, url, body, from, left).await?;
                    self.take(answer, place).await?;
                }
            }
        }
        let digest = self.digest().expect("all was read, so it has a name");
        let url = with_digest(&place.url, &digest);
        let empty = HttpBody::from(Bytes::new());
        let answer = self.request(Method::PUT, url, empty, place.has, Some(0));
        let answer = answer.await?;
        let answer = self.judge(answer, place, was_resumed).await?;
        same_digest(answer.headers(), &digest, self.asked().registry)?;
        Ok(digest)
    }

    async fn send_pieces(&mut self, place: &mut Place, bytes: u64) -> Result<(), Error> {
        loop {
            let piece = self.piece(place.has, bytes).await?;
            if piece.is_empty() {
                self.progress.ends_at(place.has);
                return Ok(());
            }
            let is_last = (piece.len() as u64) < bytes;
            let length = Some(piece.len() as u64);
            let body = self.counted(one(piece), place.has, length);
            let (url, from) = (place.url.clone(), place.has);
            let answer = self.request(Method::PATCH, url, body, from, length).await?;
            self.take(answer, place).await?;
            if is_last {
                self.progress.ends_at(place.has);
                return Ok(());
            }
        }
    }

    /// The next piece, from a byte on; shorter than wanted only at the end.
    async fn piece(&mut self, from: u64, bytes: u64) -> Result<Bytes, Error> {
        let mut reading = match self.opened_before().take() {
            Some(reading) if reading.at == from => reading,
            _ => Reading {
                stream: self.opened(from).await?,
                at: from,
                left: Bytes::new(),
            },
        };
        let wanted = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut piece = BytesMut::new();
        loop {
            let part = reading.left.len().min(wanted - piece.len());
            piece.extend_from_slice(&reading.left.split_to(part));
            if piece.len() == wanted {
                break;
            }
            match reading.stream.next().await {
                Some(chunk) => reading.left = chunk.map_err(|error| self.unreadable(error))?,
                None => break,
            }
        }
        reading.at += piece.len() as u64;
        self.opened_before().replace(reading);
        Ok(piece.freeze())
    }

    async fn opened(&mut self, from: u64) -> Result<ByteStream, Error> {
        let stream = self.source.open(from).await;
        stream.map_err(|error| self.unreadable(error))
    }

    async fn body(&mut self, from: u64, length: Option<u64>) -> Result<HttpBody, Error> {
        let stream = self.opened(from).await?;
        Ok(self.counted(stream, from, length))
    }

    fn counted(&self, stream: ByteStream, from: u64, length: Option<u64>) -> HttpBody {
        let end = length.map(|length| from + length);
        HttpBody::wrap_stream(Body::new(stream, &self.progress, from, end))
    }

    fn unreadable(&self, source: std::io::Error) -> Error {
        Error::Source {
            registry: self.peer.endpoint.name.clone(),
            what: self.what.clone(),
            source,
        }
    }

    /// Sends a part of the blob, from a byte on.
    async fn request(
        &self,
        method: Method,
        url: Url,
        body: HttpBody,
        from: u64,
        length: Option<u64>,
    ) -> Result<Response, Error> {
        let net = &self.client.net;
        let sent = net.auth.header(self.peer);
        let mut request = net
            .builder(self.peer, method.clone(), &url, sent.as_ref())
            .await?
            .header(CONTENT_TYPE, OCTETS)
            .body(body);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
            // Of a whole blob it would say nothing, and some registries read it as a piece then.
            if method == Method::PATCH && length > 0 {
                request = request.header(CONTENT_RANGE, format!("{from}-{}", from + length - 1));
            }
        }
        let answer = body::send(self.asked(), request, &self.progress).await?;
        if is_refusal(answer.status(), sent.is_some())
            && net
                .auth
                .answer(net, self.peer, sent.as_ref(), answer.headers())
                .await?
        {
            return Err(self.asked().unreachable("the token has run out".to_owned()));
        }
        Ok(answer)
    }

    /// After a part: the registry has it, and says where to go on.
    async fn take(&self, answer: Response, place: &mut Place) -> Result<(), Error> {
        let answer = self.judge(answer, place, true).await?;
        place.url = self
            .client
            .net
            .target(&place.url, &answer, self.asked())
            .unwrap_or_else(|_| place.url.clone());
        let sent = self.progress.at();
        let has = http::text(answer.headers(), &RANGE).and_then(range::parse_received);
        // It can't have more than was sent: who says so tells the length and not the last byte's place.
        if has.is_some_and(|has| has < sent) {
            return Err(self.asked().unreachable(format!(
                "it has {} of {sent} bytes that were sent",
                has.unwrap_or_default()
            )));
        }
        place.has = sent;
        Ok(())
    }

    /// Makes an error of an answer that is none; one that another try may change if the upload is
    /// lost, or out of step.
    async fn judge(
        &self,
        answer: Response,
        place: &Place,
        may_be_out_of_step: bool,
    ) -> Result<Response, Error> {
        let status = answer.status();
        if status.is_redirection() {
            return Err(self.asked().redirected("in the middle of an upload"));
        }
        let error = match self.asked().checked(answer).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let is_lost = status == StatusCode::NOT_FOUND
            || status == StatusCode::RANGE_NOT_SATISFIABLE
            || (status == StatusCode::BAD_REQUEST && may_be_out_of_step);
        if is_lost {
            return Err(self.asked().unreachable(format!(
                "the upload was lost after {} bytes: {error}",
                place.has
            )));
        }
        Err(error)
    }
}

fn one(chunk: Bytes) -> ByteStream {
    Box::pin(futures_util::stream::iter([Ok(chunk)]))
}

fn with_digest(url: &Url, digest: &Digest) -> Url {
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    url
}
