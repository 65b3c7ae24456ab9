//! General caches, given room for more than they are asked to hold: quick_cache, which knows no
//! deadlines, and moka, with one lifetime for the whole store.

use std::sync::Arc;

use quick_cache::UnitWeighter;

use crate::peer::{Cleanup, Key, Lifetimes, Payload, Peer, Settings};
use crate::stores::maps::Found;

pub struct QuickCache(quick_cache::sync::Cache<Key, Arc<Payload>>);

impl Peer for QuickCache {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = "quick_cache";
    const LIFETIMES: Lifetimes = Lifetimes::None;
    const CLEANUP: Cleanup = Cleanup::Never;

    fn open(settings: &Settings) -> Self {
        // Its shards are bounded one by one and filled unevenly: twice the room, and some for the
        // smallest, so that it drops nothing.
        let room = settings.sessions as u64 * 2 + 10_000;
        Self(quick_cache::sync::Cache::with_weighter(settings.sessions, room, UnitWeighter))
    }

    fn create(&self, payload: Payload) -> Key {
        let key = Key::random();
        self.0.insert(key, Arc::new(payload));
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let found = self.0.get(id)?;
        Some((*id, found))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        self.0.insert(handle.0, Arc::clone(&handle.1));
    }

    fn destroy(&self, id: &Key) {
        assert!(self.0.remove(id).is_some(), "a session was lost");
    }

    fn unknown_id() -> Key {
        Key::random()
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

pub struct Moka(moka::sync::Cache<Key, Arc<Payload>>);

impl Peer for Moka {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = "moka";
    const LIFETIMES: Lifetimes = Lifetimes::OfStore;
    const CLEANUP: Cleanup = Cleanup::ByUseAndPurge;

    fn open(settings: &Settings) -> Self {
        let builder = moka::sync::Cache::builder().time_to_live(settings.ttl);
        Self(builder.build())
    }

    fn create(&self, payload: Payload) -> Key {
        let key = Key::random();
        self.0.insert(key, Arc::new(payload));
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let found = self.0.get(id)?;
        Some((*id, found))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        self.0.insert(handle.0, Arc::clone(&handle.1));
    }

    fn destroy(&self, id: &Key) {
        self.0.invalidate(id);
    }

    fn unknown_id() -> Key {
        Key::random()
    }

    fn purge(&self) {
        self.0.run_pending_tasks();
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.entry_count() as usize)
    }
}
