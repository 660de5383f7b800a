//! One request: with authentication answered and redirects followed.

use bytes::Bytes;
use lapstrake_distribution::scope::Scope;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION, RANGE,
};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::http::{self, Asked};
use crate::net::Net;

/// As browsers do, more is a loop.
const MAX_REDIRECTS: usize = 10;

/// Whom we ask, and what we must be allowed to do there.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    pub(crate) endpoint: Endpoint,
    /// The repository's path there.
    pub(crate) path: String,
    pub(crate) scope: Scope,
}

/// A request that can be sent more than once.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) what: &'a str,
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) accept: Option<String>,
    pub(crate) range: Option<String>,
    /// Its type and itself.
    pub(crate) body: Option<(String, Bytes)>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(peer: &'a Peer, what: &'a str, method: Method, url: Url) -> Self {
        Self {
            peer,
            what,
            method,
            url,
            accept: None,
            range: None,
            body: None,
        }
    }

    fn asked(&self) -> Asked<'a> {
        Asked {
            registry: &self.peer.endpoint.name,
            what: self.what,
        }
    }
}

impl Net {
    /// Sends a request; only a success is an answer.
    pub(crate) async fn fetch(&self, request: &Request<'_>) -> Result<Response, Error> {
        let answer = self.ask(request).await?;
        request.asked().checked(answer).await
    }

    /// Sends a request. Whatever the registry answers is an answer.
    pub(crate) async fn ask(&self, request: &Request<'_>) -> Result<Response, Error> {
        let sent = self.auth.header(request.peer);
        let answer = self.follow(request, sent.as_ref()).await?;
        if !is_refusal(answer.status(), sent.is_some()) {
            return Ok(answer);
        }
        let is_other = self
            .auth
            .answer(self, request.peer, sent.as_ref(), answer.headers())
            .await?;
        if !is_other {
            return Ok(answer);
        }
        let header = self.auth.header(request.peer);
        self.follow(request, header.as_ref()).await
    }

    async fn follow(
        &self,
        request: &Request<'_>,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let mut url = request.url.clone();
        for _hop in 0..=MAX_REDIRECTS {
            let mut builder = self
                .builder(request.peer, request.method.clone(), &url, authorization)
                .await?;
            if let Some(accept) = &request.accept {
                builder = builder.header(ACCEPT, accept);
            }
            if let Some(range) = &request.range {
                builder = builder.header(RANGE, range);
            }
            if let Some((media_type, body)) = &request.body {
                builder = builder.header(CONTENT_TYPE, media_type).body(body.clone());
            } else if request.method == Method::POST {
                // Some servers refuse a POST that doesn't say so.
                builder = builder.header(CONTENT_LENGTH, 0);
            }
            let answer = request.asked().send(builder).await?;
            if !answer.status().is_redirection() {
                return Ok(answer);
            }
            url = self.target(&url, &answer, request.asked())?;
        }
        Err(request.asked().redirected("in a circle"))
    }

    /// The beginning of a request to a peer, or to where it sends us, which learns nothing of who we are.
    pub(crate) async fn builder(
        &self,
        peer: &Peer,
        method: Method,
        url: &Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<RequestBuilder, Error> {
        let client = self.to(&http::authority(url).unwrap_or_default()).await?;
        let mut builder = client.request(method, url.clone());
        if peer.endpoint.is_at(url) {
            if let Some(authorization) = authorization {
                builder = builder.header(AUTHORIZATION, authorization);
            }
            for (name, value) in self.options.credentials.headers() {
                builder = builder.header(name, value);
            }
        }
        Ok(builder)
    }

    /// Where an answer's `Location` leads, if we may go there.
    pub(crate) fn target(
        &self,
        url: &Url,
        answer: &Response,
        asked: Asked<'_>,
    ) -> Result<Url, Error> {
        let target = http::text(answer.headers(), &LOCATION)
            .and_then(|location| url.join(location).ok())
            .ok_or_else(|| asked.redirected("to nowhere"))?;
        let host = http::authority(&target).unwrap_or_default();
        match target.scheme() {
            "https" => Ok(target),
            "http" if self.options.plain_http.allows(&host) => Ok(target),
            "http" => Err(asked.redirected(&format!(
                "to {host} over plain HTTP, which is spoken only to this machine and to hosts that were named"
            ))),
            _ => Err(asked.redirected("to what is neither https nor http")),
        }
    }
}

/// Whether other credentials might change an answer. Some registries answer with 403 once a token has
/// run out.
pub(crate) fn is_refusal(status: StatusCode, was_known: bool) -> bool {
    status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && was_known)
}
