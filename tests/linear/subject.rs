//! Owns the stores that are put to the checker: the real one, and ones with a fault planted on top.

use std::cell::Cell;
use std::thread::yield_now;
use std::time::Duration;

use cloakroom::{ManualClock, Session, SessionId, SessionStore};

/// What the sessions hold: the number of the write.
///
/// It runs inside the store's operations, as any user's type does, and now and then gives the
/// processor away there: so operations overlap even where there is but one processor.
#[derive(Debug)]
pub(crate) struct Value(pub(crate) u64);

impl Clone for Value {
    fn clone(&self) -> Self {
        pause();
        Self(self.0)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        pause();
    }
}

/// Gives the processor away at every fourth call on this thread.
pub(super) fn pause() {
    thread_local! {
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }
    // A value that is dropped while its thread is torn down does not pause.
    let turn = CALLS.try_with(|calls| calls.replace(calls.get().wrapping_add(1)));
    if turn.is_ok_and(|calls| calls % 4 == 0) {
        yield_now();
    }
}

/// A store under test. What a fault changes can be overridden; the rest is the real store.
pub(crate) trait Subject: Send + Sync + 'static {
    fn store(&self) -> &SessionStore<Value>;

    fn save(&self, session: &Session<Value>) -> bool {
        self.store().save(session)
    }

    /// Writes a value, and returns the one it replaced.
    fn update(&self, id: &SessionId, value: u64) -> Option<u64> {
        self.store().update(id, |held| std::mem::replace(&mut held.0, value))
    }

    fn rotate(&self, session: &mut Session<Value>) -> bool {
        self.store().rotate(session)
    }

    fn destroy(&self, id: &SessionId) -> bool {
        self.store().destroy(id)
    }
}

impl Subject for SessionStore<Value> {
    fn store(&self) -> &SessionStore<Value> {
        self
    }
}

/// Returns a store with the fewest shards, so that operations meet, and a small sweep budget.
pub(crate) fn store(clock: &ManualClock, idle: Option<u64>) -> SessionStore<Value> {
    let builder = SessionStore::builder().shards(2).sweep_budget(4).clock(clock.clone());
    let builder = builder.on_end(|_| pause());
    let builder = match idle {
        Some(nanos) => builder.idle_timeout(Duration::from_nanos(nanos)),
        None => builder,
    };
    builder.build().unwrap()
}

/// Its update is a load and then a save, as applications write it.
pub(crate) struct LoadThenSave(pub(crate) SessionStore<Value>);

impl Subject for LoadThenSave {
    fn store(&self) -> &SessionStore<Value> {
        &self.0
    }

    fn update(&self, id: &SessionId, value: u64) -> Option<u64> {
        let mut session = self.0.load(id)?;
        let held = std::mem::replace(&mut session.0, value);
        yield_now();
        self.0.save(&session).then_some(held)
    }
}

/// Its save brings back a session that has ended.
pub(crate) struct SaveInserts(pub(crate) SessionStore<Value>);

impl Subject for SaveInserts {
    fn store(&self) -> &SessionStore<Value> {
        &self.0
    }

    fn save(&self, session: &Session<Value>) -> bool {
        self.0.save(session) || self.0.try_create_with_id(session.id(), Value(session.0)).is_ok()
    }
}

/// Its rotate makes the new session and then ends the old one.
pub(crate) struct RotateInTwoSteps(pub(crate) SessionStore<Value>);

impl Subject for RotateInTwoSteps {
    fn store(&self) -> &SessionStore<Value> {
        &self.0
    }

    fn rotate(&self, session: &mut Session<Value>) -> bool {
        let Some(stored) = self.0.peek(session.id()) else {
            return false;
        };
        let moved = self.0.create_with(Value(stored.0));
        yield_now();
        if !self.0.destroy(session.id()) {
            self.0.destroy(moved.id());
            return false;
        }
        *session = moved;
        true
    }
}

/// Its destroy tells every caller that it was the one.
pub(crate) struct DestroyForAll(pub(crate) SessionStore<Value>);

impl Subject for DestroyForAll {
    fn store(&self) -> &SessionStore<Value> {
        &self.0
    }

    fn destroy(&self, id: &SessionId) -> bool {
        let there = self.0.contains(id);
        yield_now();
        self.0.destroy(id);
        there
    }
}
