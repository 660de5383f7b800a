//! Each kind of event, as an object and on the screen.

use std::time::Duration;

use lapstrake_engine::{CheckEvent, Event as Pull, LoadEvent, PushEvent, SaveEvent};
use lapstrake_oci::Digest;
use serde_json::{Value, json};

use super::{Event, Screen};
use crate::render::bytes as size;

fn short(blob: &Digest) -> &str {
    &blob.hex()[..12]
}

fn millis(after: Duration) -> f64 {
    after.as_secs_f64() * 1e3
}

impl Event for Pull {
    fn object(&self, after: Duration) -> Option<Value> {
        Some(match self {
            Self::Exists { blob } => json!({ "event": "exists", "blob": blob }),
            Self::Waiting { blob, bytes } => {
                json!({ "event": "waiting", "blob": blob, "bytes": bytes })
            }
            Self::Started {
                blob,
                bytes,
                resumed_at,
            } => {
                json!({ "event": "started", "blob": blob, "bytes": bytes, "resumed_at": resumed_at })
            }
            Self::Progress { blob, bytes } => {
                json!({ "event": "progress", "blob": blob, "bytes": bytes })
            }
            Self::Retrying { blob, why } => {
                json!({ "event": "retrying", "blob": blob, "why": why })
            }
            Self::Verifying { blob } => json!({ "event": "verifying", "blob": blob }),
            Self::Done { blob, tar_bytes } => {
                json!({ "event": "done", "blob": blob, "tar_bytes": tar_bytes })
            }
            Self::Ready => json!({ "event": "ready", "ready_ms": millis(after) }),
            Self::Durable => json!({ "event": "durable", "durable_ms": millis(after) }),
        })
    }

    fn often(&self) -> Option<String> {
        match self {
            Self::Progress { blob, .. } => Some(blob.to_string()),
            Self::Exists { .. }
            | Self::Waiting { .. }
            | Self::Started { .. }
            | Self::Retrying { .. }
            | Self::Verifying { .. }
            | Self::Done { .. }
            | Self::Ready
            | Self::Durable => None,
        }
    }

    fn show(&self, screen: &Screen) {
        match self {
            Self::Exists { blob } => screen.line(&format!("{}: already here", short(blob))),
            Self::Waiting { blob, bytes } => screen.expect(short(blob), *bytes),
            Self::Started {
                blob,
                bytes,
                resumed_at,
            } => {
                screen.start(short(blob), *bytes, *resumed_at);
                if *resumed_at > 0 {
                    let (at, of) = (size(*resumed_at), size(*bytes));
                    screen.line(&format!("{}: goes on at {at} of {of}", short(blob)));
                } else {
                    screen.line(&format!("{}: fetching {}", short(blob), size(*bytes)));
                }
            }
            Self::Progress { blob, bytes } => screen.at(short(blob), *bytes),
            Self::Retrying { blob, why } => {
                screen.warn(&format!("{}: {why}; trying again", short(blob)));
            }
            Self::Verifying { blob } => screen.phase(short(blob), "verifying"),
            Self::Done { blob, tar_bytes } => {
                screen.finish(short(blob));
                screen.line(&format!("{}: {} of tar", short(blob), size(*tar_bytes)));
            }
            Self::Ready | Self::Durable => {}
        }
    }
}

impl Event for PushEvent {
    fn object(&self, _after: Duration) -> Option<Value> {
        Some(match self {
            Self::Skipped { blob } => json!({ "event": "skipped", "blob": blob }),
            Self::Exists { blob } => json!({ "event": "exists", "blob": blob }),
            Self::Mounted { blob, from } => {
                json!({ "event": "mounted", "blob": blob, "from": from.to_string() })
            }
            Self::Started { blob, bytes } => {
                json!({ "event": "started", "blob": blob, "bytes": bytes })
            }
            Self::Progress { blob, bytes } => {
                json!({ "event": "progress", "blob": blob, "bytes": bytes })
            }
            Self::Compressing { blob, why } => {
                json!({ "event": "compressing", "blob": blob, "why": why })
            }
            Self::Failed { blob, why } => json!({ "event": "failed", "blob": blob, "why": why }),
            Self::Done {
                blob,
                pushed,
                bytes,
            } => json!({ "event": "done", "blob": blob, "pushed": pushed, "bytes": bytes }),
        })
    }

    fn often(&self) -> Option<String> {
        match self {
            Self::Progress { blob, .. } => Some(blob.to_string()),
            Self::Skipped { .. }
            | Self::Exists { .. }
            | Self::Mounted { .. }
            | Self::Started { .. }
            | Self::Compressing { .. }
            | Self::Failed { .. }
            | Self::Done { .. } => None,
        }
    }

    fn show(&self, screen: &Screen) {
        match self {
            Self::Skipped { blob } => {
                screen.warn(&format!("{}: foreign layer, not pushed", short(blob)));
            }
            Self::Exists { blob } => screen.line(&format!("{}: already there", short(blob))),
            Self::Mounted { blob, from } => {
                screen.line(&format!("{}: mounted from {from}", short(blob)));
            }
            Self::Started { blob, bytes } => {
                screen.start(short(blob), *bytes, 0);
                screen.line(&format!("{}: sending {}", short(blob), size(*bytes)));
            }
            Self::Progress { blob, bytes } => screen.at(short(blob), *bytes),
            Self::Failed { blob, why } => screen.warn(&format!("{}: {why}", short(blob))),
            Self::Done { blob, bytes, .. } => {
                screen.finish(short(blob));
                screen.line(&format!("{}: {} there", short(blob), size(*bytes)));
            }
            // Why is said at the end, where it can still be read.
            Self::Compressing { .. } => {}
        }
    }
}

impl Event for CheckEvent {
    fn object(&self, _after: Duration) -> Option<Value> {
        match self {
            Self::Started { bytes } => Some(json!({ "event": "started", "bytes": bytes })),
            Self::Read { .. } | Self::Layer { .. } => None,
        }
    }

    fn show(&self, screen: &Screen) {
        match self {
            Self::Started { bytes } => screen.start("checking", *bytes, 0),
            Self::Read { bytes } => screen.more("checking", *bytes),
            Self::Layer { .. } => {}
        }
    }
}

impl Event for LoadEvent {
    fn object(&self, _after: Duration) -> Option<Value> {
        match self {
            Self::Begins { bytes } => Some(json!({ "event": "started", "bytes": bytes })),
            Self::Started { path, bytes } => {
                Some(json!({ "event": "reading", "path": path, "bytes": bytes }))
            }
            Self::Exists { id } => Some(json!({ "event": "exists", "layer": id })),
            Self::Layer { id, tar_bytes } => {
                Some(json!({ "event": "layer", "layer": id, "tar_bytes": tar_bytes }))
            }
            Self::Read { .. } => None,
        }
    }

    fn show(&self, screen: &Screen) {
        match self {
            Self::Begins { bytes } => screen.start("loading", *bytes, 0),
            Self::Read { bytes } => screen.more("loading", *bytes),
            Self::Exists { id } => screen.line(&format!("{}: already here", short(&id.0))),
            Self::Layer { id, tar_bytes } => {
                screen.line(&format!("{}: {} of tar", short(&id.0), size(*tar_bytes)));
            }
            Self::Started { .. } => {}
        }
    }
}

impl Event for SaveEvent {
    fn object(&self, _after: Duration) -> Option<Value> {
        match self {
            Self::Started { bytes } => Some(json!({ "event": "started", "bytes": bytes })),
            Self::Layer { id } => Some(json!({ "event": "layer", "layer": id })),
            Self::Written { .. } => None,
        }
    }

    fn show(&self, screen: &Screen) {
        match self {
            Self::Started { bytes } => screen.start("saving", *bytes, 0),
            Self::Written { bytes } => screen.more("saving", *bytes),
            Self::Layer { .. } => {}
        }
    }
}
