//! Owns a store with sessions in it, and the ids to ask it for.

use std::sync::OnceLock;

use crate::peer::{Payload, Peer, Settings};
use crate::random::tour;

/// Unknown ids that a miss cycles through, at the most: enough that their places in the table do not
/// stay in the fastest cache.
const UNKNOWN: usize = 1 << 16;

pub struct Filled<P: Peer> {
    pub store: P,
    /// By index: what payloads name.
    pub ids: Vec<P::Id>,
    unknown: OnceLock<Vec<P::Id>>,
}

impl<P: Peer> Filled<P> {
    /// Returns a store in which each session names the next on one tour through all of them.
    pub fn new(sessions: usize) -> Self {
        let store = P::open(&Settings::lasting(sessions));
        let tour = tour(sessions);
        let create = |next: &usize| store.create(Payload::naming(*next));
        let ids = tour.iter().map(create).collect();
        let unknown = OnceLock::new();
        Self { store, ids, unknown }
    }

    pub fn unknown_ids(&self) -> &[P::Id] {
        let many = self.ids.len().min(UNKNOWN);
        self.unknown.get_or_init(|| (0..many).map(|_| P::unknown_id()).collect())
    }

    /// Loads the session at `index` and returns the index that it names.
    #[inline]
    pub fn follow(&self, index: usize) -> usize {
        P::next(&self.load(index))
    }

    /// Loads the session at `index`, which is there.
    #[inline]
    pub fn load(&self, index: usize) -> P::Handle {
        match self.store.load(std::hint::black_box(&self.ids[index])) {
            Some(handle) => handle,
            None => lost(),
        }
    }
}

#[cold]
fn lost() -> ! {
    panic!("a load missed a session that is live")
}

/// Sessions of one thread's own, the oldest replaced again and again, so that the sessions that
/// payloads name stay. Destroys them in the end.
pub struct Ring<'a, P: Peer> {
    store: &'a P,
    ids: Vec<P::Id>,
    oldest: usize,
}

impl<'a, P: Peer> Ring<'a, P> {
    pub fn new(filled: &'a Filled<P>, most: usize, threads: usize) -> Self {
        let store = &filled.store;
        // So few that they do not change the size that is measured.
        let len = (filled.ids.len() / (4 * threads)).clamp(1, most);
        let create = |_| store.create(Payload::naming(0));
        Self { store, ids: (0..len).map(create).collect(), oldest: 0 }
    }

    /// Destroys the oldest session and creates another.
    #[inline]
    pub fn turn(&mut self) {
        let oldest = &mut self.ids[self.oldest];
        self.store.destroy(oldest);
        *oldest = self.store.create(Payload::naming(0));
        self.oldest += 1;
        if self.oldest == self.ids.len() {
            self.oldest = 0;
        }
    }
}

impl<P: Peer> Drop for Ring<'_, P> {
    fn drop(&mut self) {
        for id in &self.ids {
            self.store.destroy(id);
        }
    }
}
