//! Whether a registry takes what we know of who we are.

use lapstrake_distribution::scope::Scope;
use reqwest::Method;

use crate::client::Client;
use crate::error::Error;
use crate::request::{Peer, Request};

impl Client {
    /// Asks a registry, once, whether it lets us in: without credentials, if it wants none.
    ///
    /// # Errors
    /// If it doesn't, or can't be asked.
    pub async fn login(&self, registry: &str) -> Result<(), Error> {
        let endpoint = self.net.endpoints(registry)?.into_iter().last();
        let peer = Peer {
            endpoint: endpoint.expect("the registry itself is the last"),
            path: String::new(),
            scope: Scope::parse(""),
        };
        let url = peer.endpoint.url("/v2/")?;
        let what = "a login".to_owned();
        let request = Request::new(&peer, &what, Method::GET, url);
        self.net.fetch(&request).await?;
        Ok(())
    }
}
