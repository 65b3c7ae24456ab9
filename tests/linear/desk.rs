//! Owns the stores with an index that are put to the checker: the real one, and ones with a fault planted on top.

use std::cell::RefCell;
use std::thread::yield_now;

use cloakroom::{Cause, CreateError, OnLimit, Session, SessionId, SessionStore};

use super::subject::pause;

/// Live sessions that the subject may have.
pub(crate) const LIMIT: usize = 3;

/// What a session holds: whether it is the subject's. Like `Value`, it gives the processor away now and then.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) signed_in: bool,
}

impl Clone for Visitor {
    fn clone(&self) -> Self {
        pause();
        Self { ..*self }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        pause();
    }
}

thread_local! {
    /// What this thread's operation has revoked or displaced.
    static REVOKED: RefCell<Vec<SessionId>> = const { RefCell::new(Vec::new()) };
}

/// Returns what this thread's last operation has revoked or displaced.
pub(crate) fn take_revoked() -> Vec<SessionId> {
    REVOKED.take()
}

/// A store under test. What a fault changes can be overridden; the rest is the real store.
pub(crate) trait Desk: Send + Sync + 'static {
    fn store(&self) -> &SessionStore<Visitor>;

    fn create(&self, visitor: Visitor) -> Result<Session<Visitor>, CreateError> {
        self.store().try_create_with(visitor).map_err(|rejected| rejected.error)
    }

    /// Revokes all, or all but one, and returns what it ended.
    fn revoke(&self, keep: Option<&SessionId>) -> Vec<SessionId> {
        let revoked = match keep {
            None => self.store().revoke_all(1),
            Some(keep) => self.store().revoke_others(1, keep),
        };
        let ended = take_revoked();
        assert_eq!(ended.len(), revoked, "the listener hears of what is counted");
        ended
    }
}

impl Desk for SessionStore<Visitor> {
    fn store(&self) -> &SessionStore<Visitor> {
        self
    }
}

/// Returns a store of guests and one subject, with the fewest shards.
pub(crate) fn desk(limit: Option<OnLimit>) -> SessionStore<Visitor> {
    let builder = SessionStore::builder().shards(2);
    let builder = builder.index_by(|it: &Visitor| it.signed_in.then(|| 1.into()));
    let builder = builder.on_end(|end| {
        pause();
        if matches!(end.cause, Cause::Revoked | Cause::Displaced) {
            REVOKED.with_borrow_mut(|revoked| revoked.push(end.id));
        }
    });
    match limit {
        Some(then) => builder.max_per_subject(LIMIT, then).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

/// It looks how many there are before it creates one more.
pub(crate) struct CountThenCreate(pub(crate) SessionStore<Visitor>);

impl Desk for CountThenCreate {
    fn store(&self) -> &SessionStore<Visitor> {
        &self.0
    }

    fn create(&self, visitor: Visitor) -> Result<Session<Visitor>, CreateError> {
        if visitor.signed_in && self.0.count_of(1) >= LIMIT {
            return Err(CreateError::SubjectLimit { max_per_subject: LIMIT });
        }
        yield_now();
        Ok(self.0.create_with(visitor))
    }
}

/// It revokes by destroying what the list says.
pub(crate) struct ListThenDestroy(pub(crate) SessionStore<Visitor>);

impl Desk for ListThenDestroy {
    fn store(&self) -> &SessionStore<Visitor> {
        &self.0
    }

    fn revoke(&self, keep: Option<&SessionId>) -> Vec<SessionId> {
        let mut ids: Vec<_> = self.0.sessions_of(1).iter().map(|session| session.id).collect();
        yield_now();
        ids.retain(|id| Some(id) != keep && self.0.destroy(id));
        ids
    }
}
