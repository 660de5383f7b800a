//! What can't be done, as a status and words: the one place where the engine's errors become Docker's.

use hyper::StatusCode;
use lapstrake_engine::{Class, Error, Reference, VolumeError, VolumeErrorClass};
use lapstrake_oci::Digest;

use crate::images;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// What the client is told.
    pub(crate) message: String,
}

impl Failure {
    /// What was asked for makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::of(StatusCode::BAD_REQUEST, message)
    }

    /// It is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, message)
    }

    /// It is there, and in a state in which that can't be done.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::of(StatusCode::CONFLICT, message)
    }

    /// It is not for this client.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::of(StatusCode::FORBIDDEN, message)
    }

    /// Who asks is not who they say.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::of(StatusCode::UNAUTHORIZED, message)
    }

    /// Nobody here can do that.
    pub(crate) fn not_implemented(message: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_IMPLEMENTED, message)
    }

    /// Not now, and not here.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::of(StatusCode::SERVICE_UNAVAILABLE, message)
    }

    /// The machine or this program failed.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// No such route.
    pub(crate) fn no_page() -> Self {
        Self::not_found("page not found")
    }

    fn of(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match error.class() {
            Class::NotFound => StatusCode::NOT_FOUND,
            Class::PermissionDenied => StatusCode::FORBIDDEN,
            Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Class::Invalid => StatusCode::BAD_REQUEST,
            Class::DataLoss | Class::ResourceExhausted | Class::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::of(status, error.to_string())
    }
}

/// An image that could not be removed, which was called so; `runs` says whether a container does.
pub(crate) fn of_removal(error: Error, wanted: &str, runs: impl Fn(&str) -> bool) -> Failure {
    let short = |id: &Digest| id.hex()[..12].to_owned();
    let is_id = |id: &Digest| {
        let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
        id.hex().starts_with(hex)
    };
    match error {
        Error::NoImage(_) | Error::Misspelt { .. } => images::no_such(wanted),
        Error::ImageUsed { id, users, .. } => {
            let running = users.iter().find(|user| runs(user));
            let user = running.or(users.first()).map_or("", String::as_str);
            let (user, has_running) = (&user[..user.len().min(12)], running.is_some());
            let image = short(&id);
            Failure::conflict(if is_id(&id) && has_running {
                format!(
                    "conflict: unable to delete {image} (cannot be forced) - image is being used by running container {user}"
                )
            } else if is_id(&id) {
                format!(
                    "conflict: unable to delete {image} (must be forced) - image is being used by stopped container {user}"
                )
            } else {
                format!(
                    "conflict: unable to remove repository reference {wanted:?} (must force) - container {user} is using its referenced image {image}"
                )
            })
        }
        Error::SeveralNames { id, .. } => Failure::conflict(format!(
            "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
            short(&id)
        )),
        error => error.into(),
    }
}

/// An image that could not be had from its registry.
pub(crate) fn of_pull(error: &Error, reference: &Reference) -> Failure {
    let (repo, shown) = (reference.repo().familiar(), reference.familiar());
    match error.class() {
        Class::NotFound => Failure::not_found(format!(
            "manifest for {shown} not found: manifest unknown: manifest unknown"
        )),
        Class::PermissionDenied => Failure::not_found(format!(
            "pull access denied for {repo}, repository does not exist or may require 'docker login': denied: {error}"
        )),
        Class::Invalid => Failure::invalid(error.to_string()),
        Class::Unavailable | Class::DataLoss | Class::ResourceExhausted | Class::Internal => {
            Failure::internal(error.to_string())
        }
    }
}

/// An image that could not be brought to its registry.
pub(crate) fn of_push(error: Error, reference: &Reference) -> Failure {
    match error.class() {
        Class::PermissionDenied => Failure::forbidden(format!(
            "denied: requested access to {} is denied: {error}",
            reference.repo().familiar()
        )),
        _ => error.into(),
    }
}

impl From<VolumeError> for Failure {
    fn from(error: VolumeError) -> Self {
        let status = match error.class() {
            VolumeErrorClass::NotFound => StatusCode::NOT_FOUND,
            VolumeErrorClass::Conflict => StatusCode::CONFLICT,
            VolumeErrorClass::Invalid => StatusCode::BAD_REQUEST,
            VolumeErrorClass::ResourceExhausted | VolumeErrorClass::Internal => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        Self::of(status, error.to_string())
    }
}

impl From<lapstrake_engine::containers::Error> for Failure {
    fn from(error: lapstrake_engine::containers::Error) -> Self {
        use lapstrake_engine::containers::Kind;
        let status = match error.kind() {
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::NotModified => StatusCode::NOT_MODIFIED,
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::of(status, error.to_string())
    }
}

impl From<lapstrake_bridge::Panicked> for Failure {
    fn from(error: lapstrake_bridge::Panicked) -> Self {
        Self::internal(error.to_string())
    }
}
