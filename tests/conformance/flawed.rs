//! Owns a small store with one flaw at a time, to show that each check of the suite finds what it looks
//! for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

use cloakroom::ManualClock;
use cloakroom::conformance::{Lifetime, Subject};

use crate::flaws::Flaw;

pub(crate) struct Flawed {
    flaw: Flaw,
    clock: ManualClock,
    sessions: Mutex<HashMap<u64, Kept>>,
    next: AtomicU64,
    /// What was rotated, and the only thread that has seen it.
    unseen: Mutex<HashMap<u64, (ThreadId, Kept)>>,
}

#[derive(Clone)]
struct Kept {
    value: Arc<AtomicU64>,
    end: Duration,
    first_end: Duration,
}

/// Long, and with room for the other thread where there is one core.
fn pause() {
    for pause in 0..20_000 {
        if pause % 100 == 0 { thread::yield_now() } else { std::hint::spin_loop() }
    }
}

/// How long a session lives for which nothing else is said.
const LONG: Lifetime = Lifetime::For(Duration::from_secs(1 << 20));

/// A key, a value that is the handle's own, and what it was when it was loaded.
pub(crate) struct Handle(u64, Arc<AtomicU64>, u64);

impl Flawed {
    pub(crate) fn new(flaw: Flaw, clock: &ManualClock) -> Self {
        let next = AtomicU64::new(1);
        let (sessions, unseen) = Default::default();
        Self { flaw, clock: clock.clone(), sessions, next, unseen }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    fn end(&self, lifetime: Lifetime) -> Duration {
        match lifetime {
            Lifetime::For(lifetime) => self.clock.elapsed() + lifetime,
            _ => Duration::ZERO,
        }
    }

    fn is_live(&self, kept: &Kept) -> bool {
        kept.end > self.clock.elapsed()
    }

    fn new_key(&self) -> u64 {
        let next = self.next.fetch_add(1, Ordering::SeqCst);
        if self.has(Flaw::FewKeys) { next % 60 } else { next }
    }

    fn put(&self, key: u64, value: u64, lifetime: Lifetime) {
        let end = self.end(lifetime);
        let kept = Kept { value: Arc::new(AtomicU64::new(value)), end, first_end: end };
        self.sessions.lock().unwrap().insert(key, kept);
    }
}

impl Subject for Flawed {
    type Key = u64;
    type Handle = Handle;

    fn create(&self, value: u64, lifetime: Lifetime) -> u64 {
        if !self.has(Flaw::NothingIsSwept) {
            self.sessions.lock().unwrap().retain(|_, kept| self.is_live(kept));
        }
        let key = self.new_key();
        let forgotten = self.has(Flaw::CreateForgetsTheData);
        self.put(key, if forgotten { 0 } else { value }, lifetime);
        key
    }

    fn load(&self, key: &u64) -> Option<Handle> {
        let sessions = self.sessions.lock().unwrap();
        let unseen = self.unseen.lock().unwrap();
        let unseen = unseen.get(key).filter(|(on, _)| *on != thread::current().id());
        let kept = sessions
            .get(key)
            .or(unseen.map(|(_, kept)| kept))
            .filter(|kept| self.is_live(kept) || self.has(Flaw::LoadIgnoresTheEnd));
        let value = match kept {
            Some(kept) if self.has(Flaw::HandlesAreShared) => Arc::clone(&kept.value),
            Some(kept) => Arc::new(AtomicU64::new(kept.value.load(Ordering::SeqCst))),
            None if self.has(Flaw::LoadFindsAnything) => Arc::default(),
            None => return None,
        };
        let loaded = value.load(Ordering::SeqCst);
        Some(Handle(*key, value, loaded))
    }

    fn value(handle: &Handle) -> u64 {
        handle.1.load(Ordering::SeqCst)
    }

    fn set(handle: &mut Handle, value: u64) {
        handle.1.store(value, Ordering::SeqCst);
    }

    fn save(&self, handle: Handle, lifetime: Lifetime) {
        if self.has(Flaw::SaveIsLost) {
            return;
        }
        let mut sessions = self.sessions.lock().unwrap();
        let live = sessions.get(&handle.0).is_some_and(|kept| self.is_live(kept));
        if !live && self.has(Flaw::SaveBeginsAnother) {
            drop(sessions);
            self.put(self.new_key(), Self::value(&handle), lifetime);
            return;
        }
        if !live && !self.has(Flaw::SaveCreates) {
            return;
        }
        let old = sessions.remove(&handle.0);
        if self.has(Flaw::SaveIsTorn) {
            drop(sessions);
            pause();
            sessions = self.sessions.lock().unwrap();
        }
        let end = self.end(lifetime);
        let first_end = old.as_ref().map_or(end, |old| old.first_end);
        let kept_end = old.filter(|_| self.has(Flaw::SaveKeepsTheEnd)).map(|old| old.end);
        let kept = Kept { value: handle.1, end: kept_end.unwrap_or(end), first_end };
        sessions.insert(handle.0, kept);
    }

    fn destroy(&self, key: &u64) {
        let mut sessions = self.sessions.lock().unwrap();
        if self.has(Flaw::DestroyEndsAll) {
            sessions.clear();
        } else if !self.has(Flaw::DestroyDoesNothing) {
            sessions.remove(key);
        }
    }

    fn rotate(&self, handle: Handle) -> u64 {
        let key = self.new_key();
        let mut sessions = self.sessions.lock().unwrap();
        let keeps = [Flaw::RotateKeepsTheOldKey, Flaw::RotateTakesOutLate].contains(&self.flaw);
        let old = if keeps { sessions.get(&handle.0).cloned() } else { sessions.remove(&handle.0) };
        if self.has(Flaw::RotateIsTorn) {
            drop(sessions);
            pause();
            sessions = self.sessions.lock().unwrap();
        }
        if let Some(old) = old.filter(|_| !self.has(Flaw::RotateLosesTheSession)) {
            if self.has(Flaw::RotateShowsOnOneThread) {
                let here = thread::current().id();
                self.unseen.lock().unwrap().insert(handle.0, (here, old.clone()));
            }
            let value = Arc::new(AtomicU64::new(Self::value(&handle)));
            let end = match self.flaw {
                Flaw::RotateForgetsTheEnd => Duration::MAX,
                Flaw::RotateProlongs => self.clock.elapsed() + Duration::from_secs(100 * 3600),
                Flaw::RotateCutsShort => self.clock.elapsed() + Duration::from_secs(1),
                _ => old.end,
            };
            sessions.insert(key, Kept { value, end, ..old });
        }
        if self.has(Flaw::RotateTakesOutLate) {
            drop(sessions);
            pause();
            self.sessions.lock().unwrap().remove(&handle.0);
        }
        key
    }

    fn planted_key(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 63);
        NEXT.fetch_add(1, Ordering::SeqCst)
    }

    fn forge(&self, key: &u64, value: u64) -> Option<Handle> {
        Some(Handle(*key, Arc::new(AtomicU64::new(value)), 0))
    }

    fn create_under(&self, key: &u64, value: u64) -> Option<u64> {
        let mut sessions = self.sessions.lock().unwrap();
        let free = !sessions.contains_key(key) || self.has(Flaw::CreateOverwrites);
        let key = if free { *key } else { self.new_key() };
        let end = self.end(LONG);
        sessions.insert(key, Kept { value: Arc::new(value.into()), end, first_end: end });
        Some(key)
    }

    fn save_unless_changed(&self, handle: Handle) -> Option<bool> {
        let Handle(key, value, loaded) = handle;
        let mut sessions = self.sessions.lock().unwrap();
        let kept = sessions.get(&key).filter(|kept| self.is_live(kept));
        let blind = self.has(Flaw::SaveSeesNoChange);
        let unchanged = kept.map(|kept| kept.value.load(Ordering::SeqCst) == loaded || blind);
        if kept.is_none() && self.has(Flaw::SaveBeginsAnother) {
            drop(sessions);
            self.put(self.new_key(), value.load(Ordering::SeqCst), LONG);
            return Some(false);
        }
        if !unchanged.unwrap_or(self.has(Flaw::SaveCreates)) {
            return Some(false);
        }
        if self.has(Flaw::SaveLooksTooEarly) {
            drop(sessions);
            pause();
            sessions = self.sessions.lock().unwrap();
        }
        match sessions.get_mut(&key) {
            _ if self.has(Flaw::SaveIsLost) => {}
            Some(kept) => kept.value = value,
            None => {
                let end = Duration::MAX;
                sessions.insert(key, Kept { value, end, first_end: end });
            }
        }
        Some(true)
    }

    fn add(&self, key: &u64, number: u64) -> Option<bool> {
        let new = Kept { value: Arc::default(), end: Duration::MAX, first_end: Duration::MAX };
        let mut sessions = self.sessions.lock().unwrap();
        let kept = sessions.get(key).filter(|kept| self.is_live(kept)).cloned();
        let Some(mut kept) = kept.or(self.has(Flaw::AddCreates).then_some(new)) else {
            return Some(false);
        };
        if self.has(Flaw::AddIsTorn) {
            sessions.remove(key);
            drop(sessions);
            pause();
            sessions = self.sessions.lock().unwrap();
        }
        kept.value = Arc::new(AtomicU64::new(kept.value.load(Ordering::SeqCst) + number));
        sessions.insert(*key, kept);
        Some(true)
    }

    fn touch(&self, key: &u64, lifetime: Duration) -> Option<()> {
        // The time is asked for before the lock, as a fast store would.
        let (now, end) = (self.clock.elapsed(), self.end(Lifetime::For(lifetime)));
        if self.has(Flaw::SweepGathersFirst) {
            pause();
        }
        let mut sessions = self.sessions.lock().unwrap();
        if self.has(Flaw::TouchCreates) {
            let new = Kept { value: Arc::default(), end, first_end: end };
            sessions.entry(*key).or_insert(new).end = end;
        }
        let found = |kept: &&mut Kept| kept.end > now || self.has(Flaw::LoadIgnoresTheEnd);
        let live = sessions.get_mut(key).filter(found);
        if let Some(kept) = live.filter(|_| !self.has(Flaw::TouchDoesNothing)) {
            kept.end = end;
        }
        Some(())
    }

    fn finds_text(&self, _: &str) -> Option<bool> {
        Some(self.has(Flaw::LoadFindsAnything))
    }

    fn sweep(&self) -> Option<()> {
        let now = self.clock.elapsed();
        if [Flaw::SweepGathersFirst, Flaw::SweepGoesByEarlierEnds].contains(&self.flaw) {
            let mut gathered = self.sessions.lock().unwrap().clone();
            (0..2).for_each(|_| pause());
            let now = if self.has(Flaw::SweepGathersFirst) { now } else { self.clock.elapsed() };
            gathered.retain(|_, kept| kept.end <= now);
            gathered.keys().for_each(|key| _ = self.sessions.lock().unwrap().remove(key));
            return Some(());
        }
        self.sessions.lock().unwrap().retain(|_, kept| match self.flaw {
            Flaw::NothingIsSwept | Flaw::SweepDoesNothing => true,
            Flaw::SweepEndsAll => false,
            Flaw::SweepGoesByTheFirstEnd => kept.first_end > now,
            _ => kept.end > now,
        });
        Some(())
    }

    fn stored(&self) -> Option<usize> {
        Some(self.sessions.lock().unwrap().len())
    }

    fn clear(&self) -> Option<()> {
        if !self.has(Flaw::ClearDoesNothing) {
            self.sessions.lock().unwrap().clear();
        }
        Some(())
    }
}
