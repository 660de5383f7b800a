//! TLS in both directions: clients show a certificate too.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::server::ServeError;

/// What TLS needs, each a file in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Who may vouch for clients.
    pub authorities: PathBuf,
    /// Our certificate and those that vouch for it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What lets in clients with a certificate of the authorities, and nobody else.
pub(super) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, ServeError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates(&files.authorities)? {
        let added = authorities.add(certificate);
        added.map_err(wrong(&files.authorities))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(authorities)).build();
    let verifier = verifier.map_err(wrong(&files.authorities))?;
    // What a broken key file holds is told by nobody.
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|_secret| ServeError::Tls {
        path: files.key.clone(),
        why: "it is no file with a private key in PEM that can be read".to_owned(),
    })?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&files.certificate)?, key)
        .map_err(wrong(&files.certificate))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let read = CertificateDer::pem_file_iter(path).map_err(wrong(path))?;
    let all: Result<Vec<_>, _> = read.collect();
    let all = all.map_err(wrong(path))?;
    if all.is_empty() {
        return Err(wrong(path)("it holds no certificate in PEM"));
    }
    Ok(all)
}

fn wrong<E: ToString>(path: &Path) -> impl Fn(E) -> ServeError {
    let path = path.to_owned();
    move |error| ServeError::Tls {
        path: path.clone(),
        why: error.to_string(),
    }
}
