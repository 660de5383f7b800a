//! A registry in this process: images from memory, served on loopback, with faults where a test
//! wants them.
//!
//! It reads only what clients of a pull or a push send: manifests, blobs, uploads and tokens. Each
//! connection has a thread, and all end when the [`Registry`] is dropped. Faults wait in a queue for
//! each object; one `GET` takes one of them, so that a test can say what the first, second and third
//! try meet. Those of uploads wait in one queue for all.

mod access;
mod answer;
mod content;
mod fault;
mod http;
mod serve;
mod upload;

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapstrake_oci::{Descriptor, Digest, Reference, Repo};

pub use access::Access;
pub use content::Layer;
pub use fault::Fault;

pub use upload::UploadFault;

use access::Tokens;
use content::Content;
use upload::Uploads;

/// A running registry. It stops when dropped.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// What an image was stored as.
#[derive(Debug, Clone)]
pub struct Added {
    /// Its name, by tag.
    pub reference: Reference,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its config.
    pub config: Descriptor,
    /// The blobs of its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `PUT` and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `Host` header.
    pub host: String,
    /// The `X-Meta-Test` header.
    pub meta: Option<String>,
    /// How much was read of its body.
    pub body_bytes: usize,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    access: Access,
    stopped: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    content: Content,
    faults: Vec<(Digest, VecDeque<Fault>)>,
    tokens: Tokens,
    uploads: Uploads,
    /// Paths from which blobs can be mounted.
    mountable: Vec<String>,
    delay: Duration,
    pace: Option<u64>,
    /// The most tags in a page of their list.
    page: Option<usize>,
    requests: Vec<Request>,
    /// To be shut down at the end, so that no thread waits for a client that stays.
    connections: Vec<TcpStream>,
}

impl Registry {
    /// Starts an empty registry on a free port of loopback.
    pub fn start(access: Access) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let shared = Arc::new(Shared {
            address: listener
                .local_addr()
                .expect("a bound socket has an address"),
            access,
            stopped: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || serve::accept(&listener, &for_thread));
        Self { shared }
    }

    /// Host and port: the registry's name in references.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// A repository here.
    pub fn repo(&self, path: &str) -> Repo {
        format!("{}/{path}", self.host())
            .parse()
            .expect("the test names a repository")
    }

    /// Stores a blob. All repositories have all blobs.
    pub fn add_blob(&self, bytes: impl Into<Arc<[u8]>>) -> Digest {
        self.shared.state().content.add_blob(bytes.into())
    }

    /// Stores a manifest or an index under its digest and, if given, a tag.
    pub fn add_manifest(
        &self,
        path: &str,
        tag: Option<&str>,
        media_type: &str,
        raw: impl Into<Arc<[u8]>>,
    ) -> Descriptor {
        let mut state = self.shared.state();
        state
            .content
            .add_manifest(path, tag, media_type, raw.into())
    }

    /// Stores an image: its layers' blobs, a config made for them, and a manifest.
    pub fn add_image(&self, path: &str, tag: &str, layers: &[Layer]) -> Added {
        let reference = format!("{}/{path}:{tag}", self.host());
        let reference = reference.parse().expect("the test names an image");
        let mut state = self.shared.state();
        state.content.add_image(reference, layers)
    }

    /// Puts a fault at the end of the queue of a blob or a manifest.
    pub fn fault(&self, digest: &Digest, fault: Fault) {
        let mut state = self.shared.state();
        match state.faults.iter_mut().find(|(named, _)| named == digest) {
            Some((_, queue)) => queue.push_back(fault),
            None => state.faults.push((digest.clone(), [fault].into())),
        }
    }

    /// Puts a fault at the end of the queue of uploads.
    pub fn upload_fault(&self, fault: UploadFault) {
        self.shared.state().uploads.faults.push_back(fault);
    }

    /// From now on fails at blobs that come in one request, and tells the length of what came where the
    /// place of its last byte is asked for.
    pub fn know_little_of_uploads(&self) {
        self.shared.state().uploads.are_simple = true;
    }

    /// No longer says where an upload stands.
    pub fn keep_uploads_secret(&self) {
        self.shared.state().uploads.are_silent = true;
    }

    /// Tells that pieces of an upload have at least so many bytes.
    pub fn least_piece(&self, bytes: usize) {
        self.shared.state().uploads.least_piece = Some(bytes);
    }

    /// Lists at most so many tags at once.
    pub fn page_tags(&self, most: usize) {
        self.shared.state().page = Some(most);
    }

    /// Lets blobs be mounted from a path.
    pub fn allow_mounts_from(&self, path: &str) {
        self.shared.state().mountable.push(path.to_owned());
    }

    /// The bytes of a blob, if it is here.
    pub fn blob(&self, digest: &Digest) -> Option<Arc<[u8]>> {
        let state = self.shared.state();
        state
            .content
            .blob(&digest.to_string())
            .map(|(_, bytes)| bytes)
    }

    /// The type and the bytes of a manifest, by tag or digest.
    pub fn manifest(&self, path: &str, name: &str) -> Option<(String, Arc<[u8]>)> {
        let state = self.shared.state();
        let (_, stored) = state.content.manifest(path, name)?;
        Some((stored.media_type, stored.raw))
    }

    /// Answers each request so much later, and each connection with no more than so many bytes a second.
    pub fn slow_down(&self, delay: Duration, bytes_a_second: u64) {
        let mut state = self.shared.state();
        (state.delay, state.pace) = (delay, Some(bytes_a_second));
    }

    /// Answers requests with a token that has run out with this status, and without a challenge.
    pub fn refuse_old_tokens_with(&self, status: u16) {
        self.shared.state().tokens.when_expired = Some(status);
    }

    /// Makes every token handed out so far worthless.
    pub fn expire_tokens(&self) {
        self.shared.state().tokens.expire();
    }

    /// The requests so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then sees that it should end.
        drop(TcpStream::connect(self.shared.address));
        for connection in self.shared.state().connections.drain(..) {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

impl State {
    fn take_fault(&mut self, digest: &Digest) -> Option<Fault> {
        let (_, queue) = self.faults.iter_mut().find(|(named, _)| named == digest)?;
        queue.pop_front()
    }
}
