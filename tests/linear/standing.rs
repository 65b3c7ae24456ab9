//! Owns the specification of one subject's sessions: who is the subject's, who is a guest's, and the limit.
//!
//! The object is the subject with everything that may become its. An operation on many sessions, a list or a
//! revocation, is no single step and does not claim to be one: it is taken apart into what it says of each.

use cloakroom::SessionId;

use super::check::Step;

/// A live session: its number, which it keeps through rotations, its id, and whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Visit {
    pub(crate) number: u64,
    pub(crate) id: SessionId,
    pub(crate) whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Whose {
    Guests,
    Subjects,
}

/// What an operation, or a part of one, turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Created(Visit),
    /// Not created: the subject has as many as it may.
    Rejected,
    SignedIn(SessionId),
    /// Not signed in: the subject has as many as it may.
    NotSignedIn(SessionId),
    SignedOut(SessionId),
    Rotated(SessionId, SessionId),
    Destroyed(SessionId),
    /// Revoked, or displaced by another: only a subject's session is.
    Revoked(SessionId),
    Missed(SessionId),
    Listed(SessionId),
    /// A list, or a revocation, that left this session out: at some instant it was not the subject's.
    NotSubjects(u64),
    /// A revocation that did not keep this session: at some instant, before it ended, it was not the
    /// subject's under that id.
    NotKept(u64, SessionId),
}

/// A recorded operation, or a part of one, between two stamps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) event: Event,
    pub(crate) call: u64,
    pub(crate) ret: u64,
}

fn find(state: &[Visit], id: SessionId) -> Option<usize> {
    state.iter().position(|visit| visit.id == id)
}

/// Changes the session of this id, or ends it if `change` returns none.
fn change(
    state: &[Visit],
    id: SessionId,
    change: impl FnOnce(Visit) -> Option<Visit>,
) -> Option<Vec<Visit>> {
    let mut next = state.to_vec();
    let visit = next.remove(find(state, id)?);
    next.extend(change(visit));
    next.sort_unstable();
    Some(next)
}

impl Step for Act {
    type State = Vec<Visit>;

    fn span(&self) -> (u64, u64) {
        (self.call, self.ret)
    }

    fn step(&self, state: &Vec<Visit>, limit: u64) -> Option<Vec<Visit>> {
        let subjects = |visit: &&Visit| visit.whose == Whose::Subjects;
        let full = state.iter().filter(subjects).count() as u64 >= limit;
        let subjects_at = |id| find(state, id).is_some_and(|at| subjects(&&state[at]));
        let as_it_is = |possible: bool| possible.then(|| state.clone());
        match self.event {
            Event::Created(new) => {
                let fits = new.whose == Whose::Guests || !full;
                let known = state.iter().any(|it| it.id == new.id || it.number == new.number);
                let mut next = as_it_is(fits && !known)?;
                next.push(new);
                next.sort_unstable();
                Some(next)
            }
            Event::Rejected => as_it_is(full),
            Event::SignedIn(id) => {
                let fits = subjects_at(id) || !full;
                let sign_in = |visit| fits.then_some(Visit { whose: Whose::Subjects, ..visit });
                change(state, id, sign_in).filter(|next| next.len() == state.len())
            }
            Event::NotSignedIn(id) => {
                as_it_is(full && find(state, id).is_some() && !subjects_at(id))
            }
            Event::SignedOut(id) => {
                change(state, id, |visit| Some(Visit { whose: Whose::Guests, ..visit }))
            }
            Event::Rotated(old, new) => {
                let free = find(state, new).is_none();
                change(state, old, |visit| Some(Visit { id: new, ..visit })).filter(|_| free)
            }
            Event::Destroyed(id) => change(state, id, |_| None),
            Event::Revoked(id) => subjects_at(id).then(|| change(state, id, |_| None))?,
            Event::Missed(id) => as_it_is(find(state, id).is_none()),
            Event::Listed(id) => as_it_is(subjects_at(id)),
            Event::NotKept(number, id) => {
                as_it_is(state.iter().any(|it| it.number == number) && !subjects_at(id))
            }
            Event::NotSubjects(number) => {
                as_it_is(!state.iter().filter(subjects).any(|visit| visit.number == number))
            }
        }
    }

    fn only_looks(&self) -> bool {
        match self.event {
            Event::Rejected
            | Event::NotSignedIn(_)
            | Event::Missed(_)
            | Event::Listed(_)
            | Event::NotSubjects(_)
            | Event::NotKept(..) => true,
            Event::Created(_)
            | Event::SignedIn(_)
            | Event::SignedOut(_)
            | Event::Rotated(..)
            | Event::Destroyed(_)
            | Event::Revoked(_) => false,
        }
    }
}
