//! Pulls images from registries into the store, puts those there that are made here, and saves them as
//! files.
//!
//! ```text
//! pull ── resolve, choose the platform ── layers, several at once ── names ── proof
//!                                         layer: blob -> data, skeleton, spans, index
//! ```
//!
//! What it keeps true: an image's name is recorded only when everything it refers to is published; a
//! failed pull publishes nothing that was not verified, and keeps what was; memory does not grow
//! with the image.
#![forbid(unsafe_code)]

pub mod archive;
pub mod check;
pub mod encode;
mod error;
mod event;
mod fetch;
mod flight;
pub mod index;
mod layer;
mod lease;
mod limits;
mod own;
mod pull;
mod push;
pub mod repair;
mod source;
mod stored;
mod unpack;

pub use check::{check_layer, settle_layer};
pub use error::{Class, Error, NotHad};
pub use event::Event;
pub use limits::Limits;
pub use own::{OwnLayer, add_image, add_layer, add_tar, is_unnamed, unnamed};
pub use pull::{PullOptions, Pulled, pull, stopped};
pub use push::{Digests, LayerWay, PushEvent, PushOptions, PushedImage, PushedLayer, ToPush, push};
pub use source::RegistrySource;
