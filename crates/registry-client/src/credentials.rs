//! Who we are: credentials by registry, from a caller and from the files that `docker login` and
//! `podman login` write.
//!
//! A secret is never shown: not by `Debug`, not in an error. Files are read by [`AuthFile::read`], from
//! the path that it is given; where they are, the outermost crate knows.

mod file;
mod helper;

use std::collections::BTreeMap;

pub use file::AuthFile;
pub use helper::{Helper, HelperError};

use crate::error::Error;

/// Proof of who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, or a token in place of the password.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// An OAuth2 refresh token, which the token server takes for access tokens.
    Identity(String),
    /// A token for the registry itself, which is sent as it is.
    Registry(String),
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Password { username, .. } => f
                .debug_struct("Password")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::Identity(_) => f.debug_struct("Identity").finish_non_exhaustive(),
            Self::Registry(_) => f.debug_struct("Registry").finish_non_exhaustive(),
        }
    }
}

/// All credentials that a client may use.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    given: BTreeMap<String, Credential>,
    files: Vec<AuthFile>,
}

impl Credentials {
    /// None at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// One more, for a registry as in references (`docker.io`, `localhost:5000`). It comes before what
    /// files say.
    #[must_use]
    pub fn with(mut self, registry: &str, credential: Credential) -> Self {
        self.given.insert(registry.to_owned(), credential);
        self
    }

    /// One more file, which is asked after those that are here already.
    #[must_use]
    pub fn with_file(mut self, file: AuthFile) -> Self {
        self.files.push(file);
        self
    }

    /// Headers that the files want sent to registries.
    pub(crate) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().flat_map(AuthFile::headers)
    }

    /// What is known for a repository. A helper that is asked runs as long as it takes, within its bound.
    pub(crate) async fn find(
        &self,
        registry: &str,
        path: &str,
    ) -> Result<Option<Credential>, Error> {
        if let Some(credential) = self.given.get(registry) {
            return Ok(Some(credential.clone()));
        }
        let unusable = |reason: String| Error::Credentials {
            registry: registry.to_owned(),
            reason,
        };
        for file in &self.files {
            if let Some(helper) = file.helper(registry).map_err(|e| unusable(e.to_string()))? {
                let server = file::server(registry).to_owned();
                let answer = lapstrake_bridge::blocking(move || helper.get(&server));
                let answer = answer.await.map_err(|error| unusable(error.to_string()))?;
                if let Some(credential) = answer.map_err(|error| unusable(error.to_string()))? {
                    return Ok(Some(credential));
                }
            }
            if let Some(credential) = file.credential(registry, path) {
                return Ok(Some(credential.clone()));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let credentials = [
            Credential::Password {
                username: "me".to_owned(),
                password: "hush".to_owned(),
            },
            Credential::Identity("hush".to_owned()),
            Credential::Registry("hush".to_owned()),
        ];
        let file = br#"{"auths":{"r":{"auth":"bWU6aHVzaA==","identitytoken":"hush"}},
            "HttpHeaders":{"X-Meta-Key":"hush"}}"#;
        let file = AuthFile::parse(file).unwrap();
        let mut all = Credentials::none().with_file(file);
        for (n, credential) in credentials.into_iter().enumerate() {
            all = all.with(&format!("r{n}"), credential);
        }
        let shown = format!("{all:?}");
        assert!(shown.contains("me"), "{shown}");
        assert!(
            !shown.contains("hush") && !shown.contains("bWU6"),
            "{shown}"
        );
    }
}
