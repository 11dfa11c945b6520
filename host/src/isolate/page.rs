//! The report as one page that needs nothing from anywhere else.
use super::report::Report;

pub(super) fn of(report: &Report) -> String {
    report.json()
}
