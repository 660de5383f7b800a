//! Resolves and streams images from OCI registries.
#![forbid(unsafe_code)]
