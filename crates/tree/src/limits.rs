//! How much of anything one layer may have. No size, count or depth of a tar is believed beyond these.

/// Longest path of an entry and longest target of a link, in bytes: Linux' PATH_MAX.
pub const PATH_BYTES_MAX: u64 = 4096;
/// Longest name in a directory, in bytes: Linux' NAME_MAX.
pub const NAME_BYTES_MAX: u64 = 255;
/// Deepest directory. As deep as a path of [`PATH_BYTES_MAX`] can name.
pub const DEPTH_MAX: u64 = PATH_BYTES_MAX / 2;
/// Longest attribute name, in bytes: Linux' XATTR_NAME_MAX.
pub const XATTR_NAME_BYTES_MAX: u64 = 255;
/// Longest attribute value, in bytes: Linux' XATTR_SIZE_MAX.
pub const XATTR_VALUE_BYTES_MAX: u64 = 64 << 10;
/// All attribute names of a file with one NUL each, in bytes: Linux' XATTR_LIST_MAX.
pub const XATTR_LIST_BYTES_MAX: u64 = 64 << 10;
/// All attributes of a file, names and values, in bytes: an EROFS inode has room for 256 KiB.
pub const XATTR_TOTAL_BYTES_MAX: u64 = 192 << 10;
/// Largest major number of a device: Linux has 12 bits.
pub const DEVICE_MAJOR_MAX: u64 = 0xfff;
/// Largest minor number of a device: Linux has 20 bits.
pub const DEVICE_MINOR_MAX: u64 = 0xf_ffff;
/// Symbolic links followed to find one entry's parent: Linux' MAXSYMLINKS.
pub const SYMLINKS_FOLLOWED_MAX: u64 = 40;

/// What one layer may have. A caller may be stricter than [`Limits::DEFAULT`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries of the tar; each costs memory in the tree.
    pub entries_max: u64,
    /// Directories that no entry gives, only longer paths: this many, and eight for each entry. One
    /// header may name thousands.
    pub implied_directories_base: u64,
    /// One extended header (PAX, GNU long name), or all global ones together, in bytes.
    pub extended_header_bytes_max: u64,
    /// Runs of one sparse file.
    pub sparse_runs_max: u64,
    /// What sparse files may cost beyond the bytes of the tar so far: zeros in `data` and index
    /// entries, in bytes. Without it a header of a few bytes could claim terabytes.
    pub sparse_bytes_base: u64,
    /// Length of `data`, in bytes.
    pub data_bytes_max: u64,
    /// Length of the skeleton file, in bytes.
    pub skeleton_bytes_max: u64,
}

impl Limits {
    /// What any layer in the field stays far below.
    pub const DEFAULT: Self = Self {
        entries_max: 10_000_000,
        implied_directories_base: 65_536,
        extended_header_bytes_max: 1 << 20,
        sparse_runs_max: 1 << 20,
        sparse_bytes_base: 64 << 20,
        data_bytes_max: 16 << 40,
        skeleton_bytes_max: 1 << 30,
    };
}
