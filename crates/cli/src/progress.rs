//! A pull's progress: bars on a terminal, lines elsewhere, objects with `--json`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lapstrake_engine::Event;
use serde_json::json;

use crate::render;

/// Shows a pull.
pub(crate) struct Progress {
    start: Instant,
    json: bool,
    bars: MultiProgress,
    layers: Mutex<HashMap<String, ProgressBar>>,
}

impl Progress {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            start: Instant::now(),
            json,
            bars: MultiProgress::new(),
            layers: Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, event: &Event) {
        if self.json {
            self.object(event)
        } else {
            self.show(event)
        }
    }

    /// Milliseconds since the pull began.
    pub(crate) fn millis(&self, at: Instant) -> f64 {
        at.duration_since(self.start).as_secs_f64() * 1e3
    }

    fn object(&self, event: &Event) {
        let object = match event {
            Event::Exists { blob } => json!({ "event": "exists", "blob": blob }),
            Event::Waiting { blob, bytes } => {
                json!({ "event": "waiting", "blob": blob, "bytes": bytes })
            }
            Event::Started {
                blob,
                bytes,
                resumed_at,
            } => {
                json!({ "event": "started", "blob": blob, "bytes": bytes, "resumed_at": resumed_at })
            }
            Event::Retrying { blob, why } => {
                json!({ "event": "retrying", "blob": blob, "why": why })
            }
            Event::Verifying { blob } => json!({ "event": "verifying", "blob": blob }),
            // A line for each chunk would cost more than the chunk.
            Event::Progress { .. } => return,
            Event::Done { blob, tar_bytes } => {
                json!({ "event": "done", "blob": blob, "tar_bytes": tar_bytes })
            }
            Event::Ready => json!({ "event": "ready", "ready_ms": self.millis(Instant::now()) }),
            Event::Durable => {
                json!({ "event": "durable", "durable_ms": self.millis(Instant::now()) })
            }
        };
        render::json(&object);
    }

    fn show(&self, event: &Event) {
        let mut layers = self
            .layers
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_terminal = !self.bars.is_hidden();
        let short = |blob: &lapstrake_oci::Digest| blob.hex()[..12].to_owned();
        match event {
            Event::Exists { blob } if !is_terminal => eprintln!("{}: already here", short(blob)),
            Event::Started { blob, bytes, .. } if is_terminal => {
                let bar = self
                    .bars
                    .add(ProgressBar::new(*bytes).with_prefix(short(blob)));
                let style = ProgressStyle::with_template(
                    "{prefix} {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec}",
                );
                layers.insert(
                    blob.to_string(),
                    style.map_or(bar.clone(), |style| bar.with_style(style)),
                );
            }
            Event::Progress { blob, bytes } => {
                if let Some(bar) = layers.get(&blob.to_string()) {
                    bar.set_position(*bytes);
                }
            }
            Event::Done { blob, tar_bytes } => match layers.remove(&blob.to_string()) {
                Some(bar) => bar.finish_and_clear(),
                None => eprintln!("{}: {} of tar", short(blob), render::bytes(*tar_bytes)),
            },
            Event::Retrying { blob, why } => {
                drop(
                    self.bars
                        .println(format!("{}: {why}; trying again", short(blob))),
                );
            }
            Event::Exists { .. }
            | Event::Waiting { .. }
            | Event::Started { .. }
            | Event::Verifying { .. }
            | Event::Ready
            | Event::Durable => {}
        }
    }
}
