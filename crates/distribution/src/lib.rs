//! The registry protocol as data: routes, scopes, challenges, ranges, error codes.
#![forbid(unsafe_code)]
