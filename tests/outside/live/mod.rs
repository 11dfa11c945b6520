//! One source, many viewers, as the bytes come: pipes, FIFOs, files that grow, folders that change, and
//! FFmpeg's syntax of sources.

mod ends;
mod growing;
mod join;
mod lag;
mod requests;
mod speed;
mod syntax;
