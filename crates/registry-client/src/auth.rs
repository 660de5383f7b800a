//! Who we are to a registry: the `Authorization` for a scope, learnt from the challenge of the first
//! refusal and kept until it runs out or is refused.
//!
//! Of many requests that are refused together, one fetches a token, and the others wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapstrake_distribution::challenge::{self, Bearer, Challenge};
use lapstrake_distribution::scope::Scope;
use lapstrake_distribution::token;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, StatusCode, Url};

use crate::credentials::Credential;
use crate::error::Error;
use crate::http::{self, Asked};
use crate::net::Net;
use crate::request::Peer;

/// A token is not used in the last seconds of its life, since a request takes time to arrive.
const MARGIN: Duration = Duration::from_secs(10);
/// Token answers are small; more is not one.
const MAX_TOKEN_BYTES: u64 = 1 << 20;
/// What we call ourselves where OAuth2 wants a name.
const CLIENT_ID: &str = "lapstrake";

/// A registry's name and what is to be done there.
type Key = (String, Scope);

/// What was learnt for a key.
#[derive(Clone)]
struct Known {
    header: HeaderValue,
    until: Option<Instant>,
    /// How the registry asked. It may refuse later without asking again.
    challenges: Vec<Challenge>,
}

/// What was learnt so far.
#[derive(Default)]
pub(crate) struct Auth {
    known: Mutex<HashMap<Key, Known>>,
    /// Whoever learns holds the key's gate.
    gates: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

fn key(peer: &Peer) -> Key {
    (peer.endpoint.name.clone(), peer.scope.clone())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Auth {
    /// The header to send, if one is known and still good.
    pub(crate) fn header(&self, peer: &Peer) -> Option<HeaderValue> {
        let known = locked(&self.known);
        let known = known.get(&key(peer))?;
        known
            .until
            .is_none_or(|until| Instant::now() < until)
            .then(|| known.header.clone())
    }

    /// Answers a refusal of what was sent: learns what to send instead, from its challenges. Whether
    /// there is anything else to send.
    pub(crate) async fn answer(
        &self,
        net: &Net,
        peer: &Peer,
        sent: Option<&HeaderValue>,
        refusal: &HeaderMap,
    ) -> Result<bool, Error> {
        let key = key(peer);
        let gate = Arc::clone(locked(&self.gates).entry(key.clone()).or_default());
        let _alone = gate.lock().await;
        if let Some(header) = self.header(peer)
            && Some(&header) != sent
        {
            return Ok(true);
        }
        let texts: Vec<_> = refusal
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let mut challenges: Vec<_> = texts
            .iter()
            .flat_map(|text| challenge::parse(text))
            .collect();
        if challenges.is_empty() && texts.is_empty() {
            let known = locked(&self.known)
                .get(&key)
                .map(|known| known.challenges.clone());
            challenges = match known {
                Some(challenges) => challenges,
                None => ask_at_the_door(net, peer).await?,
            };
            if challenges.is_empty() {
                return Ok(false);
            }
        }
        let (header, until) = learn(net, peer, &challenges, &texts).await?;
        let is_other = Some(&header) != sent;
        let known = Known {
            header,
            until,
            challenges,
        };
        locked(&self.known).insert(key, known);
        Ok(is_other)
    }
}

/// What `/v2/` wants. Some registries say it nowhere else, since Docker asks there first.
async fn ask_at_the_door(net: &Net, peer: &Peer) -> Result<Vec<Challenge>, Error> {
    let asked = Asked {
        registry: &peer.endpoint.name,
        what: "the way to authenticate",
    };
    let url = peer.endpoint.url("/v2/")?;
    let request = net.builder(peer, Method::GET, &url, None).await?;
    let answer = asked.send(request).await?;
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Ok(Vec::new());
    }
    let texts = answer.headers().get_all(WWW_AUTHENTICATE).iter();
    Ok(texts
        .filter_map(|value| value.to_str().ok())
        .flat_map(challenge::parse)
        .collect())
}

async fn learn(
    net: &Net,
    peer: &Peer,
    challenges: &[Challenge],
    texts: &[&str],
) -> Result<(HeaderValue, Option<Instant>), Error> {
    let registry = &peer.endpoint.name;
    let credentials = &net.options.credentials;
    // A token is preferred, since it can be had without credentials and says less.
    let bearer = challenges.iter().find_map(|challenge| match challenge {
        Challenge::Bearer(bearer) => Some(bearer),
        Challenge::Basic => None,
    });
    if bearer.is_none() && !challenges.contains(&Challenge::Basic) {
        return Err(Error::Challenge {
            registry: registry.clone(),
            challenge: texts.join(", "),
        });
    }
    let credential = credentials.find(registry, &peer.path).await?;
    match (bearer, credential) {
        (_, Some(Credential::Registry(token))) => Ok((bearer_header(registry, &token)?, None)),
        (Some(bearer), credential) => fetch_token(net, peer, bearer, credential.as_ref()).await,
        (None, Some(Credential::Password { username, password })) => {
            Ok((basic(&username, &password), None))
        }
        (None, Some(Credential::Identity(_))) => Err(Error::Credentials {
            registry: registry.clone(),
            reason: "an identity token is known, but it asks for a password".to_owned(),
        }),
        (None, None) => Err(Error::Denied {
            registry: registry.clone(),
            what: peer.path.clone(),
            message: "it wants a user and a password, and none are known".to_owned(),
        }),
    }
}

async fn fetch_token(
    net: &Net,
    peer: &Peer,
    bearer: &Bearer,
    credential: Option<&Credential>,
) -> Result<(HeaderValue, Option<Instant>), Error> {
    let what = format!("a token from {}", shown(&bearer.realm));
    let asked = Asked {
        registry: &peer.endpoint.name,
        what: &what,
    };
    let unusable = |reason: &str| Error::Credentials {
        registry: peer.endpoint.name.clone(),
        reason: format!("{reason} ({what})"),
    };
    let url = Url::parse(&bearer.realm).map_err(|_| unusable("its token server has no URL"))?;
    let host = http::authority(&url).ok_or_else(|| unusable("its token server has no host"))?;
    let may_be_asked = match url.scheme() {
        "https" => true,
        "http" => net.options.plain_http.allows(&host),
        _ => false,
    };
    if !may_be_asked {
        return Err(unusable("credentials are not sent over plain HTTP"));
    }
    let client = net.to(&host).await?;
    // What it asks for, and what we know that we need.
    let scope = Scope::parse(bearer.scope.as_deref().unwrap_or_default()).and(&peer.scope);
    let request = match credential {
        Some(Credential::Identity(token)) => by_identity(&client, url, bearer, &scope, token),
        Some(Credential::Password { username, password }) => {
            by_query(&client, url, bearer, &scope).header(AUTHORIZATION, basic(username, password))
        }
        Some(Credential::Registry(_)) | None => by_query(&client, url, bearer, &scope),
    };
    let answer = asked.send(request).await?;
    let answer = asked.checked(answer).await?;
    let body = asked.body(answer, MAX_TOKEN_BYTES).await?;
    let token = token::parse(&body).ok_or_else(|| unusable("the answer holds no token"))?;
    let until = Instant::now().checked_add(token.lifetime.saturating_sub(MARGIN));
    Ok((bearer_header(&peer.endpoint.name, &token.secret)?, until))
}

/// As the token specification has it: `GET realm?service=…&scope=…`.
fn by_query(
    client: &reqwest::Client,
    mut url: Url,
    bearer: &Bearer,
    scope: &Scope,
) -> RequestBuilder {
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        for item in scope.items() {
            query.append_pair("scope", &item);
        }
    }
    client.get(url)
}

/// As its OAuth2 variant has it: a form with the refresh token, which no log of URLs then shows.
fn by_identity(
    client: &reqwest::Client,
    url: Url,
    bearer: &Bearer,
    scope: &Scope,
    token: &str,
) -> RequestBuilder {
    let mut form = url.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("grant_type", "refresh_token")
        .append_pair("refresh_token", token)
        .append_pair("service", bearer.service.as_deref().unwrap_or_default())
        .append_pair("client_id", CLIENT_ID)
        .append_pair("scope", &scope.to_string());
    client
        .post(url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.query().unwrap_or_default().to_owned())
}

/// A URL without what may be a secret in it.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

fn bearer_header(registry: &str, token: &str) -> Result<HeaderValue, Error> {
    let header = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut header = header.map_err(|_| Error::Credentials {
        registry: registry.to_owned(),
        reason: "its token has characters that no header may have".to_owned(),
    })?;
    header.set_sensitive(true);
    Ok(header)
}

fn basic(username: &str, password: &str) -> HeaderValue {
    let pair = STANDARD.encode(format!("{username}:{password}"));
    let mut header = HeaderValue::from_str(&format!("Basic {pair}"))
        .expect("base64 has only characters that a header may have");
    header.set_sensitive(true);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_not_shown() {
        let headers = [basic("me", "hush"), bearer_header("r", "hush").unwrap()];
        assert!(!format!("{headers:?}").contains("hush"));
        assert_eq!(headers[0].to_str().unwrap(), "Basic bWU6aHVzaA==");
    }

    #[test]
    fn a_token_that_is_none_is_not_shown_either() {
        let error = bearer_header("r", "hush\n").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hush"));
    }
}
