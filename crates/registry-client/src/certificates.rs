//! Certificates for single registries: `certs.d/HOST[:PORT]/`, as Docker and the containers tools have it.
//!
//! ```text
//! *.crt           whom to trust, besides whom the system trusts
//! *.cert, *.key   who we are; a certificate and its key have one name
//! ```

use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use crate::error::Error;

/// Where certificates are looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certificates {
    directories: Vec<PathBuf>,
}

/// What there is for one host.
#[derive(Debug, Default)]
pub(crate) struct HostCertificates {
    pub(crate) authorities: Vec<Certificate>,
    pub(crate) identity: Option<Identity>,
}

impl Certificates {
    /// Those of the system's authorities only.
    pub fn of_the_system() -> Self {
        Self::default()
    }

    /// Also what the first of these directories that has anything for a host has for it. A directory
    /// need not exist.
    pub fn below(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Whether there is a directory for a host, which then speaks TLS wherever it is.
    pub(crate) fn know(&self, host: &str) -> bool {
        is_name(host)
            && self
                .directories
                .iter()
                .any(|directory| directory.join(host).is_dir())
    }

    /// Reads what there is for a host (`host` or `host:port`); `None` if nothing.
    pub(crate) fn read(&self, host: &str) -> Result<Option<HostCertificates>, Error> {
        if !is_name(host) {
            return Ok(None);
        }
        for directory in &self.directories {
            let directory = directory.join(host);
            let mut found = HostCertificates::default();
            let mut is_any = false;
            for file in files(&directory)? {
                is_any |= found.take(&file)?;
            }
            if is_any {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// A host is a part of a path here, and some come from redirects.
fn is_name(host: &str) -> bool {
    !host.is_empty() && !host.starts_with('.') && !host.contains('/')
}

impl HostCertificates {
    /// Whether a file is of any use here.
    fn take(&mut self, file: &Path) -> Result<bool, Error> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let authorities = Certificate::from_pem_bundle(&read(file)?)
                    .map_err(|_| unusable(file, "it holds no certificate in PEM"))?;
                if authorities.is_empty() {
                    return Err(unusable(file, "it holds no certificate in PEM"));
                }
                self.authorities.extend(authorities);
                Ok(true)
            }
            Some("cert") => {
                let key = file.with_extension("key");
                if self.identity.is_some() {
                    return Err(unusable(file, "there is another client certificate"));
                }
                let mut pem = read(file)?;
                pem.push(b'\n');
                pem.extend(read(&key)?);
                let identity = Identity::from_pem(&pem).map_err(|_| {
                    unusable(file, "it and its key are no client certificate in PEM")
                })?;
                self.identity = Some(identity);
                Ok(true)
            }
            Some("key") => {
                let certificate = file.with_extension("cert");
                if certificate.exists() {
                    Ok(true)
                } else {
                    Err(unusable(file, "there is no certificate (.cert) beside it"))
                }
            }
            _ => Ok(false),
        }
    }
}

/// In the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unusable(directory, &error.to_string())),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| unusable(directory, &error.to_string()))?;
        files.push(entry.path());
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|error| unusable(file, &error.to_string()))
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::Config {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    /// What the certificates of `r:5000` are, with these files there.
    fn read_with(files: &[(&str, &str)]) -> Result<Option<HostCertificates>, String> {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("r:5000");
        std::fs::create_dir(&host).unwrap();
        for (name, text) in files {
            let mut file = File::create(host.join(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        let certificates = Certificates::below(vec!["/nowhere".into(), directory.path().into()]);
        for other in ["r", "", "..", "../r:5000", "r:5001"] {
            assert!(certificates.read(other).unwrap().is_none(), "{other}");
        }
        certificates
            .read("r:5000")
            .map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_nothing() {
        assert!(read_with(&[]).unwrap().is_none());
        assert!(read_with(&[("README", "x")]).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let cases = [
            ("ca.crt", "not PEM"),
            ("client.cert", "client.key"),
            ("client.key", "client.key"),
        ];
        for (name, named) in cases {
            let error = read_with(&[(name, "not PEM")]).unwrap_err();
            assert!(error.contains(name) || error.contains(named), "{error}");
        }
    }
}
