//! How much of a document from outside is accepted.
//!
//! Each bound is well above what registries and Docker allow, and low enough that a hostile document
//! cannot make us hold or loop over much. JSON depth is bounded by the parser (128).

/// Bytes of a manifest or an index: what every registry and Docker accept.
pub const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Bytes of an image config. Configs carry labels and a history, and exceed manifests in practice.
pub const MAX_CONFIG_BYTES: usize = 8 << 20;
/// Layers of one image: as many as Linux' overlay takes as lower directories.
pub const MAX_LAYERS: usize = 500;
/// Entries of an index.
pub const MAX_INDEX_ENTRIES: usize = 2000;
/// Entries of a config's history; empty layers count here but not among the layers.
pub const MAX_HISTORY: usize = 10_000;
/// Bytes of a descriptor's size: offsets must fit a file offset.
pub const MAX_BLOB_BYTES: u64 = i64::MAX as u64;
