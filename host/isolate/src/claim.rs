//! What is claimed about clients of one server.

use std::fmt;
use std::str::FromStr;

/// Something that must not get from one client to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A guest that traps or breaks the contract.
    Crash,
    /// A guest that never stops computing.
    Hang,
    /// A guest that takes all the memory it can get.
    Memory,
    /// A guest that leaks handles and memory.
    Handles,
    /// A guest that reports without end.
    Reports,
    /// A guest that has the host work for it and moves nothing.
    Work,
    /// What one client sends, and no other client may see.
    Data,
    /// The same while the machine swaps.
    Pressure,
    /// A client that reads as fast as it can, and one that reads nothing of what it asked for.
    Bandwidth,
    /// Floods of connections, slow header sections, half-closed connections and resets.
    Floods,
    /// Requests for listings of a large folder, by clients that leave at once.
    Listings,
    /// More idle connections than the server has places.
    Idle,
    /// Names that lead out of what is published.
    Authority,
    /// What is left of clients after they disconnect.
    Remains,
    /// Bytes that are not a request.
    Bytes,
    /// Viewers of something live that stall, leave or crash, and producers of hostile media.
    Live,
    /// Code that has taken over the server's process.
    Walls,
}

impl Claim {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 17] = [
        Self::Crash,
        Self::Hang,
        Self::Memory,
        Self::Handles,
        Self::Reports,
        Self::Work,
        Self::Data,
        Self::Pressure,
        Self::Bandwidth,
        Self::Floods,
        Self::Listings,
        Self::Idle,
        Self::Authority,
        Self::Remains,
        Self::Bytes,
        Self::Live,
        Self::Walls,
    ];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Memory => "memory",
            Self::Handles => "handles",
            Self::Reports => "reports",
            Self::Work => "work",
            Self::Data => "data",
            Self::Pressure => "pressure",
            Self::Bandwidth => "bandwidth",
            Self::Floods => "floods",
            Self::Listings => "listings",
            Self::Idle => "idle",
            Self::Authority => "authority",
            Self::Remains => "remains",
            Self::Bytes => "bytes",
            Self::Live => "live",
            Self::Walls => "walls",
        }
    }

    /// The claim as a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Crash => "a crash stays in",
            Self::Hang => "a hang stays in",
            Self::Memory => "memory stays in",
            Self::Handles => "handles stay in",
            Self::Reports => "reports stay few",
            Self::Work => "idle work ends",
            Self::Data => "data stays in",
            Self::Pressure => "data stays in under memory pressure",
            Self::Bandwidth => "bandwidth stays in",
            Self::Floods => "floods stay out",
            Self::Listings => "listings stay fair",
            Self::Idle => "idle crowds stay out",
            Self::Authority => "authority stays in",
            Self::Remains => "nothing is left",
            Self::Bytes => "bad bytes stay in",
            Self::Live => "live viewers stay apart",
            Self::Walls => "walls stand",
        }
    }

    /// What the attackers do.
    pub fn attack(self) -> &'static str {
        match self {
            Self::Crash => "guests trap, recurse without end and break the contract",
            Self::Hang => "guests compute without end, open and take turns without end",
            Self::Memory => "guests fill all the memory they can get",
            Self::Handles => "guests make and collect handles without end, and leak memory",
            Self::Reports => "guests report without end",
            Self::Work => "guests open, list, wait and take turns in circles",
            Self::Data => "guests look for what others sent, in all the memory they can get",
            Self::Pressure => "the same after the memory of a client was swapped out",
            Self::Bandwidth => "clients read as fast as they can, others ask for much and read nothing",
            Self::Floods => "silent connections, slow header sections, half-closed connections, resets",
            Self::Listings => "clients ask for listings of a large folder and reset at once",
            Self::Idle => "more connections than the server has places, all of them silent",
            Self::Authority => "guests open and list names that lead elsewhere",
            Self::Remains => "clients connect and disconnect in many ways",
            Self::Bytes => "clients send mutated requests and noise",
            Self::Live => "viewers of a live source stall, leave and crash; producers send hostile media",
            Self::Walls => "code in the process opens files, connects, runs programs, reaches other processes",
        }
    }

    /// Whether it is tried again where it must fail.
    pub(crate) fn has_control(self) -> bool {
        !matches!(self, Self::Bandwidth | Self::Floods | Self::Idle | Self::Authority | Self::Remains | Self::Bytes)
    }

    /// Whether it takes a guest that fails on demand.
    pub(crate) fn needs_faults(self) -> bool {
        matches!(
            self,
            Self::Crash
                | Self::Hang
                | Self::Memory
                | Self::Handles
                | Self::Reports
                | Self::Work
                | Self::Data
                | Self::Pressure
                | Self::Listings
                | Self::Authority
        )
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|claim| claim.name() == name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|claim| claim.name()).collect();
            format!("a claim is one of {}", names.join(", "))
        })
    }
}
