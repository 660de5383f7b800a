//! How a stack and a writable layer become one mounted root on this kernel.
#![forbid(unsafe_code)]
