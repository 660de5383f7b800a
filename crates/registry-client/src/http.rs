//! Answers: their status made an error, their body read within a bound.

use std::error::Error as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapstrake_distribution::{errors, retry_after};
use reqwest::header::{HeaderMap, HeaderName, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};
use rustls::AlertDescription as Alert;

use crate::error::Error;

/// How long a body may pause. A registry that fetches from elsewhere needs some time to begin.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// What is read of an error's body.
const MAX_ERROR_BYTES: u64 = 64 * 1024;

/// Whom we ask and for what, as errors tell it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) registry: &'a str,
    pub(crate) what: &'a str,
}

impl Asked<'_> {
    /// Lets a success pass and turns everything else into an error with the registry's own words.
    pub(crate) async fn checked(self, answer: Response) -> Result<Response, Error> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let retry_after = text(answer.headers(), &RETRY_AFTER).and_then(|header| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
            retry_after::parse(header, now)
        });
        // The status says enough when the words don't come.
        let body = self.body(answer, MAX_ERROR_BYTES).await.unwrap_or_default();
        let (registry, what) = (self.registry.to_owned(), self.what.to_owned());
        let message = errors::describe(&body);
        Err(match status {
            StatusCode::NOT_FOUND => Error::NotFound {
                registry,
                what,
                message,
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Denied {
                registry,
                what,
                message,
            },
            _ => Error::Status {
                registry,
                what,
                status: status.as_u16(),
                message,
                retry_after,
            },
        })
    }

    /// Reads a whole body of at most `max` bytes.
    pub(crate) async fn body(self, mut answer: Response, max: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(&mut answer).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > max {
                return Err(Error::Length {
                    registry: self.registry.to_owned(),
                    what: self.what.to_owned(),
                    want: max,
                    got: bytes.len() as u64,
                });
            }
        }
        Ok(bytes)
    }

    /// The next piece of a body, or an error if it doesn't come.
    pub(crate) async fn chunk(self, answer: &mut Response) -> Result<Option<bytes::Bytes>, Error> {
        match tokio::time::timeout(STALL, answer.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(self.transport(&error)),
            Err(_elapsed) => Err(self.stalled(STALL)),
        }
    }

    /// Sends a request that has no body to speak of.
    pub(crate) async fn send(self, request: reqwest::RequestBuilder) -> Result<Response, Error> {
        match tokio::time::timeout(STALL, request.send()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.transport(&error)),
            Err(_elapsed) => Err(self.stalled(STALL)),
        }
    }

    pub(crate) fn stalled(self, waited: Duration) -> Error {
        Error::Stalled {
            registry: self.registry.to_owned(),
            what: self.what.to_owned(),
            waited,
        }
    }

    pub(crate) fn transport(self, error: &reqwest::Error) -> Error {
        match tls(error) {
            Some(reason) => Error::Tls {
                registry: self.registry.to_owned(),
                what: self.what.to_owned(),
                reason,
            },
            None => self.unreachable(reason(error)),
        }
    }

    pub(crate) fn unreachable(self, reason: String) -> Error {
        Error::Transport {
            registry: self.registry.to_owned(),
            what: self.what.to_owned(),
            reason,
        }
    }

    pub(crate) fn redirected(self, reason: &str) -> Error {
        Error::Redirect {
            registry: self.registry.to_owned(),
            what: self.what.to_owned(),
            reason: reason.to_owned(),
        }
    }
}

/// A header's text, if it is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The innermost cause: what the network says, without the URL (whose query may hold secrets).
pub(crate) fn reason(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = None;
    while let Some(error) = cause {
        text = Some(error.to_string());
        cause = error.source();
    }
    match text {
        Some(text) => text,
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => "the request failed".to_owned(),
    }
}

/// Why there is no trust between us and the other side, if that is what failed. Another try would
/// not change it.
fn tls(error: &reqwest::Error) -> Option<String> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return is_lasting(error).then(|| error.to_string());
        }
        // The source of an I/O error is that of the error it was made of, which itself is passed over.
        let inner = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn is_lasting(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::CertificateRequired
                | Alert::HandshakeFailure
                | Alert::ProtocolVersion
                | Alert::UnrecognisedName
        ),
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::InvalidMessage(_)
        | rustls::Error::PeerIncompatible(_)
        | rustls::Error::NoCertificatesPresented
        | rustls::Error::UnsupportedNameType => true,
        _ => false,
    }
}

/// Host and port of a URL, as they stand in a reference.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(
        url.port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
    )
}
