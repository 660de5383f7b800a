//! What the tests of the client share.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use lapstrake_oci::{Descriptor, Repo};
use lapstrake_registry_client::{Client, Credential, Credentials, Error, Options};

/// What `me` with the password `hush` sends.
pub const BASIC: &str = "Basic bWU6aHVzaA==";

/// A client that knows nobody.
pub fn anonymous() -> Client {
    client(Credentials::none())
}

/// A client that is `me` at a registry.
pub fn known(registry: &str, password: &str) -> Client {
    client(Credentials::none().with(registry, me(password)))
}

/// `me`, with a password.
pub fn me(password: &str) -> Credential {
    Credential::Password {
        username: "me".to_owned(),
        password: password.to_owned(),
    }
}

/// A client with these credentials.
pub fn client(credentials: Credentials) -> Client {
    let mut options = Options::of("lapstrake-test");
    options.credentials = credentials;
    Client::new(options).unwrap()
}

/// Reads a blob to its end: what came, and the error if it ended with one.
pub async fn read(client: &Client, repo: &Repo, blob: &Descriptor) -> (Vec<u8>, Option<Error>) {
    let mut bytes = Vec::new();
    let mut stream = match client.blob(repo, blob).await {
        Ok(stream) => stream,
        Err(error) => return (bytes, Some(error)),
    };
    loop {
        match stream.next_chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, None),
            Err(error) => return (bytes, Some(error)),
        }
    }
}

/// Bytes that do not repeat, so that none can stand for another.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
