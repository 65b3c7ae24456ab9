//! Owns when the users of sessions last authenticated, for the sessions of which that was noted.
//!
//! Apart from the sessions, so that those of which nothing was noted pay nothing: whoever creates, rotates or
//! ends a session looks at one count. What is noted of an id changes under the table's lock for that id, but
//! for what is forgotten after its session has left the table.

use std::collections::HashMap;

use crossbeam_utils::CachePadded;

use crate::id::SessionId;
use crate::sync::{AtomicUsize, Mutex, Ordering, RandomState};

/// Parts, each with a lock: those who authenticate rarely meet. Fewer in a model, which follows each.
const PARTS: usize = if cfg!(cloakroom_loom) { 2 } else { 16 };

type Part = Mutex<HashMap<SessionId, u32, RandomState>>;

/// When the users of a store's sessions last authenticated, in seconds of the clock.
pub(crate) struct Authenticated {
    /// Of how many sessions that was noted.
    count: CachePadded<AtomicUsize>,
    parts: [Part; PARTS],
}

impl Authenticated {
    pub(crate) fn new() -> Self {
        let parts = std::array::from_fn(|_| Mutex::new(HashMap::default()));
        Self { count: CachePadded::new(AtomicUsize::new(0)), parts }
    }

    /// Tells whether anything was noted of any session.
    #[inline]
    pub(crate) fn any(&self) -> bool {
        // Relaxed, here and below: who noted something of a session has raised it under the table's lock for
        // its id, and who asks holds that lock or has taken the session out under it.
        self.count.load(Ordering::Relaxed) > 0
    }

    fn part(&self, id: SessionId) -> &Part {
        &self.parts[id.low_bits() % PARTS]
    }

    pub(crate) fn note(&self, id: SessionId, at: u32) {
        let new = self.part(id).lock().insert(id, at).is_none();
        self.count.fetch_add(usize::from(new), Ordering::Relaxed);
    }

    pub(crate) fn at(&self, id: SessionId) -> Option<u32> {
        if self.any() { self.part(id).lock().get(&id).copied() } else { None }
    }

    /// Forgets what was noted of an id, and returns it.
    #[inline]
    pub(crate) fn forget(&self, id: SessionId) -> Option<u32> {
        if self.any() { self.take(id) } else { None }
    }

    #[cold]
    fn take(&self, id: SessionId) -> Option<u32> {
        let mut part = self.part(id).lock();
        let at = part.remove(&id);
        if part.is_empty() {
            // So that the memory of a time when many had authenticated is not held for ever.
            part.shrink_to_fit();
        }
        drop(part);
        self.count.fetch_sub(usize::from(at.is_some()), Ordering::Relaxed);
        at
    }

    /// Notes of a session's new id what was noted of its old one.
    pub(crate) fn rename(&self, old: SessionId, new: SessionId) {
        if let Some(at) = self.forget(old) {
            self.note(new, at);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let len = self.parts.iter().map(|part| part.lock().len()).sum();
        assert_eq!(self.count.load(Ordering::Relaxed), len, "whoever asks looks at the count");
        len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_a_time_when_many_had_authenticated_comes_back() {
        let authenticated = Authenticated::new();
        let ids: Vec<_> = (0..1_000).map(SessionId::from_bits).collect();
        for at in [1, 2] {
            ids.iter().for_each(|id| authenticated.note(*id, at));
            assert_eq!((authenticated.len(), authenticated.at(ids[7])), (1_000, Some(at)));
        }
        for id in &ids {
            assert_eq!((authenticated.forget(*id), authenticated.forget(*id)), (Some(2), None));
        }
        assert_eq!(authenticated.len(), 0);
        assert!(authenticated.parts.iter().all(|part| part.lock().capacity() == 0));
    }
}
