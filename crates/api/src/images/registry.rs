//! Registries, as whoever the request's credentials say.

use base64::Engine as _;
use lapstrake_engine::{Client, Error, Reference};
use lapstrake_oci::{Document, Platform};
use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::error::{self, Failure};
use crate::images::name;
use crate::system::Told;

/// A client for the registry of a reference.
pub(super) fn client(call: &Call, reference: &Reference) -> Result<Client, Failure> {
    let mut options = call.daemon.settings.registries.clone();
    if let Some(credential) = told(call).and_then(|told| told.credential()) {
        let registry = reference.repo().registry();
        options.credentials = options.credentials.with(registry, credential);
    }
    Ok(Client::new(options).map_err(Error::from)?)
}

/// What the request says of who asks. What can't be read says nothing, as with Docker.
fn told(call: &Call) -> Option<Told> {
    let header = call.header("x-registry-auth")?;
    let decoders = [
        base64::engine::general_purpose::URL_SAFE,
        base64::engine::general_purpose::STANDARD,
    ];
    let no_padding = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let decoded = decoders.iter().find_map(|with| with.decode(header).ok());
    let decoded = decoded.or_else(|| no_padding.decode(header).ok())?;
    serde_json::from_slice(&decoded).ok()
}

/// `GET /distribution/NAME/json`.
pub(crate) async fn distribution(call: Call, wanted: String) -> Answered {
    let reference = name::reference(&wanted, None)?;
    let client = client(&call, &reference)?;
    let resolved = client.resolve(&reference).await;
    let resolved = resolved.map_err(|error| error::of_pull(&Error::from(error), &reference))?;
    let bytes = resolved.document.raw().len();
    let (media_type, platforms) = match &resolved.document {
        Document::Index(index) => {
            let platforms = index.value().manifests.iter();
            let platforms = platforms.filter_map(|entry| entry.platform.clone());
            (resolved.document.media_type(), platforms.collect())
        }
        Document::Manifest(_) => (resolved.document.media_type(), vec![Platform::host()]),
    };
    answer::ok(&json!({
        "Descriptor": {
            "mediaType": media_type,
            "digest": resolved.digest,
            "size": bytes,
        },
        "Platforms": platforms,
    }))
}
