//! Owns the judgement whether a recorded history could have come from an atomic session store.
//!
//! The method is Wing and Gong's, with Lowe's memory of configurations already seen: put the
//! operations in any order that respects real time, and ask the sequential specification whether it
//! allows that order. It goes breadth first, one more operation placed at each level, because the
//! next window of the history needs every state that this one may have ended in.
//!
//! The object that is checked is a family: an id that callers chose and every id that sessions were
//! rotated to from it. A rotation is then one step on one object, which ends the old id and begins
//! the new one; no other operation touches two ids, so families are independent of each other, and a
//! history is linearizable if each family's is.

use std::collections::HashSet;

use cloakroom::SessionId;

/// The live sessions of a family.
pub(crate) type State = Vec<(SessionId, Life)>;

/// A live session: which write it holds, and between which times its deadline lies.
///
/// The time at which an operation read the clock is known only to lie between its two ends, so the
/// deadline is known only within bounds as well. Without an idle timeout both are `u64::MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) value: u64,
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

/// What must be true of a session at the instant of an operation, for its outcome to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Gone,
    Live,
    /// Live, and it holds this write. Every write is of another value, so a value is a version.
    Holds(u64),
    /// Live, and it holds any other write.
    HoldsNot(u64),
}

/// What an operation then does to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nothing,
    /// Moves the deadline.
    Touch,
    /// Writes a value, and moves the deadline.
    Put(u64),
    End,
    /// Moves the session to another id, and moves the deadline.
    Move(SessionId),
}

/// One operation with its outcome. Stamps come from one counter, times from the store's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) what: &'static str,
    pub(crate) id: SessionId,
    pub(crate) needs: Needs,
    pub(crate) effect: Effect,
    /// Stamps taken before the call and after the return.
    pub(crate) call: u64,
    pub(crate) ret: u64,
    /// Clock readings taken before the call and after the return.
    pub(crate) before: u64,
    pub(crate) after: u64,
}

impl Op {
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.call < other.ret && other.call < self.ret
    }
}

/// The sequential specification: the state after an operation, or `None` if the operation could not
/// have had its outcome in this state. `idle` is `u64::MAX` for sessions that never expire.
fn step(state: &State, op: &Op, idle: u64) -> Option<State> {
    let at = state.iter().position(|(id, _)| *id == op.id);
    let life = at.map(|at| state[at].1);
    let possible = match (op.needs, life) {
        (Needs::Gone, None) => true,
        // It may have expired by now; taken out below, it then stays dead for good.
        (Needs::Gone, Some(life)) => life.earliest <= op.after,
        (_, None) => false,
        // An expired session is invisible at once.
        (_, Some(life)) if life.latest <= op.before => false,
        (Needs::Live, Some(_)) => true,
        (Needs::Holds(value), Some(life)) => life.value == value,
        (Needs::HoldsNot(value), Some(life)) => life.value != value,
    };
    if !possible {
        return None;
    }
    let mut next = state.clone();
    let old = at.map(|at| next.remove(at).1).filter(|_| op.needs != Needs::Gone);
    let (id, value) = match op.effect {
        Effect::Nothing => {
            next.extend(old.map(|life| (op.id, life)));
            next.sort_unstable_by_key(|(id, _)| *id);
            return Some(next);
        }
        Effect::End => return Some(next),
        Effect::Touch => (op.id, old?.value),
        Effect::Put(value) => (op.id, value),
        Effect::Move(to) if next.iter().any(|(id, _)| *id == to) => return None,
        Effect::Move(to) => (to, old?.value),
    };
    let earliest = op.before.saturating_add(idle).max(old.map_or(0, |life| life.earliest));
    let latest = op.after.saturating_add(idle).max(old.map_or(0, |life| life.latest));
    next.push((id, Life { value, earliest, latest }));
    next.sort_unstable_by_key(|(id, _)| *id);
    Some(next)
}

/// Which operations have been placed, and the state that they led to.
#[derive(PartialEq, Eq, Hash)]
struct Config {
    /// All operations before this one are placed, it is not.
    first: usize,
    /// Bit k stands for operation `first + k`.
    placed: u128,
    state: State,
}

impl Config {
    /// Places every operation that may be next: one that was called before any other that is not
    /// placed had returned.
    fn expand(&self, ops: &[Op], idle: u64, next: &mut HashSet<Self>) {
        let mut first_return = u64::MAX;
        for (k, op) in ops[self.first..].iter().enumerate() {
            if op.call > first_return {
                break;
            }
            assert!(k < 128, "a window has more than 128 operations at once");
            if self.placed >> k & 1 == 1 {
                continue;
            }
            first_return = first_return.min(op.ret);
            if let Some(state) = step(&self.state, op, idle) {
                let placed = self.placed | 1 << k;
                let run = placed.trailing_ones();
                let first = self.first + run as usize;
                next.insert(Self { first, placed: placed.checked_shr(run).unwrap_or(0), state });
            }
        }
    }
}

/// Returns every state in which a family may be after these operations, which are in the order of
/// their calls, if it was in one of `starts` before; or how many of them can be placed at the most.
pub(crate) fn check(idle: u64, starts: &[State], ops: &[Op]) -> Result<Vec<State>, usize> {
    let start = |state: &State| Config { first: 0, placed: 0, state: state.clone() };
    let mut configs: HashSet<_> = starts.iter().map(start).collect();
    for placed in 0..ops.len() {
        let mut next = HashSet::new();
        configs.iter().for_each(|config| config.expand(ops, idle, &mut next));
        if next.is_empty() {
            return Err(placed);
        }
        configs = next;
    }
    Ok(configs.into_iter().map(|config| config.state).collect())
}

/// Returns how many operations overlap another on the same id.
pub(crate) fn overlapping(ops: &[Op]) -> usize {
    let meets = |(i, op): (usize, &Op)| {
        let meets = |(j, other): (usize, &Op)| i != j && op.id == other.id && op.overlaps(other);
        ops.iter().enumerate().any(meets)
    };
    ops.iter().enumerate().filter(|op| meets(*op)).count()
}

/// Tells a reader why a window was refused.
pub(crate) fn explain(starts: &[State], ops: &[Op], placed: usize) -> String {
    let lines: Vec<_> = ops.iter().map(|op| format!("  {op:?}")).collect();
    format!(
        "no order of these operations is possible beyond the first {placed} of {}\n\
         it began in one of {starts:?}\n{}",
        ops.len(),
        lines.join("\n"),
    )
}
