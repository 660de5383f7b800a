//! What Lapstrake does: images and running roots, as verbs.
#![forbid(unsafe_code)]
