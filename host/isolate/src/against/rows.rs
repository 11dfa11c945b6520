//! The claims that can be tried from outside.

use crate::claim::Claim;

/// What can be tried from outside, in this order. Data come last: what is somebody else's may show up in any trial.
pub(crate) const ROWS: [Claim; 9] = [
    Claim::Bytes,
    Claim::Crash,
    Claim::Hang,
    Claim::Memory,
    Claim::Bandwidth,
    Claim::Floods,
    Claim::Idle,
    Claim::Remains,
    Claim::Data,
];

/// What attackers from outside do to break a claim.
pub(crate) fn attack(claim: Claim) -> &'static str {
    match claim {
        Claim::Bytes => "malformed requests, noise, huge header sections, pipelining and range bombs",
        Claim::Crash => "requests that make a handler crash; malformed requests",
        Claim::Hang => "half a header section, half a body, a response that is not read; handlers that hang",
        Claim::Memory => "requests that make a handler take memory and keep it",
        Claim::Bandwidth => "clients that read all there is as fast as they can",
        Claim::Floods => "silent connections, slow header sections, half-closed connections, resets",
        Claim::Idle => "many connections that are idle after a response",
        Claim::Remains => "rounds of clients that connect and disconnect in many ways",
        Claim::Data => "clients that look for what others sent in what they get",
        _ => claim.attack(),
    }
}
