//! Looking whether containers work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lapstrake_container::settings::{Health, HealthCheck, Probe};

use super::Containers;
use super::container::Container;
use super::exec::ExecSettings;
use super::record::{Phase, now};
use crate::events::Action;

/// What of a check's output is kept.
const OUTPUT_BYTES: usize = 4096;

impl Containers {
    /// Looks again and again whether a container works, until it ends. For one that an earlier daemon started,
    /// what that one saw is where it goes on.
    pub(crate) fn watch_health(&self, container: Arc<Container>) {
        let check = container.with(|record| {
            let execution = &record.settings.execution;
            let config = execution.healthcheck.as_ref()?;
            HealthCheck::of(config, execution.shell.as_deref())
        });
        let Some(check) = check else { return };
        let fresh = container.change(|record| {
            let fresh = record.state.health.is_none();
            record.state.health.get_or_insert_with(Health::default);
            fresh
        });
        let started = container.with(|record| record.state.started);
        let began = Instant::now();
        let before = match (fresh, started) {
            (false, Some(started)) => elapsed(started),
            _ => Duration::ZERO,
        };
        let all = self.clone();
        tokio::spawn(async move {
            let mut seen = container.watch();
            loop {
                let status = container
                    .with(|record| record.state.health.as_ref().map(|health| health.status));
                let since_start = before + began.elapsed();
                let wait = check.next_after(status.unwrap_or_default(), since_start);
                let ended = seen.wait_for(|seen| !seen.phase.has_process());
                tokio::select! {
                    _ended = ended => return,
                    () = tokio::time::sleep(wait) => {}
                }
                // Another start has a watch of its own.
                if container.with(|record| record.state.started) != started {
                    return;
                }
                if container.phase() == Phase::Running {
                    all.look(&container, &check, before + began.elapsed()).await;
                }
            }
        });
    }

    async fn look(&self, container: &Arc<Container>, check: &HealthCheck, since_start: Duration) {
        let settings = ExecSettings {
            arguments: check.arguments.clone(),
            ..ExecSettings::default()
        };
        let start = now();
        let ran = self
            .exec_run(container, settings, check.timeout, OUTPUT_BYTES)
            .await;
        let (code, output) = match ran {
            Ok((Some(code), output)) => (code, String::from_utf8_lossy(&output).into_owned()),
            Ok((None, _)) => {
                let seconds = check.timeout.as_secs_f64();
                (-1, format!("Health check exceeded timeout ({seconds}s)"))
            }
            Err(error) => (-1, error.to_string()),
        };
        let probe = Probe {
            start: start.into(),
            end: now().into(),
            code,
            output,
        };
        let changed = container.change(|record| {
            if !record.state.phase.has_process() {
                return None;
            }
            let health = record.state.health.get_or_insert_with(Health::default);
            let changed = health.add(probe, check, since_start);
            changed.then_some(health.status)
        });
        if let Some(status) = changed {
            let this = Arc::clone(container);
            if let Err(error) = self.blocking(move |all| all.save(&this)).await {
                self.note(&format!("container {}: {error}", container.id));
            }
            let status = format!("{status:?}").to_lowercase();
            self.tell(container, Action::Health(status), &[]);
        }
    }
}

fn elapsed(since: super::Nanoseconds) -> Duration {
    let nanoseconds = now().saturating_sub(since);
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0))
}
