//! Pulls images from registries into the store.
#![forbid(unsafe_code)]
