//! Work that may be ended by Ctrl-C, or by a polite signal, before its time.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

/// Does `work`; `None` if a signal came before it was done. It is dropped then, which must end it in
/// good order. From the first call on, signals end what is given to this function and nothing else.
pub(crate) async fn unless_interrupted<T>(
    work: impl Future<Output = T>,
) -> std::io::Result<Option<T>> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        done = work => Ok(Some(done)),
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| None),
        _told = terminate.recv() => Ok(None),
    }
}
