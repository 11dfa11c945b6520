//! One command of the program in each file.

mod against;
mod any_certificate;
mod completions;
mod export_guest;
mod health;
mod inspect;
mod isolate;
mod man;
mod replay;
mod report_file;
mod serve;
mod stopping;
mod targets;

pub(crate) use completions::completions;
pub(crate) use export_guest::{export_faulty, export_guest};
pub(crate) use health::health;
pub(crate) use inspect::{inspect, inspect_engine};
pub(crate) use isolate::isolate;
pub(crate) use man::man;
pub(crate) use replay::replay;
pub(crate) use serve::serve;
