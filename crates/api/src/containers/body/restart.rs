//! Restart policies.

use lapstrake_engine::settings::{RestartPolicy, When};
use serde::Deserialize;

use crate::error::Failure;

/// `RestartPolicy`.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::containers) struct RestartPolicyBody {
    name: String,
    maximum_retry_count: i64,
}

impl RestartPolicyBody {
    /// The policy.
    pub(in crate::containers) fn policy(&self) -> Result<RestartPolicy, Failure> {
        let when = match self.name.as_str() {
            "" | "no" => When::No,
            "always" => When::Always,
            "unless-stopped" => When::UnlessStopped,
            "on-failure" => When::OnFailure,
            other => {
                return Err(Failure::invalid(format!(
                    "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'"
                )));
            }
        };
        if self.maximum_retry_count < 0 {
            return Err(Failure::invalid(
                "invalid restart policy: maximum retry count cannot be negative",
            ));
        }
        // More is never counted to.
        let times_max = u32::try_from(self.maximum_retry_count).unwrap_or(u32::MAX);
        Ok(RestartPolicy { when, times_max })
    }

    /// Whether none was named.
    pub(in crate::containers) fn is_empty(&self) -> bool {
        self.name.is_empty()
    }
}
