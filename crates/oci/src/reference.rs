//! References: how people name images, read as Docker reads them.
//!
//! `ubuntu` is `docker.io/library/ubuntu:latest`. The grammar is that of the `reference` package of
//! the distribution project. A [`Reference`] exists only if it was parsed, and so is always complete:
//! it has a registry, and a tag or a digest or both. With both, the digest decides and the tag is a note.
//!
//! Where this differs from Docker: `Foo/bar` is refused rather than taken for an image on a host `Foo`,
//! as Docker before 23 did; only digests that name content here are accepted (no sha384).

use std::fmt;
use std::str::FromStr;

use crate::Digest;

/// The registry meant when none is named.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag meant when neither tag nor digest is named.
pub const DEFAULT_TAG: &str = "latest";
/// The most characters a repository's path may have.
pub const MAX_PATH: usize = 255;
/// The most characters a tag may have.
pub const MAX_TAG: usize = 128;
/// The most characters a registry may have: a host name (253), brackets, a colon and a port.
pub const MAX_REGISTRY: usize = 261;

const LEGACY_REGISTRY: &str = "index.docker.io";
const OFFICIAL: &str = "library/";

/// Names an image: where, what, and which version of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repo: Repo,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// A repository: a registry, and a path in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repo {
    registry: Box<str>,
    path: Box<str>,
}

/// A name for one version of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Reference {
    /// A reference by tag.
    pub fn tagged(repo: Repo, tag: Tag) -> Self {
        Self {
            repo,
            tag: Some(tag),
            digest: None,
        }
    }

    /// A reference by digest.
    pub fn pinned(repo: Repo, digest: Digest) -> Self {
        Self {
            repo,
            tag: None,
            digest: Some(digest),
        }
    }

    /// The same reference, tag included, pinned to a digest.
    #[must_use]
    pub fn at(self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self
        }
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The tag, if one was named, or if neither tag nor digest were ([`DEFAULT_TAG`]).
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was named.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The form for people: without what is meant anyway (`docker.io/library/`), but with the tag.
    /// Parsing it gives the same reference.
    pub fn familiar(&self) -> String {
        self.render(&self.repo.familiar())
    }

    fn render(&self, name: &str) -> String {
        let mut text = name.to_owned();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

/// The complete form.
impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&self.repo.to_string()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (text_without_digest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(ReferenceError::Digest)?;
                (rest, Some(digest))
            }
        };
        // A colon after the last slash begins a tag; one before it, a port.
        let name_end = text_without_digest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match text_without_digest[name_end..].find(':') {
            None => (text_without_digest, None),
            Some(colon) => {
                let (name, tag) = text_without_digest.split_at(name_end + colon);
                (name, Some(tag[1..].parse()?))
            }
        };
        let repo = name.parse()?;
        let tag = match (tag, &digest) {
            (None, None) => Some(Tag(DEFAULT_TAG.into())),
            (tag, _) => tag,
        };
        Ok(Self { repo, tag, digest })
    }
}

impl Repo {
    /// The registry: a host, and a port if one was named. [`DEFAULT_REGISTRY`] is a name, not a host.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The form for people, from which parsing makes the same repository.
    pub fn familiar(&self) -> String {
        if &*self.registry != DEFAULT_REGISTRY {
            return self.to_string();
        }
        let short = match self.path.strip_prefix(OFFICIAL) {
            Some(rest) if !rest.contains('/') => rest,
            _ => &self.path,
        };
        // Some paths, such as `localhost/x`, would be read as a registry if they stood alone.
        match short.parse::<Self>() {
            Ok(read) if read == *self => short.to_owned(),
            _ => self.to_string(),
        }
    }
}

/// The complete form.
impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

/// A name without tag or digest, normalised as in a reference.
impl FromStr for Repo {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        let (registry, path) = split(text);
        if !is_registry(registry) {
            return Err(ReferenceError::Registry(registry.to_owned()));
        }
        let path = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        check_path(&path)?;
        Ok(Self {
            registry: registry.into(),
            path: path.into(),
        })
    }
}

impl Tag {
    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let mut bytes = text.bytes();
        let first_is_word = bytes.next().is_some_and(is_word);
        if !first_is_word
            || text.len() > MAX_TAG
            || !bytes.all(|b| is_word(b) || matches!(b, b'.' | b'-'))
        {
            return Err(ReferenceError::Tag(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing there.
    #[error("an image must be named, such as debian:12")]
    Empty,
    /// Not a registry.
    #[error(
        "{0:?} is not a registry: expected a host name or address, with :PORT if needed, such as \
         registry.example.com:5000"
    )]
    Registry(String),
    /// Not a path in a registry.
    #[error(
        "{0:?} is not a repository: expected lower-case letters and digits, with single dots, one or \
         two underscores, or dashes between them, and slashes between parts"
    )]
    Path(String),
    /// Upper-case letters where none may be.
    #[error("{given:?}: repository names are lower-case; did you mean {lower:?}?")]
    Uppercase {
        /// As given.
        given: String,
        /// As it might have been meant.
        lower: String,
    },
    /// A path beyond [`MAX_PATH`].
    #[error("the repository's name has {0} characters, more than the {MAX_PATH} allowed")]
    TooLong(usize),
    /// Not a tag.
    #[error(
        "{0:?} is not a tag: expected up to {MAX_TAG} letters, digits, underscores, dots and dashes, \
         beginning with neither dot nor dash"
    )]
    Tag(String),
    /// Not a digest, or not of content here.
    #[error(transparent)]
    Digest(crate::digest::DigestError),
    /// An image's id where a name is needed.
    #[error("{0:?} is an image's id, not a name: registries know images by name only")]
    Identifier(String),
}

/// Separates registry and path: the first part is a registry if it looks like a host.
fn split(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((LEGACY_REGISTRY, path)) => (DEFAULT_REGISTRY, path),
        Some((first, path)) if first == "localhost" || first.contains(['.', ':']) => (first, path),
        _ => (DEFAULT_REGISTRY, text),
    }
}

fn is_registry(text: &str) -> bool {
    if text.len() > MAX_REGISTRY {
        return false;
    }
    let (host_is_right, rest) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, rest)) => (
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
                rest,
            ),
            None => return false,
        },
        None => {
            let (host, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
            (host.split('.').all(is_host_label), rest)
        }
    };
    let port_is_right = match rest.strip_prefix(':') {
        Some(port) => !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()),
        None => rest.is_empty(),
    };
    host_is_right && port_is_right
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        let lower = path.to_ascii_lowercase();
        if lower.split('/').all(is_path_part) {
            return Err(ReferenceError::Uppercase {
                given: path.to_owned(),
                lower,
            });
        }
    }
    if !path.split('/').all(is_path_part) {
        return Err(ReferenceError::Path(path.to_owned()));
    }
    if path.len() > MAX_PATH {
        return Err(ReferenceError::TooLong(path.len()));
    }
    Ok(())
}

/// Letters and digits; between them one dot, one or two underscores, or any number of dashes.
fn is_path_part(part: &str) -> bool {
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9');
    let bytes = part.as_bytes();
    let ends_are_plain = |bytes: &[u8]| {
        bytes.first().copied().is_some_and(is_plain) && bytes.last().copied().is_some_and(is_plain)
    };
    ends_are_plain(bytes)
        && bytes.split(|b| is_plain(*b)).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}
