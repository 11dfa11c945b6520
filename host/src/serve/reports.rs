//! How much of what a client's guest reports goes to the log.
//!
//! What an ordinary report says was said by the client, in a request of more bytes than that. So a client pays
//! for its lines with the bytes that it sends, and a guest that reports by itself soon has nothing left.

use std::time::Duration;

use tokio::time::Instant;

use crate::contract::Report;
use crate::limits::{REPORT_BYTES, REPORT_COST, REPORT_CREDIT, REPORTED_BYTES};

/// What one client's guest may still report.
pub(super) struct Reports {
    credit: u64,
    second: Instant,
    in_second: u64,
    left_out: u64,
}

impl Reports {
    pub(super) fn new(now: Instant) -> Self {
        Self { credit: REPORT_CREDIT, second: now, in_second: 0, left_out: 0 }
    }

    /// Notes that the client has sent something.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes).min(REPORT_CREDIT);
    }

    /// Whether a report goes to the log. Otherwise it is counted.
    pub(super) fn allow(&mut self, report: &Report, now: Instant) -> bool {
        if now.saturating_duration_since(self.second) >= Duration::from_secs(1) {
            (self.second, self.in_second) = (now, 0);
        }
        let texts = [&report.request, &report.referrer, &report.agent];
        let told: usize = texts.iter().map(|text| text.len().min(REPORT_BYTES)).sum();
        let cost = (told as u64).max(REPORT_COST);
        let left = self.credit.checked_sub(cost).filter(|_| self.in_second < REPORTED_BYTES);
        match left {
            Some(left) => {
                self.credit = left;
                self.in_second += cost;
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }

    /// How many were left out so far.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(bytes: usize) -> Report {
        Report { request: "a".repeat(bytes), status: 200, referrer: String::new(), agent: String::new() }
    }

    #[test]
    fn every_request_is_reported_however_many_there_are() {
        let now = Instant::now();
        let mut reports = Reports::new(now);
        let shortest = report("GET / HTTP/1.0".len());
        // The shortest requests of HTTP/1, in buffers as full as they can be.
        for _ in 0..100 {
            reports.earn(910 * 18);
            assert!((0..910).all(|_| reports.allow(&shortest, now)));
        }
        // One that fills a buffer, and then some.
        let longest = report(20 << 10);
        for _ in 0..100 {
            reports.earn(16 << 10);
            reports.earn(8 << 10);
            assert!(reports.allow(&longest, now));
        }
    }

    #[test]
    fn a_guest_that_reports_by_itself_is_left_out() {
        let now = Instant::now();
        let mut reports = Reports::new(now);
        reports.earn(18);
        let told = (0..100_000).filter(|_| reports.allow(&report(0), now)).count() as u64;
        assert_eq!(told, REPORT_CREDIT / REPORT_COST);
        assert_eq!(reports.left_out(), 100_000 - told);
        // Once its client asks for something again, that is reported.
        reports.earn(18);
        assert!(reports.allow(&report(14), now));
    }

    #[test]
    fn a_client_that_helps_its_guest_fills_the_log_no_faster_than_that() {
        let began = Instant::now();
        let mut reports = Reports::new(began);
        let long = report(2 << 10);
        for second in 1..=3 {
            let now = began + Duration::from_secs(second);
            let mut told = 0;
            for _ in 0..10_000 {
                reports.earn(2 << 10);
                told += u64::from(reports.allow(&long, now)) * (2 << 10);
            }
            assert_eq!(told, REPORTED_BYTES);
        }
    }
}
