//! Names of images, as Docker reads and shows them.

use lapstrake_engine::{ImageName, Reference};
use lapstrake_oci::reference::{DEFAULT_TAG, Tag};
use lapstrake_oci::{Digest, Repo};

use crate::error::Failure;

/// What is not here, as Docker tells it: a name without a tag stands for that with the usual one.
pub(crate) fn no_such(name: &str) -> Failure {
    let shown = match name.parse::<Reference>() {
        Ok(reference) if !name.starts_with("sha256:") => reference.familiar(),
        _ => name.to_owned(),
    };
    Failure::not_found(format!("No such image: {shown}"))
}

/// An image that is here, by name or id.
pub(crate) fn here(name: &str) -> Result<ImageName, Failure> {
    name.parse().map_err(|_| invalid(name))
}

/// A name and, apart from it, a tag or a digest, for an image that gets it. One that would look like an id is none.
pub(crate) fn given(name: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let reference = reference(name, tag)?;
    if reference.repo().familiar() == "sha256" {
        return Err(Failure::invalid(
            "refusing to create an ambiguous tag using digest algorithm as name",
        ));
    }
    Ok(reference)
}

/// A name and, apart from it, a tag or a digest.
pub(crate) fn reference(name: &str, tag: Option<&str>) -> Result<Reference, Failure> {
    let Some(tag) = tag else {
        return name.parse().map_err(|_| invalid(name));
    };
    let repo = repo(name)?;
    if let Ok(digest) = tag.parse::<Digest>() {
        return Ok(Reference::pinned(repo, digest));
    }
    let tag = tag.parse::<Tag>();
    let tag = tag.map_err(|_| Failure::invalid("invalid tag format"))?;
    Ok(Reference::tagged(repo, tag))
}

/// A name, whatever tag it has.
pub(crate) fn repo(name: &str) -> Result<Repo, Failure> {
    let reference: Reference = name.parse().map_err(|_| invalid(name))?;
    Ok(reference.repo().clone())
}

/// Whether a name says neither tag nor digest.
pub(crate) fn is_bare(name: &str) -> bool {
    name.parse::<Repo>().is_ok()
}

/// The usual tag.
pub(crate) const USUAL: &str = DEFAULT_TAG;

pub(crate) fn invalid(name: &str) -> Failure {
    Failure::invalid(format!("invalid reference format: {name:?}"))
}

/// The first digits of a digest, as Docker shows ids.
pub(crate) fn short(digest: &Digest) -> String {
    digest.hex().chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_here_is_called_by_its_whole_name() {
        for (name, want) in [
            ("nosuch", "No such image: nosuch:latest"),
            ("docker.io/library/x:1", "No such image: x:1"),
            ("sha256:12", "No such image: sha256:12"),
        ] {
            assert_eq!(no_such(name).message, want);
        }
    }

    #[test]
    fn a_tag_apart_may_be_a_digest() {
        let familiar = |name, tag| reference(name, tag).map(|found| found.familiar());
        assert_eq!(familiar("x", None), Ok("x:latest".to_owned()));
        assert_eq!(
            familiar("docker.io/library/x", Some("2")),
            Ok("x:2".to_owned())
        );
        let digest = format!("sha256:{}", "0".repeat(64));
        assert_eq!(familiar("x", Some(&digest)), Ok(format!("x@{digest}")));
        assert!(familiar("x", Some("a b")).is_err() && familiar("X", None).is_err());
        let ambiguous = given(&digest, None).map_err(|failure| failure.message);
        assert!(ambiguous.is_err_and(|words| words.starts_with("refusing to create an ambiguous")));
        assert!(given("me/sha256", Some("1")).is_ok());
        assert!(is_bare("x/y") && !is_bare("x:1"));
    }
}
