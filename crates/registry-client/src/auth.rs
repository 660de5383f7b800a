//! Who we are to a registry: the `Authorization` for a repository, learnt from the challenge of its first
//! refusal and kept until it runs out.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use lapstrake_distribution::challenge::{self, Bearer, Challenge};
use lapstrake_distribution::{endpoint, token};
use lapstrake_oci::Repo;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::error::Error;
use crate::http;
use crate::options::{Credential, Options};

/// A token is not used in the last seconds of its life, since a request takes time to arrive.
const MARGIN: Duration = Duration::from_secs(10);
/// Token answers are small; more is not one.
const MAX_TOKEN_BYTES: u64 = 1 << 20;

struct Known {
    header: HeaderValue,
    until: Option<Instant>,
}

/// What was learnt so far, by repository.
#[derive(Default)]
pub(crate) struct Auth {
    known: Mutex<HashMap<Repo, Known>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Repo, Known>> {
        self.known
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The header to send, if one is known and still good.
    pub(crate) fn header(&self, repo: &Repo) -> Option<HeaderValue> {
        let known = self.locked();
        let known = known.get(repo)?;
        known
            .until
            .is_none_or(|until| Instant::now() < until)
            .then(|| known.header.clone())
    }

    /// Answers a refusal: learns what to send from its challenges.
    pub(crate) async fn answer(
        &self,
        http: &reqwest::Client,
        options: &Options,
        repo: &Repo,
        refusal: &HeaderMap,
    ) -> Result<(), Error> {
        let texts: Vec<_> = refusal
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        let challenges: Vec<_> = texts
            .iter()
            .flat_map(|text| challenge::parse(text))
            .collect();
        let credential = options.credentials.get(repo.registry());
        // A token is preferred, since it can be had without credentials and says less.
        let bearer = challenges.iter().find_map(|challenge| match challenge {
            Challenge::Bearer(bearer) => Some(bearer),
            Challenge::Basic => None,
        });
        let known = if let Some(bearer) = bearer {
            fetch_token(http, options, repo, bearer, credential).await?
        } else if let (true, Some(credential)) =
            (challenges.contains(&Challenge::Basic), credential)
        {
            Known {
                header: basic(credential),
                until: None,
            }
        } else if challenges.contains(&Challenge::Basic) {
            return Err(Error::Denied {
                registry: repo.registry().to_owned(),
                what: repo.path().to_owned(),
                message: "it wants a user and a password, and none are known".to_owned(),
            });
        } else {
            return Err(Error::Challenge {
                registry: repo.registry().to_owned(),
                challenge: texts.join(", "),
            });
        };
        self.locked().insert(repo.clone(), known);
        Ok(())
    }
}

async fn fetch_token(
    http: &reqwest::Client,
    options: &Options,
    repo: &Repo,
    bearer: &Bearer,
    credential: Option<&Credential>,
) -> Result<Known, Error> {
    let what = || format!("a token from {}", bearer.realm);
    let unusable = |reason: &str| Error::Transport {
        registry: repo.registry().to_owned(),
        what: what(),
        reason: reason.to_owned(),
    };
    let mut url = reqwest::Url::parse(&bearer.realm).map_err(|_| unusable("it is not a URL"))?;
    let host = http::authority(&url).ok_or_else(|| unusable("it names no host"))?;
    if url.scheme() != "https" && !options.plain_http.allows(&host) {
        return Err(unusable("credentials are not sent over plain HTTP"));
    }
    {
        let mut query = url.query_pairs_mut();
        if let Some(service) = &bearer.service {
            query.append_pair("service", service);
        }
        let scope = bearer
            .scope
            .clone()
            .unwrap_or_else(|| endpoint::pull_scope(repo));
        query.append_pair("scope", &scope);
    }
    let mut request = http.get(url);
    if let Some(credential) = credential {
        request = request.header(AUTHORIZATION, basic(credential));
    }
    let answer = request
        .send()
        .await
        .map_err(|error| unusable(&http::reason(&error)))?;
    let answer = http::checked(answer, repo, &what()).await?;
    let body = http::body(answer, repo, &what(), MAX_TOKEN_BYTES).await?;
    let token = token::parse(&body).ok_or_else(|| unusable("its answer holds no token"))?;
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.secret))
        .map_err(|_| unusable("the token has characters that no header may have"))?;
    header.set_sensitive(true);
    let until = Instant::now().checked_add(token.lifetime.saturating_sub(MARGIN));
    Ok(Known { header, until })
}

fn basic(credential: &Credential) -> HeaderValue {
    let pair = format!("{}:{}", credential.username, credential.password);
    let mut header = HeaderValue::from_str(&format!("Basic {}", base64(pair.as_bytes())))
        .expect("base64 has only characters that a header may have");
    header.set_sensitive(true);
    header
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        let group = group << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let is_padding = digit > chunk.len();
            let index = group >> (18 - 6 * digit) & 63;
            text.push(if is_padding {
                '='
            } else {
                char::from(DIGITS[index])
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (text, coded) in cases {
            assert_eq!(base64(text.as_bytes()), coded);
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let credential = Credential {
            username: "me".to_owned(),
            password: "hush".to_owned(),
        };
        assert!(!format!("{credential:?} {:?}", basic(&credential)).contains("hush"));
    }
}
