//! Maps without sessions: raw `DashMap`, which every ratio refers to, papaya and scc. None of them
//! knows deadlines.

use std::sync::Arc;

use ahash::RandomState;
use dashmap::DashMap;

use crate::peer::{Cleanup, Key, Lifetimes, Payload, Peer, Settings};

/// A key, and the value as it was when it was loaded.
pub type Found = (Key, Arc<Payload>);

pub struct RawDashMap(DashMap<Key, Arc<Payload>, RandomState>);

impl Peer for RawDashMap {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = super::BASELINE;
    const LIFETIMES: Lifetimes = Lifetimes::None;
    const CLEANUP: Cleanup = Cleanup::Never;

    fn open(settings: &Settings) -> Self {
        let hasher = RandomState::new();
        Self(match settings.shards {
            Some(shards) => DashMap::with_hasher_and_shard_amount(hasher, shards),
            None => DashMap::with_hasher(hasher),
        })
    }

    fn create(&self, payload: Payload) -> Key {
        let key = Key::random();
        self.0.insert(key, Arc::new(payload));
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let found = self.0.get(id)?;
        Some((*id, Arc::clone(&found)))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        let old = self.0.insert(handle.0, Arc::clone(&handle.1));
        assert!(old.is_some(), "a session was lost");
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

pub struct Papaya(papaya::HashMap<Key, Arc<Payload>, RandomState>);

impl Peer for Papaya {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = "papaya";
    const LIFETIMES: Lifetimes = Lifetimes::None;
    const CLEANUP: Cleanup = Cleanup::Never;

    fn open(_: &Settings) -> Self {
        Self(papaya::HashMap::with_hasher(RandomState::new()))
    }

    fn create(&self, payload: Payload) -> Key {
        let key = Key::random();
        self.0.pin().insert(key, Arc::new(payload));
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let found = self.0.pin().get(id).cloned()?;
        Some((*id, found))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        let map = self.0.pin();
        let old = map.insert(handle.0, Arc::clone(&handle.1));
        assert!(old.is_some(), "a session was lost");
    }

    fn destroy(&self, id: &Key) {
        assert!(self.0.pin().remove(id).is_some(), "a session was lost");
    }

    fn unknown_id() -> Key {
        Key::random()
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

pub struct Scc(scc::HashMap<Key, Arc<Payload>, RandomState>);

impl Peer for Scc {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = "scc";
    const LIFETIMES: Lifetimes = Lifetimes::None;
    const CLEANUP: Cleanup = Cleanup::Never;

    fn open(_: &Settings) -> Self {
        Self(scc::HashMap::with_hasher(RandomState::new()))
    }

    fn create(&self, payload: Payload) -> Key {
        let key = Key::random();
        self.0.upsert_sync(key, Arc::new(payload));
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let found = self.0.read_sync(id, |_, found| Arc::clone(found))?;
        Some((*id, found))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        let old = self.0.upsert_sync(handle.0, Arc::clone(&handle.1));
        assert!(old.is_some(), "a session was lost");
    }

    fn destroy(&self, id: &Key) {
        assert!(self.0.remove_sync(id).is_some(), "a session was lost");
    }

    fn unknown_id() -> Key {
        Key::random()
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.len())
    }
}
