//! What is claimed of one client and the others.

use std::fmt;
use std::str::FromStr;

/// Something that must not get from one client to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A guest that traps or breaks the contract.
    Crash,
    /// A guest that computes for ever.
    Hang,
    /// A guest that takes all the memory it can get.
    Memory,
    /// A guest that leaks handles and memory.
    Handles,
    /// What one client sends, and nobody else may see.
    Data,
    /// A client that takes all it can get, and one that takes nothing of what it asked for.
    Bandwidth,
    /// More connections, slow heads, half-open connections and resets than anybody needs.
    Floods,
    /// What is not published.
    Authority,
    /// What is left of clients that are gone.
    Remains,
    /// Bytes that are no request.
    Bytes,
    /// Viewers of something live that stall, leave or crash.
    Live,
}

impl Claim {
    /// All of them, in the order in which they are tried.
    pub const ALL: [Self; 11] = [
        Self::Crash,
        Self::Hang,
        Self::Memory,
        Self::Handles,
        Self::Data,
        Self::Bandwidth,
        Self::Floods,
        Self::Authority,
        Self::Remains,
        Self::Bytes,
        Self::Live,
    ];

    /// One word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Hang => "hang",
            Self::Memory => "memory",
            Self::Handles => "handles",
            Self::Data => "data",
            Self::Bandwidth => "bandwidth",
            Self::Floods => "floods",
            Self::Authority => "authority",
            Self::Remains => "remains",
            Self::Bytes => "bytes",
            Self::Live => "live",
        }
    }

    /// What is claimed.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Crash => "a crash stays in",
            Self::Hang => "a hang stays in",
            Self::Memory => "memory stays in",
            Self::Handles => "handles stay in",
            Self::Data => "data stays in",
            Self::Bandwidth => "bandwidth stays in",
            Self::Floods => "floods stay out",
            Self::Authority => "authority stays in",
            Self::Remains => "nothing is left",
            Self::Bytes => "bad bytes stay in",
            Self::Live => "live viewers stay apart",
        }
    }

    /// What is done to find out.
    pub fn attack(self) -> &'static str {
        match self {
            Self::Crash => "guests trap, recurse without end and break the contract",
            Self::Hang => "guests compute without end, and open without end",
            Self::Memory => "guests fill all the memory they can get",
            Self::Handles => "guests make handles without end, and leak memory",
            Self::Data => "guests look for what others sent, in all the memory they can get",
            Self::Bandwidth => "clients read as fast as they can, others ask for much and read nothing",
            Self::Floods => "silent connections, slow heads, half-closed connections, resets",
            Self::Authority => "guests open and list names that lead elsewhere",
            Self::Remains => "clients live and end in many ways",
            Self::Bytes => "clients send mutated requests and noise",
            Self::Live => "viewers of a live source stall, leave and crash",
        }
    }

    /// Whether it is tried again where it has to fail.
    pub(crate) fn has_control(self) -> bool {
        matches!(self, Self::Crash | Self::Hang | Self::Memory | Self::Data)
    }

    /// Whether only a guest can try it that fails when it is asked to.
    pub(crate) fn needs_faults(self) -> bool {
        matches!(self, Self::Crash | Self::Hang | Self::Memory | Self::Handles | Self::Data | Self::Authority)
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
