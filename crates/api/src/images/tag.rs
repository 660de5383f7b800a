//! Further names.

use hyper::StatusCode;
use lapstrake_bridge::blocking;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::images::{inspect, name};

/// `POST /images/NAME/tag`.
pub(super) async fn tag(call: Call, source: String) -> Answered {
    let repo = call.query.get("repo").unwrap_or_default();
    let target = name::given(repo, call.query.get("tag"))?;
    let named = name::here(&source)?;
    let engine = call.daemon.engine.clone();
    let tagged = blocking(move || engine.tag(named, &target)).await?;
    tagged.map_err(|error| inspect::told(error, &source))?;
    Ok(answer::empty(StatusCode::CREATED))
}
