//! All tags of a repository.

use lapstrake_distribution::tags::{first_page, next_page};
use lapstrake_oci::reference::Tag;
use lapstrake_oci::{Repo, bounds};
use reqwest::header::LINK;
use reqwest::{Method, Url};

use crate::client::{Client, puller};
use crate::error::{Class, Error};
use crate::http::{self, Asked};
use crate::request::{Peer, Request};
use crate::retry;

/// Tags that are asked for at once; registries may give fewer.
const PAGE: u32 = 1000;
/// More are not a list any more, but a registry that goes round in a circle.
const MAX_TAGS: usize = 1_000_000;

#[derive(serde::Deserialize)]
struct List {
    /// Some registries say `null` for none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// The tags of a repository, in the registry's order. A mirror has what was pulled through it: it is asked
    /// only if the registry can't be reached.
    ///
    /// # Errors
    /// If the registry refuses or its answer is no list of tags.
    pub async fn tags(&self, repo: &Repo) -> Result<Vec<Tag>, Error> {
        let mut endpoints = self.net.endpoints(repo.registry())?;
        let origin = endpoints.pop().expect("the registry itself is the last");
        let failed = match self.tags_at(&puller(origin, repo), repo).await {
            Err(error) if error.class() == Class::Unavailable => error,
            done => return done,
        };
        for mirror in endpoints {
            if let Ok(tags) = self.tags_at(&puller(mirror, repo), repo).await {
                return Ok(tags);
            }
        }
        Err(failed)
    }

    async fn tags_at(&self, peer: &Peer, repo: &Repo) -> Result<Vec<Tag>, Error> {
        let what = format!("the tags of {}", repo.path());
        let mut next = Some(peer.endpoint.url(&first_page(&peer.path, PAGE))?);
        let mut tags = Vec::new();
        while let Some(url) = next {
            let (page, following) =
                retry::until_done(|| self.page(peer, &what, url.clone())).await?;
            tags.extend(page);
            if tags.len() > MAX_TAGS || following.as_ref() == Some(&url) {
                return Err(answer(peer, &what, "it goes on without an end".to_owned()));
            }
            next = following;
        }
        Ok(tags)
    }

    async fn page(
        &self,
        peer: &Peer,
        what: &str,
        url: Url,
    ) -> Result<(Vec<Tag>, Option<Url>), Error> {
        let request = Request::new(peer, what, Method::GET, url.clone());
        let response = self.net.fetch(&request).await?;
        let next = http::text(response.headers(), &LINK).and_then(next_page);
        let next = match next.map(|link| url.join(link)) {
            None => None,
            // Our credentials are for this server alone.
            Some(Ok(next)) if peer.endpoint.is_at(&next) => Some(next),
            Some(_) => {
                let reason = "its next page is at another server".to_owned();
                return Err(answer(peer, what, reason));
            }
        };
        let asked = Asked {
            registry: &peer.endpoint.name,
            what,
        };
        let body = asked
            .body(response, bounds::MAX_MANIFEST_BYTES as u64)
            .await?;
        let list: List =
            serde_json::from_slice(&body).map_err(|error| answer(peer, what, error.to_string()))?;
        let tags = list.tags.unwrap_or_default().into_iter().map(|text| {
            let tag = text.parse::<Tag>();
            tag.map_err(|error| answer(peer, what, error.to_string()))
        });
        Ok((tags.collect::<Result<_, _>>()?, next))
    }
}

fn answer(peer: &Peer, what: &str, reason: String) -> Error {
    Error::Answer {
        registry: peer.endpoint.name.clone(),
        what: what.to_owned(),
        reason,
    }
}
