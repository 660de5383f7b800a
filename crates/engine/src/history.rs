//! How an image was built, step by step.

use lapstrake_oci::{Config, DiffId, Digest};
use lapstrake_store::LayerRecord;

use crate::Engine;
use crate::error::Result;
use crate::names::ImageName;

/// How an image was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The image.
    pub id: Digest,
    /// The steps, the last first.
    pub steps: Vec<Step>,
}

/// A step of a build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// When, RFC 3339, if the image says so.
    pub created: Option<String>,
    /// The command.
    pub created_by: String,
    /// A remark.
    pub comment: String,
    /// The layer that it made; none if it only changed the config.
    pub layer: Option<DiffId>,
    /// Bytes of tar in the layer.
    pub bytes: u64,
}

impl Engine {
    /// How an image was built.
    ///
    /// # Errors
    /// If there is no such image, or it can't be read.
    pub fn history(&self, name: impl Into<ImageName>) -> Result<History> {
        let image = self.resolve(name)?;
        let config = self.config(&image)?;
        let layers = self.store.state().layers(&config.value().rootfs.diff_ids)?;
        Ok(History {
            id: image.config,
            steps: steps(config.value(), &layers),
        })
    }
}

/// What is said of each step, with the layer that it made. A config may say less than it has layers:
/// those that are left are steps of which nothing is known.
fn steps(config: &Config, records: &[Option<LayerRecord>]) -> Vec<Step> {
    let mut layers = config.rootfs.diff_ids.iter().zip(records);
    let mut with_layer = |step: Step| match layers.next() {
        Some((id, record)) => Step {
            layer: Some(id.clone()),
            bytes: record.as_ref().map_or(0, |record| record.tar_len),
            ..step
        },
        None => step,
    };
    let mut steps = Vec::new();
    for said in &config.history {
        let step = Step {
            created: said.created.clone(),
            created_by: said.created_by.clone().unwrap_or_default(),
            comment: said.comment.clone().unwrap_or_default(),
            ..Step::default()
        };
        steps.push(if said.empty_layer {
            step
        } else {
            with_layer(step)
        });
    }
    loop {
        let step = with_layer(Step::default());
        if step.layer.is_none() {
            break;
        }
        steps.push(step);
    }
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use lapstrake_oci::{Algorithm, History as Said};
    use lapstrake_store::{IndexStamp, LayerState};

    use super::*;

    /// Commands, `-` before those that made no layer; how many layers; and what comes of it.
    fn check(commands: &[&str], layers: u8, want: &[(&str, u64)]) {
        let mut config = Config::default();
        for command in commands {
            config.history.push(Said {
                created_by: Some(command.trim_start_matches('-').to_owned()),
                empty_layer: command.starts_with('-'),
                ..Said::default()
            });
        }
        let mut records = Vec::new();
        for number in 1..=layers {
            let diff_id = DiffId(Algorithm::Sha256.digest(&[number]));
            config.rootfs.diff_ids.push(diff_id.clone());
            records.push(Some(LayerRecord {
                diff_id,
                tar_len: u64::from(number),
                data_len: 0,
                index: IndexStamp {
                    len: 0,
                    blake3: String::new(),
                },
                state: LayerState::Proved,
            }));
        }
        let steps = steps(&config, &records);
        let got: Vec<_> = (steps.iter())
            .map(|step| (step.created_by.as_str(), step.bytes))
            .collect();
        assert_eq!(got, want);
    }

    #[test]
    fn layers_belong_to_the_steps_that_made_them() {
        check(&["a", "-b", "c"], 2, &[("c", 2), ("b", 0), ("a", 1)]);
    }

    #[test]
    fn a_history_may_say_too_little_or_too_much() {
        check(&[], 2, &[("", 2), ("", 1)]);
        check(&["a"], 2, &[("", 2), ("a", 1)]);
        check(&["a", "b"], 1, &[("b", 0), ("a", 1)]);
    }
}
