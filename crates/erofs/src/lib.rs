//! Writes a layer's EROFS index and reads it back.
#![forbid(unsafe_code)]
