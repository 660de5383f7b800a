//! What a pull will take.

/// Bounds on what comes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of tar that one layer may decode to.
    pub tar_bytes: u64,
    /// What a layer's tar may hold.
    pub tree: lapstrake_tree::limits::Limits,
}

impl Limits {
    /// No layer in the field comes near; a decompression bomb is stopped by the disk before.
    pub const DEFAULT: Self = Self {
        tar_bytes: 1 << 44,
        tree: lapstrake_tree::limits::Limits::DEFAULT,
    };
}
