//! Which walls stand, and why the others do not, in words for whoever runs the server.

use std::fmt;

/// One of the walls around the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wall {
    /// No capabilities, none to gain, no core dumps, no tracing by processes of the same user.
    Privileges,
    /// Files outside of what is served or written cannot be opened (Landlock).
    Files,
    /// No TCP port can be bound or connected to (Landlock, Linux 6.7).
    Network,
    /// Processes outside cannot be signalled, abstract unix sockets outside not be reached (Landlock,
    /// Linux 6.12).
    Scopes,
    /// Memory cannot be made executable (`PR_SET_MDWE`, Linux 6.3).
    Code,
    /// System calls that serving does not need are refused, or end the process (seccomp).
    Calls,
}

impl fmt::Display for Wall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileges => "privileges",
            Self::Files => "files",
            Self::Network => "network",
            Self::Scopes => "scopes",
            Self::Code => "code",
            Self::Calls => "calls",
        })
    }
}

/// Whether a wall stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It stands.
    Stands,
    /// This system cannot raise it, or not all of it: a sentence that says why.
    Missing(String),
    /// It was left out on purpose: a sentence that says why.
    Omitted(String),
}

/// A wall that this system cannot raise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub wall: Wall,
    /// Why, as a sentence without a full stop.
    pub why: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.wall, self.why)
    }
}

impl std::error::Error for Missing {}

/// The walls of this process.
///
/// It is displayed as a line of those that stand, and a line for each of the others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    walls: Vec<(Wall, State)>,
}

impl Report {
    /// Every wall and its state, in the order in which they were raised. Empty: walls are off.
    pub fn walls(&self) -> &[(Wall, State)] {
        &self.walls
    }

    /// Whether this wall stands.
    pub fn stands(&self, wall: Wall) -> bool {
        self.walls.iter().any(|(raised, state)| *raised == wall && *state == State::Stands)
    }

    pub(crate) fn add(&mut self, wall: Wall, state: State) {
        self.walls.push((wall, state));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing: Vec<_> = self.walls.iter().filter(|(_, state)| *state == State::Stands).collect();
        if standing.is_empty() {
            f.write_str("none")?;
        }
        for (at, (wall, _)) in standing.iter().enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{wall}")?;
        }
        for (wall, state) in &self.walls {
            match state {
                State::Stands => {}
                State::Missing(why) => write!(f, "\nmissing: {wall}: {why}")?,
                State::Omitted(why) => write!(f, "\nleft out: {wall}: {why}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_stands_and_says_why_the_rest_does_not() {
        let mut report = Report::default();
        assert_eq!(report.to_string(), "none");
        report.add(Wall::Privileges, State::Stands);
        report.add(Wall::Files, State::Missing("this kernel was built without Landlock".into()));
        report.add(Wall::Code, State::Omitted("the guest may be replaced".into()));
        report.add(Wall::Calls, State::Stands);
        let lines = "privileges, calls\n\
                     missing: files: this kernel was built without Landlock\n\
                     left out: code: the guest may be replaced";
        assert_eq!(report.to_string(), lines);
        assert!(report.stands(Wall::Calls) && !report.stands(Wall::Files) && !report.stands(Wall::Network));
    }
}
