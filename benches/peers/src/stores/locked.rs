//! `Mutex<HashMap>` with deadlines: the store that people write by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::peer::{Cleanup, Key, Lifetimes, Payload, Peer, Settings};
use crate::stores::maps::Found;

struct Entry {
    payload: Arc<Payload>,
    deadline: Instant,
}

pub struct LockedMap {
    map: Mutex<HashMap<Key, Entry>>,
    ttl: Duration,
}

impl LockedMap {
    fn map(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.map.lock().expect("nobody panics under the lock")
    }
}

impl Peer for LockedMap {
    type Id = Key;
    type Handle = Found;

    const NAME: &'static str = "mutex-map";
    const LIFETIMES: Lifetimes = Lifetimes::OfSession;
    const CLEANUP: Cleanup = Cleanup::ByPurge;

    fn open(settings: &Settings) -> Self {
        Self { map: Mutex::default(), ttl: settings.ttl }
    }

    fn create(&self, payload: Payload) -> Key {
        self.create_until(payload, Instant::now() + self.ttl)
    }

    fn create_until(&self, payload: Payload, deadline: Instant) -> Key {
        let key = Key::random();
        let payload = Arc::new(payload);
        self.map().insert(key, Entry { payload, deadline });
        key
    }

    #[inline]
    fn load(&self, id: &Key) -> Option<Found> {
        let now = Instant::now();
        let map = self.map();
        let entry = map.get(id).filter(|entry| now < entry.deadline)?;
        Some((*id, Arc::clone(&entry.payload)))
    }

    #[inline]
    fn next(handle: &Found) -> usize {
        handle.1.next()
    }

    fn save(&self, handle: &mut Found, payload: Payload) {
        handle.1 = Arc::new(payload);
        let now = Instant::now();
        let mut map = self.map();
        let entry = map
            .get_mut(&handle.0)
            .filter(|entry| now < entry.deadline)
            .expect("a session was lost");
        let old = std::mem::replace(&mut entry.payload, Arc::clone(&handle.1));
        drop(map);
        drop(old);
    }

    fn destroy(&self, id: &Key) {
        assert!(self.map().remove(id).is_some(), "a session was lost");
    }

    fn unknown_id() -> Key {
        Key::random()
    }

    fn purge(&self) {
        let now = Instant::now();
        self.map().retain(|_, entry| now < entry.deadline);
    }

    fn stored(&self) -> Option<usize> {
        Some(self.map().len())
    }
}
