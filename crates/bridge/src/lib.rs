//! Where waiting code meets blocking code.
#![forbid(unsafe_code)]
