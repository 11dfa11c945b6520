//! From the list to the program that the kernel runs for each call.
//!
//! There are two programs, because one knows two actions and we need three. The first ends the process for
//! what is deadly; the second allows what is on the list and refuses the rest with `ENOSYS`, as a kernel
//! does that does not have the call: libraries know how to go on without. Of two answers the kernel takes
//! the harder one. For calls that are allowed whatever their arguments it runs neither (since 5.11).

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use rustix::process::getpid;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::calls::list::{self, Call, When};

/// Whether machine code may still be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// All of it is there.
    Fixed,
    /// Another guest may be loaded.
    Loaded,
}

/// Whether descriptors may be passed to other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passing {
    Nothing,
    Descriptors,
}

/// Restricts all threads of the process to the calls of the list.
pub(crate) fn restrict(code: Code, passing: Passing) -> Result<(), String> {
    let unfit = |error: BackendError| format!("no filter for this machine: {error}");
    let deadly: Vec<Call> = match code {
        Code::Fixed => list::DEADLY.iter().chain(list::MAKES_CODE).copied().collect(),
        Code::Loaded => list::DEADLY.to_vec(),
    };
    let deadly = program(&deadly, SeccompAction::KillProcess, SeccompAction::Allow).map_err(unfit)?;
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let more = match passing {
        Passing::Nothing => &[],
        Passing::Descriptors => list::PASSES_DESCRIPTORS,
    };
    let allowed: Vec<Call> = list::ALLOWED.iter().chain(more).copied().collect();
    let allowed = program(&allowed, SeccompAction::Allow, unknown).map_err(unfit)?;
    for program in [deadly, allowed] {
        seccompiler::apply_filter_all_threads(&program)
            .map_err(|error| format!("{error}: the kernel has no seccomp, or a container's filter hides it"))?;
    }
    Ok(())
}

fn program(calls: &[Call], on: SeccompAction, otherwise: SeccompAction) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, when) in calls {
        let alternatives = alternatives(when)?;
        rules.entry(*number).or_default().extend(alternatives);
    }
    SeccompFilter::new(rules, otherwise, on, TargetArch::try_from(ARCH)?)?.try_into()
}

/// The rules of which one must hold so that all of `when` does. None at all: it always does.
fn alternatives(when: &[When]) -> Result<Vec<SeccompRule>, BackendError> {
    let mut alternatives: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for when in when {
        let choices = choices(*when)?;
        alternatives = alternatives
            .iter()
            .flat_map(|so_far| choices.iter().map(move |choice| [&so_far[..], std::slice::from_ref(choice)].concat()))
            .collect();
    }
    if when.is_empty() {
        return Ok(Vec::new());
    }
    alternatives.into_iter().map(SeccompRule::new).collect()
}

/// The conditions of which one must hold.
fn choices(when: When) -> Result<Vec<SeccompCondition>, BackendError> {
    use SeccompCmpArgLen::{Dword, Qword};
    let condition = |argument, length, op, value| SeccompCondition::new(argument, length, op, value);
    match when {
        When::Is(argument, values) => {
            values.iter().map(|value| condition(argument, Dword, SeccompCmpOp::Eq, u64::from(*value))).collect()
        }
        When::Null(argument) => Ok(vec![condition(argument, Qword, SeccompCmpOp::Eq, 0)?]),
        When::With(argument, bits) => {
            let bits = u64::from(bits);
            Ok(vec![condition(argument, Dword, SeccompCmpOp::MaskedEq(bits), bits)?])
        }
        When::Without(argument, bits) => {
            Ok(vec![condition(argument, Dword, SeccompCmpOp::MaskedEq(u64::from(bits)), 0)?])
        }
        When::OwnProcess(argument) => {
            let own = u64::from(getpid().as_raw_pid().unsigned_abs());
            Ok(vec![condition(argument, Dword, SeccompCmpOp::Eq, own)?])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_call_must_all_hold_and_one_value_of_each() {
        let rules = |when| alternatives(when).expect("a rule").len();
        assert_eq!(rules(&[]), 0);
        assert_eq!(rules(&[When::Is(0, &[1, 2, 3])]), 3);
        assert_eq!(rules(&[When::Is(0, &[1, 2, 3]), When::Null(1), When::Is(2, &[4, 5])]), 6);
    }

    #[test]
    fn no_call_is_both_allowed_and_deadly_whatever_its_arguments() {
        for (number, when) in list::DEADLY.iter().chain(list::MAKES_CODE) {
            let allowed = list::ALLOWED.iter().any(|(allowed, _)| allowed == number);
            assert!(!when.is_empty() || !allowed, "call {number}");
        }
    }

    #[test]
    fn no_call_is_on_the_list_twice() {
        for list in [list::ALLOWED, list::DEADLY, list::MAKES_CODE] {
            let numbers: std::collections::BTreeSet<_> = list.iter().map(|(number, _)| number).collect();
            assert_eq!(numbers.len(), list.len());
        }
    }
}
