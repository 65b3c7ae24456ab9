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
use std::fmt::Debug;
use std::hash::Hash;

use cloakroom::SessionId;

/// A sequential specification: what one recorded operation does to the object.
pub(crate) trait Step: Debug {
    type State: Clone + Debug + Eq + Hash;

    /// Stamps taken before the call and after the return.
    fn span(&self) -> (u64, u64);

    /// Returns the state after the operation, or `None` if it could not have had its outcome in this one.
    /// `setting` is what the object was made with.
    fn step(&self, state: &Self::State, setting: u64) -> Option<Self::State>;

    /// Tells whether the operation changes nothing in any state.
    fn only_looks(&self) -> bool;
}

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

impl Step for Op {
    type State = State;

    fn span(&self) -> (u64, u64) {
        (self.call, self.ret)
    }

    fn step(&self, state: &State, idle: u64) -> Option<State> {
        step(state, self, idle)
    }

    fn only_looks(&self) -> bool {
        // Who sees a session gone may be the first to see that it has expired.
        self.effect == Effect::Nothing && self.needs != Needs::Gone
    }
}

/// Which operations have been placed, and the state that they led to.
#[derive(PartialEq, Eq, Hash)]
struct Config<S> {
    /// All operations before this one are placed, it is not.
    first: usize,
    /// Bit k stands for operation `first + k`.
    placed: u128,
    state: S,
}

impl<S: Clone + Eq + Hash> Config<S> {
    /// Places every operation that may be next: one that was called before any other that is not
    /// placed had returned.
    fn expand<O: Step<State = S>>(&self, ops: &[O], setting: u64, next: &mut HashSet<Self>) {
        let mut first_return = u64::MAX;
        let mut found = Vec::new();
        for (k, op) in ops[self.first..].iter().enumerate() {
            let (call, ret) = op.span();
            if call > first_return {
                break;
            }
            assert!(k < 128, "a window has more than 128 operations at once");
            if self.placed >> k & 1 == 1 {
                continue;
            }
            first_return = first_return.min(ret);
            let Some(state) = op.step(&self.state, setting) else { continue };
            let placed = self.placed | 1 << k;
            let run = placed.trailing_ones();
            let (first, placed) = (self.first + run as usize, placed.checked_shr(run).unwrap_or(0));
            let config = Self { first, placed, state };
            if op.only_looks() {
                // It may as well come now, whatever comes after it: no other choice leads further.
                next.insert(config);
                return;
            }
            found.push(config);
        }
        next.extend(found);
    }
}

/// Returns every state in which an object may be after these operations, which are in the order of
/// their calls, if it was in one of `starts` before; or how many of them can be placed at the most.
pub(crate) fn check<O: Step>(
    setting: u64,
    starts: &[O::State],
    ops: &[O],
) -> Result<Vec<O::State>, usize> {
    let start = |state: &O::State| Config { first: 0, placed: 0, state: state.clone() };
    let mut configs: HashSet<_> = starts.iter().map(start).collect();
    for placed in 0..ops.len() {
        let mut next = HashSet::new();
        configs.iter().for_each(|config| config.expand(ops, setting, &mut next));
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
pub(crate) fn explain<O: Step>(starts: &[O::State], ops: &[O], placed: usize) -> String {
    let lines: Vec<_> = ops.iter().map(|op| format!("  {op:?}")).collect();
    format!(
        "no order of these operations is possible beyond the first {placed} of {}\n\
         it began in one of {starts:?}\n{}",
        ops.len(),
        lines.join("\n"),
    )
}
