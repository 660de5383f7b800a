//! What tests share: tar literals, an in-process registry.
#![forbid(unsafe_code)]
