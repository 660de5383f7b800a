//! What the tests of the client share.
#![allow(dead_code, reason = "each user needs a part of it")]
#![allow(unreachable_pub, reason = "a module of several test crates")]
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::collections::BTreeMap;

use lapstrake_oci::{Descriptor, Repo};
use lapstrake_registry_client::{Client, Credential, Error, Options, PlainHttp};

/// What `me` with the password `hush` sends.
pub const BASIC: &str = "Basic bWU6aHVzaA==";

/// A client that knows nobody.
pub fn anonymous() -> Client {
    client(BTreeMap::new())
}

/// A client that is `me` at a registry.
pub fn known(registry: &str, password: &str) -> Client {
    let credential = Credential {
        username: "me".to_owned(),
        password: password.to_owned(),
    };
    client([(registry.to_owned(), credential)].into())
}

fn client(credentials: BTreeMap<String, Credential>) -> Client {
    Client::new(Options {
        user_agent: "lapstrake-test".to_owned(),
        plain_http: PlainHttp::Loopback,
        credentials,
    })
    .unwrap()
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
