//! Other limits, and another restart policy, for a container, also while it runs.

use std::sync::Arc;

use lapstrake_container::settings::{Resources, RestartPolicy, When};
use lapstrake_container::spec::{self, HostDevices};

use super::Containers;
use super::error::{Error, Result};
use super::record::{Phase, Record};
use crate::events::Action;

/// What is to change.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// Limits; what is not given stays.
    pub resources: Resources,
    /// The policy; nothing if it stays.
    pub restart: Option<RestartPolicy>,
}

impl Containers {
    /// Changes limits and policy. `document` makes the client's document anew from that of the record and the new
    /// settings. What the client should know.
    ///
    /// # Errors
    /// If there is no container of that name, it is being removed, or the limits can't be had.
    pub async fn update(
        &self,
        name: &str,
        update: Update,
        document: impl FnOnce(&Record) -> String + Send + 'static,
    ) -> Result<Vec<String>> {
        let container = self.find(name)?;
        let _changing = container.changing().await;
        let phase = container.phase();
        if matches!(phase, Phase::Removing | Phase::Dead) {
            return Err(Error::Conflict(format!(
                "container {} is marked for removal and cannot be \"update\"",
                container.id
            )));
        }
        let this = Arc::clone(&container);
        let warnings = self.blocking(move |all| {
            let record = this.record();
            let host = &record.settings.host;
            if update.restart.is_some_and(|policy| policy.when != When::No) && host.auto_remove {
                return Err(Error::Invalid(
                    "Restart policy cannot be updated because AutoRemove is enabled for the container".to_owned(),
                ));
            }
            let facts = all.facts()?;
            let merged = spec::resources::merge(&host.resources, &update.resources);
            let merged = merged.map_err(|why| {
                Error::Conflict(format!("Cannot update container {}: {why}", this.id))
            })?;
            let warnings = spec::validate_resources(&merged, facts)?;
            if phase.has_process() && merged != host.resources {
                let devices = HostDevices::find(host)?;
                let words = spec::resources::update(&update.resources, &devices, facts)?;
                let runtime = all.runtime(host.runtime.as_deref())?;
                let path = all.places(&this.id).run.join("resources.json");
                super::dirs::write_json(&path, &words)?;
                let path = path.display().to_string();
                runtime.order(&["update", "--resources", &path, &this.id])?;
            }
            this.change(|record| {
                record.settings.host.resources = merged;
                if let Some(policy) = update.restart {
                    record.settings.host.restart = policy;
                }
                record.document = document(record);
            });
            all.save(&this)?;
            Ok(warnings.iter().map(ToString::to_string).collect())
        });
        let warnings = warnings.await?;
        self.tell(&container, Action::Update, &[]);
        Ok(warnings)
    }
}
