//! The components in other hosts than ours.

mod common;
mod http;
mod isolation;
