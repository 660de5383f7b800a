//! Whether a registry takes a user and a password.

use hyper::http::uri::Authority;
use lapstrake_engine::{Client, ClientError, Credential, Credentials, Error};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::Failure;

/// What a client says of a user, with a login and with every request that may go to a registry.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(crate) struct Told {
    username: String,
    password: String,
    /// User and password, in base64.
    auth: String,
    serveraddress: String,
    identitytoken: String,
    registrytoken: String,
}

impl Told {
    /// Who it is; nobody, if nothing is said.
    pub(crate) fn credential(&self) -> Option<Credential> {
        use base64::Engine as _;
        if !self.identitytoken.is_empty() {
            return Some(Credential::Identity(self.identitytoken.clone()));
        }
        if !self.registrytoken.is_empty() {
            return Some(Credential::Registry(self.registrytoken.clone()));
        }
        if !self.username.is_empty() {
            return Some(Credential::Password {
                username: self.username.clone(),
                password: self.password.clone(),
            });
        }
        let pair = base64::engine::general_purpose::STANDARD.decode(&self.auth);
        let pair = String::from_utf8(pair.ok()?).ok()?;
        let (username, password) = pair.split_once(':')?;
        Some(Credential::Password {
            username: username.to_owned(),
            password: password.to_owned(),
        })
    }

    /// The registry, as in references.
    fn registry(&self) -> &str {
        let address = self.serveraddress.trim_start_matches("https://");
        let address = address.trim_start_matches("http://");
        match address.split('/').next().unwrap_or_default() {
            "" | "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        }
    }
}

/// `POST /auth`.
pub(super) async fn auth(mut call: Call) -> Answered {
    let told: Told = call.needed_json().await?;
    let registry = told.registry().to_owned();
    if registry.parse::<Authority>().is_err() {
        return Err(Failure::invalid(format!(
            "unable to parse server address: {registry:?} is no HOST or HOST:PORT"
        )));
    }
    let mut options = call.daemon.settings.registries.clone();
    options.credentials = Credentials::none();
    if let Some(credential) = told.credential() {
        options.credentials = options.credentials.with(&registry, credential);
    }
    let client = Client::new(options).map_err(Error::from)?;
    match client.login(&registry).await {
        Ok(()) => answer::ok(&json!({ "Status": "Login Succeeded", "IdentityToken": "" })),
        Err(error) => {
            let denied = matches!(
                error,
                ClientError::Denied { .. } | ClientError::Challenge { .. }
            );
            let words = format!("login attempt to {registry} failed: {error}");
            Err(if denied {
                Failure::unauthorized(words)
            } else {
                Failure::internal(words)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(json: &str) -> Told {
        serde_json::from_str(json).expect("a login")
    }

    #[test]
    fn a_registry_is_called_as_in_references() {
        for (address, want) in [
            ("", "docker.io"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("http://localhost:5000/v2/", "localhost:5000"),
            ("quay.io", "quay.io"),
        ] {
            let told = Told {
                serveraddress: address.to_owned(),
                ..Told::default()
            };
            assert_eq!(told.registry(), want);
        }
    }

    #[test]
    fn who_it_is_is_said_in_several_ways() {
        let me = Credential::Password {
            username: "me".to_owned(),
            password: "hush".to_owned(),
        };
        let by_words = told(r#"{"username":"me","password":"hush"}"#).credential();
        assert_eq!(by_words, Some(me.clone()));
        assert_eq!(told(r#"{"auth":"bWU6aHVzaA=="}"#).credential(), Some(me));
        assert_eq!(
            told(r#"{"identitytoken":"t"}"#).credential(),
            Some(Credential::Identity("t".to_owned()))
        );
        assert_eq!(told("{}").credential(), None);
    }
}
