//! What is running.

use serde_json::json;

use crate::answer::{self, Answered};
use crate::call::Call;
use crate::daemon::{LEVEL, OURS};
use crate::system::{info, machine};
use crate::version::{NEWEST, OLDEST};

/// `GET /version`. The version of the engine is that of the Docker whose answers are given; ours is that of the
/// platform.
pub(super) async fn version(call: Call) -> Answered {
    let fixed = info::fixed(&call.daemon).await?;
    let kernel = &fixed.machine.kernel;
    let (newest, oldest) = (NEWEST.to_string(), OLDEST.to_string());
    answer::ok(&json!({
        "Platform": { "Name": format!("Lapstrake {OURS}") },
        "Components": [
            {
                "Name": "Engine",
                "Version": LEVEL,
                "Details": {
                    "ApiVersion": newest,
                    "Arch": machine::GO_ARCH,
                    "BuildTime": "",
                    "Experimental": "false",
                    "GitCommit": "",
                    "GoVersion": "none",
                    "KernelVersion": kernel,
                    "MinAPIVersion": oldest,
                    "Os": "linux",
                },
            },
            { "Name": "lapstrake", "Version": OURS, "Details": { "GitCommit": "" } },
            {
                "Name": fixed.runtime.name,
                "Version": fixed.runtime.version,
                "Details": { "GitCommit": fixed.runtime.commit },
            },
        ],
        "Version": LEVEL,
        "ApiVersion": newest,
        "MinAPIVersion": oldest,
        "GitCommit": "",
        "GoVersion": "none",
        "Os": "linux",
        "Arch": machine::GO_ARCH,
        "KernelVersion": kernel,
        "BuildTime": "",
    }))
}
