//! What happens during a pull, as it happens.
//!
//! Of each layer that an image has, in this order:
//!
//! ```text
//! Exists                                              it is in the store
//! Waiting ── Started ── Progress … ── Verifying ── Done   it is fetched; Retrying may come between
//! Waiting ── Progress … ── Done                       another pull fetches it, and it is awaited
//! ```
//!
//! If what came was wrong and the layer is fetched once more, `Started` comes again, and positions begin
//! anew. When all layers are there: `Ready`, then `Durable`. A pull that fails or is cancelled says no more.

use lapstrake_oci::Digest;

/// What happens during a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A layer is in the store already.
    Exists {
        /// Its blob.
        blob: Digest,
    },
    /// A layer is not in the store; it waits for its turn, or for another pull that fetches it.
    Waiting {
        /// Its blob.
        blob: Digest,
        /// Bytes of the blob.
        bytes: u64,
    },
    /// A layer is being fetched.
    Started {
        /// Its blob.
        blob: Digest,
        /// Bytes of the blob.
        bytes: u64,
        /// Bytes of it that an earlier pull fetched: it goes on there. Mostly 0.
        resumed_at: u64,
    },
    /// More of a layer was fetched.
    Progress {
        /// Its blob.
        blob: Digest,
        /// Bytes of the blob that are here, those of an earlier pull among them.
        bytes: u64,
    },
    /// The registry failed in the middle of a layer, or what came was wrong, and it is asked again.
    Retrying {
        /// The blob.
        blob: Digest,
        /// What went wrong.
        why: String,
    },
    /// All bytes of a layer have come; what is left is to unpack and check the last of them.
    Verifying {
        /// Its blob.
        blob: Digest,
    },
    /// A layer is in the store.
    Done {
        /// Its blob.
        blob: Digest,
        /// Bytes of its tar.
        tar_bytes: u64,
    },
    /// The image can be used; a crash may still take it back.
    Ready,
    /// The image is on disk.
    Durable,
}
