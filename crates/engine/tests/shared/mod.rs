//! What the tests of the engine share.

use std::path::Path;

use lapstrake_engine::{
    Client, ClientOptions, Engine, Limits, Platform, PullOptions, Reference, Surroundings,
};

/// A store and a run directory below `dir`.
pub(crate) fn surroundings(dir: &Path, boot_id: &str) -> Surroundings {
    Surroundings {
        root: dir.join("root"),
        run: dir.join("run"),
        hostname: "h".to_owned(),
        boot_id: boot_id.to_owned(),
    }
}

/// Pulls an image from a registry in this process.
pub(crate) fn pull(engine: &Engine, image: &Reference) {
    let client = Client::new(ClientOptions::of("test")).unwrap();
    let options = PullOptions {
        platform: Platform::host(),
        parallel: 1,
        limits: Limits::DEFAULT,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(engine.pull(&client, image, &options, |_event| {}))
        .unwrap();
}
