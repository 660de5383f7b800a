//! Clients at a container's streams.
//!
//! Who attaches to a container that does not run gets its streams when it is started, before it says its first
//! word.

use tokio::net::UnixStream;
use tokio::sync::oneshot;

use lapstrake_monitor::client::Client;
pub use lapstrake_monitor::wire::Attach;

use super::Containers;
use super::container::{Container, held};
use super::error::{Error, Result};
use crate::events::Action;

/// A client's place at a container's streams.
#[derive(Debug)]
pub enum Attachment {
    /// It runs: frames as in [`lapstrake_monitor::wire`], in both directions.
    Now(UnixStream),
    /// It does not run yet.
    Later(oneshot::Receiver<std::os::unix::net::UnixStream>),
}

/// A client that waits for the start.
#[derive(Debug)]
pub(crate) struct Waiting {
    streams: Attach,
    give: oneshot::Sender<std::os::unix::net::UnixStream>,
}

impl Containers {
    /// Attaches a client to a container, now or when it is started.
    ///
    /// # Errors
    /// If there is none of that name, it is paused, or its monitor does not answer.
    pub async fn attach(&self, name: &str, streams: Attach) -> Result<Attachment> {
        let container = self.find(name)?;
        // A start is over, or has not asked yet who waits.
        let changing = container.changing().await;
        let phase = container.phase();
        if phase == super::Phase::Paused {
            return Err(Error::Conflict(format!(
                "container {name} is paused, unpause the container before attach"
            )));
        }
        let attachment = if phase.has_process() {
            let client = Client::new(&self.places(&container.id).run);
            let stream = self.blocking(move |_| Ok(client.attach(streams)?)).await?;
            Attachment::Now(waiting_stream(stream)?)
        } else {
            let (give, stream) = oneshot::channel();
            let mut waiting = held(&container.waiting);
            waiting.retain(|one| !one.give.is_closed());
            waiting.push(Waiting { streams, give });
            Attachment::Later(stream)
        };
        drop(changing);
        self.tell(&container, Action::Attach, &[]);
        Ok(attachment)
    }

    /// Gives a container's terminal another size.
    ///
    /// # Errors
    /// If there is none of that name, it does not run, or has no terminal.
    pub async fn resize(&self, name: &str, height: u16, width: u16) -> Result<()> {
        let container = self.find(name)?;
        self.must_run(&container)?;
        let client = Client::new(&self.places(&container.id).run);
        let size = lapstrake_monitor::orders::Size { height, width };
        self.blocking(move |_| Ok(client.resize(size)?)).await?;
        let size = [("height", height.to_string()), ("width", width.to_string())];
        self.tell(&container, Action::Resize, &size);
        Ok(())
    }

    /// That a container has a process.
    pub(crate) fn must_run(&self, container: &Container) -> Result<()> {
        if container.phase().has_process() {
            return Ok(());
        }
        Err(Error::Conflict(format!(
            "container {} is not running",
            container.id
        )))
    }
}

impl Attachment {
    /// Waits for the start. Nothing if the container is gone, or could not be started.
    ///
    /// # Errors
    /// If the connection can't be used.
    pub async fn stream(self) -> Result<Option<UnixStream>> {
        match self {
            Self::Now(stream) => Ok(Some(stream)),
            Self::Later(given) => given.await.ok().map(waiting_stream).transpose(),
        }
    }
}

/// Connects those who waited for the start, at a monitor that has not started anything yet.
pub(crate) fn connect_waiting(container: &Container, client: &Client) -> Result<()> {
    let waiting = std::mem::take(&mut *held(&container.waiting));
    for one in waiting {
        if one.give.is_closed() {
            continue;
        }
        let stream = client.attach(one.streams)?;
        // Who went meanwhile is detached.
        drop(one.give.send(stream));
    }
    Ok(())
}

/// A connection for code that waits without blocking.
pub(crate) fn waiting_stream(stream: std::os::unix::net::UnixStream) -> Result<UnixStream> {
    let made = || {
        stream.set_nonblocking(true)?;
        UnixStream::from_std(stream)
    };
    made().map_err(|error: std::io::Error| {
        Error::Internal(format!("cannot use a connection to a monitor: {error}"))
    })
}
