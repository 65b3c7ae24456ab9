//! The listener: each end once, with its cause and the last data, and the counters that go with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cloakroom::{
    Builder, Cause, CreateError, Expiry, ManualClock, OnFull, SessionId, SessionStore,
};

const TTL: Duration = Duration::from_secs(100);

type Told = Arc<Mutex<Vec<(SessionId, u32, Cause)>>>;

struct Setup {
    clock: ManualClock,
    store: SessionStore<u32>,
    told: Told,
}

impl Setup {
    fn new(set: impl Fn(Builder<u32>) -> Builder<u32>) -> Self {
        let (clock, told) = (ManualClock::new(), Told::default());
        let sink = Arc::clone(&told);
        let builder = SessionStore::<u32>::builder().ttl(TTL).clock(clock.clone());
        let builder = builder.on_end(move |end| {
            sink.lock().unwrap().push((end.id, *end.data, end.cause));
        });
        Self { clock, store: set(builder).build().unwrap(), told }
    }

    /// Returns what the listener was told since the last call.
    fn take(&self) -> Vec<(SessionId, u32, Cause)> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }

    /// Creates sessions whose last data is their number plus 100.
    fn fill(&self, count: u32) -> Vec<SessionId> {
        let create = |n| {
            let mut s = self.store.create_with(n);
            *s += 100;
            assert!(self.store.save(&s));
            *s = 0;
            *s.id()
        };
        (0..count).map(create).collect()
    }

    /// Asserts that exactly these sessions, filled in this order, have ended for this cause.
    fn assert_told(&self, ids: &[SessionId], cause: Cause) {
        let mut told = self.take();
        told.sort_unstable_by_key(|(id, ..)| *id);
        let mut expected: Vec<_> = (100..).zip(ids).map(|(data, id)| (*id, data, cause)).collect();
        expected.sort_unstable_by_key(|(id, ..)| *id);
        assert_eq!(told, expected);
    }
}

#[test]
fn nothing_but_an_end_is_told() {
    let setup = Setup::new(|b| b);
    let id = setup.fill(1)[0];
    let mut s = setup.store.load(&id).unwrap();
    assert!(setup.store.try_save(&mut s).is_ok() && setup.store.touch(&id));
    setup.store.update(&id, |n| *n += 1);
    setup.store.set_expiry(&id, Expiry::Never);
    setup.store.for_each(|_, _| ());
    setup.store.retain(|_, _| true);
    assert!(!setup.store.destroy("unknown"));
    assert_eq!(setup.store.purge_expired(), 0);
    assert_eq!(setup.take(), []);
}

#[test]
fn destroyed_sessions_are_told_once_before_the_call_returns() {
    let setup = Setup::new(|b| b);
    let ids = setup.fill(50);
    for (n, id) in ids.iter().enumerate() {
        assert!(setup.store.destroy(id));
        assert_eq!(setup.take(), [(*id, n as u32 + 100, Cause::Destroyed)]);
        assert!(!setup.store.destroy(id));
    }
    setup.store.clear();
    assert_eq!(setup.take(), []);
    assert_eq!(setup.store.stats().destroyed, 50);
}

#[test]
fn retained_sessions_live_and_the_others_are_told_as_destroyed() {
    let setup = Setup::new(|b| b);
    let ids = setup.fill(500);
    assert_eq!(setup.store.retain(|_, n| *n >= 300), 200);
    setup.assert_told(&ids[..200], Cause::Destroyed);
    assert_eq!((setup.store.stats().destroyed, setup.store.len()), (200, 300));
}

#[test]
fn cleared_sessions_are_told_and_expired_ones_among_them_as_expired() {
    let setup = Setup::new(|b| b.shards(4));
    let ids = setup.fill(40);
    setup.store.clear();
    setup.assert_told(&ids, Cause::Cleared);
    let ids = setup.fill(3);
    setup.clock.advance(TTL);
    setup.store.clear();
    setup.assert_told(&ids, Cause::Expired);
    let stats = setup.store.stats();
    assert_eq!((stats.cleared, stats.expired, stats.stored), (40, 3, 0));
}

#[test]
fn expired_sessions_are_told_once_by_purge() {
    let setup = Setup::new(|b| b);
    let ids = setup.fill(1000);
    setup.clock.advance(TTL);
    assert_eq!(setup.store.purge_expired(), 1000);
    setup.assert_told(&ids, Cause::Expired);
    assert_eq!(setup.store.purge_expired(), 0);
    assert_eq!(setup.take(), []);
    assert_eq!((setup.store.stats().expired, setup.store.stats().swept), (1000, 1000));
}

#[test]
fn expired_sessions_are_told_once_by_the_sweep_of_other_traffic() {
    let setup = Setup::new(|b| b);
    let ids = setup.fill(1000);
    let keep = setup.store.create();
    setup.store.set_expiry(keep.id(), Expiry::Never);
    setup.clock.advance(TTL);
    // Asking for them ends nothing twice.
    assert!(ids.iter().all(|id| !setup.store.touch(id) && !setup.store.destroy(id)));
    while setup.store.len() > 1 {
        setup.clock.advance(Duration::from_secs(1));
        assert!(setup.store.contains(keep.id()));
    }
    setup.assert_told(&ids, Cause::Expired);
    assert_eq!(setup.store.stats().expired, 1000);
}

#[test]
fn expired_sessions_are_told_once_by_inserts() {
    let setup = Setup::new(|b| b.shards(2));
    let ids = setup.fill(500);
    setup.clock.advance(TTL);
    let newcomers: Vec<_> = (0..500).map(|n| *setup.store.create_with(n).id()).collect();
    setup.store.purge_expired();
    setup.assert_told(&ids, Cause::Expired);
    assert!(newcomers.iter().all(|id| setup.store.contains(id)));
}

#[test]
fn dead_session_whose_id_is_given_out_again_is_told_as_expired() {
    let setup = Setup::new(|b| b);
    let s = setup.store.try_create_with_id("alice", 1).unwrap();
    setup.store.set_expiry(s.id(), Duration::ZERO);
    // Wakes the sweep, whichever of the two is faster.
    setup.store.try_create_with_id("alice", 2).unwrap();
    assert_eq!(setup.take(), [(*s.id(), 1, Cause::Expired)]);
    assert!(setup.store.destroy("alice"));
    assert_eq!(setup.take(), [(*s.id(), 2, Cause::Destroyed)]);
    assert_eq!((setup.store.stats().expired, setup.store.stats().destroyed), (1, 1));
}

#[test]
fn evicted_sessions_are_told_before_the_create_returns() {
    let setup = Setup::new(|b| b.max_sessions(4));
    let ids: Vec<_> = (0..12_u32)
        .map(|n| {
            setup.clock.advance(Duration::from_secs(1));
            let id = *setup.store.create_with(n).id();
            assert_eq!(setup.told.lock().unwrap().len() as u32, (n + 1).saturating_sub(4));
            id
        })
        .collect();
    let evicted = |n: usize| (ids[n], n as u32, Cause::Evicted);
    assert_eq!(setup.take(), (0..8).map(evicted).collect::<Vec<_>>());
    assert_eq!(setup.store.stats().evicted, 8);
}

#[test]
fn expired_session_that_makes_room_is_told_as_expired() {
    let setup = Setup::new(|b| b.max_sessions(2));
    let ids = setup.fill(2);
    setup.clock.advance(TTL);
    setup.store.create();
    setup.store.purge_expired();
    setup.assert_told(&ids, Cause::Expired);
    assert_eq!((setup.store.stats().evicted, setup.store.stats().expired), (0, 2));
}

#[test]
fn rotated_session_is_told_under_its_old_id_and_ends_later_under_the_new() {
    let setup = Setup::new(|b| b);
    let old = setup.fill(1)[0];
    let mut s = setup.store.load(&old).unwrap();
    *s = 7;
    assert!(setup.store.rotate(&mut s));
    assert_eq!(setup.take(), [(old, 100, Cause::Rotated)]);
    assert!(setup.store.save(&s) && setup.store.destroy(s.id()));
    assert_eq!(setup.take(), [(*s.id(), 7, Cause::Destroyed)]);
    let stats = setup.store.stats();
    assert_eq!((stats.rotated, stats.destroyed, stats.created), (1, 1, 1));
}

#[test]
fn refused_and_failed_operations_end_nothing() {
    let setup = Setup::new(|b| b.max_sessions(1).on_full(OnFull::Refuse));
    let id = *setup.store.try_create_with_id("alice", 1).unwrap().id();
    assert!(setup.store.try_create().is_err());
    assert!(setup.store.try_create_with_id("alice", 2).is_err());
    let mut unstored = setup.store.create_with(3);
    assert!(!setup.store.rotate(&mut unstored) && !setup.store.save(&unstored));
    assert_eq!(setup.take(), []);
    assert!(setup.store.contains(&id));
}

#[test]
fn dropping_the_store_tells_nothing() {
    let setup = Setup::new(|b| b);
    setup.fill(100);
    let Setup { store, told, .. } = setup;
    drop(store.clone());
    drop(store);
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(Arc::strong_count(&told), 1, "the listener is gone with the store");
}

#[test]
fn counters_add_up_over_all_ends() {
    let setup = Setup::new(|b| b.max_sessions(200));
    let ids = setup.fill(300);
    for id in ids.iter().step_by(3) {
        setup.store.destroy(id);
    }
    setup.store.retain(|_, n| n % 5 != 0);
    setup.clock.advance(TTL);
    setup.fill(20);
    setup.store.clear();
    let told = setup.take();
    let count = |cause| told.iter().filter(|(.., c)| *c == cause).count() as u64;
    let stats = setup.store.stats();
    assert_eq!(stats.created, 320);
    assert_eq!(stats.destroyed, count(Cause::Destroyed));
    assert_eq!(stats.expired, count(Cause::Expired));
    assert_eq!(stats.evicted, count(Cause::Evicted));
    assert_eq!(stats.cleared, count(Cause::Cleared));
    assert_eq!(told.len(), 320);
    assert_eq!((setup.store.len(), stats.cleared), (0, 20));
}

#[test]
fn every_end_is_told_although_a_listener_ended_thousands() {
    // The listener uses the store it belongs to: a cell that each owns would keep both for ever.
    static STORE: OnceLock<SessionStore<u32>> = OnceLock::new();
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let built = SessionStore::<u32>::builder().on_end(move |end| {
        count.fetch_add(1, Ordering::SeqCst);
        if end.cause == Cause::Destroyed {
            STORE.get().unwrap().clear();
        }
    });
    let store = STORE.get_or_init(|| built.build().unwrap());
    (0..5000).for_each(|n| _ = store.create_with(n));
    let last = store.create();
    store.destroy(last.id());
    (0..100).for_each(|_| _ = store.load(last.id()));
    assert_eq!(told.load(Ordering::SeqCst), 5001);
}

#[test]
fn ends_of_one_store_are_told_while_anothers_are() {
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let count = |heard: &Arc<AtomicUsize>| {
        let heard = Arc::clone(heard);
        move || heard.fetch_add(1, Ordering::SeqCst)
    };
    let (count_second, look) = (count(&second), Arc::clone(&second));
    let other = SessionStore::<u32>::builder().shards(2).on_end(move |_| _ = count_second());
    let other = other.build().unwrap();
    let count_first = count(&first);
    let store = SessionStore::<u32>::builder().shards(2).on_end(move |_| {
        let told = count_first();
        assert!(other.destroy(other.create().id()));
        assert_eq!(look.load(Ordering::SeqCst), told + 1, "before the call returns");
    });
    let store = store.build().unwrap();
    (0..3).for_each(|_| assert!(store.destroy(store.create().id())));
    assert_eq!((first.load(Ordering::SeqCst), second.load(Ordering::SeqCst)), (3, 3));
    assert_eq!(store.stats().panics, 0);
}

/// What a listener does with its store, once.
type Errand = fn(&SessionStore<u32>) -> bool;

/// A setup whose listener runs an errand at the first end after it was given the store, and what came of it.
struct Errands {
    setup: Setup,
    store: Arc<Mutex<Option<SessionStore<u32>>>>,
    done: Arc<Mutex<Option<bool>>>,
}

impl Errands {
    fn new(errand: Errand, set: impl Fn(Builder<u32>) -> Builder<u32>) -> Self {
        let store: Arc<Mutex<Option<SessionStore<u32>>>> = Arc::default();
        let (done, told): (Arc<Mutex<_>>, _) = (Arc::default(), Told::default());
        let (theirs, result, sink) = (Arc::clone(&store), Arc::clone(&done), Arc::clone(&told));
        let clock = ManualClock::new();
        let builder = SessionStore::<u32>::builder().ttl(TTL).clock(clock.clone()).shards(2);
        let builder = builder.on_end(move |end| {
            sink.lock().unwrap().push((end.id, *end.data, end.cause));
            let store = theirs.lock().unwrap().take();
            if let Some(store) = store {
                *result.lock().unwrap() = Some(errand(&store));
            }
        });
        let setup = Setup { clock, store: set(builder).build().unwrap(), told };
        Self { setup, store, done }
    }

    fn begin(&self) {
        *self.store.lock().unwrap() = Some(self.setup.store.clone());
    }

    fn done(&self) -> Option<bool> {
        *self.done.lock().unwrap()
    }
}

#[test]
fn listener_finds_the_place_of_what_ended_free() {
    type Take = fn(&Setup, &SessionId);
    let ways: [(&str, Take); 6] = [
        ("destroy", |setup, id| assert!(setup.store.destroy(id))),
        ("retain", |setup, id| assert_eq!(setup.store.retain(|other, _| other != id), 1)),
        ("clear", |setup, _| setup.store.clear()),
        ("purge", |setup, _| {
            setup.clock.advance(TTL);
            assert_eq!(setup.store.purge_expired(), 1);
        }),
        ("sweep", |setup, _| {
            setup.clock.advance(TTL);
            assert!(!setup.store.touch("AAAAAAAAAAAAAAAAAAAAAA"));
        }),
        ("clear of what has expired", |setup, _| {
            setup.clock.advance(TTL);
            setup.store.clear();
        }),
    ];
    for (name, take) in ways {
        let create: Errand = |store| store.try_create().is_ok();
        let errands = Errands::new(create, |b| b.max_sessions(1).on_full(OnFull::Refuse));
        let id = errands.setup.fill(1)[0];
        errands.begin();
        take(&errands.setup, &id);
        assert_eq!(errands.done(), Some(true), "{name}");
    }
}

#[test]
fn listener_of_an_eviction_finds_the_newcomer() {
    // By the first text that any session of the store has for an id.
    let errands = Errands::new(|store| store.contains("alice"), |b| b.max_sessions(1));
    errands.setup.fill(1);
    errands.begin();
    errands.setup.store.try_create_with_id("alice", 1).unwrap();
    assert_eq!(errands.done(), Some(true));
}

/// A listener takes the id while room is made for it: by the time that shows, another has gone.
#[test]
fn session_that_was_evicted_for_an_id_taken_meanwhile_is_told_and_leaves_its_place() {
    let take_it: Errand = |store| store.try_create_with_id("alice", 7).is_ok();
    let errands = Errands::new(take_it, |b| b.max_sessions(2));
    let Setup { clock, store, .. } = &errands.setup;
    let old = *store.create_with(1).id();
    clock.advance(Duration::from_secs(1));
    let short = *store.create_with(2).id();
    assert!(store.set_expiry(&short, Duration::from_secs(1)));
    clock.advance(Duration::from_secs(2));
    errands.begin();
    let rejected = store.try_create_with_id("alice", 8).unwrap_err();
    assert_eq!((rejected.error, rejected.value), (CreateError::Taken, 8));
    assert_eq!(errands.done(), Some(true));
    let ends = [(short, 2, Cause::Expired), (old, 1, Cause::Evicted)];
    assert_eq!(errands.setup.take(), ends);
    assert_eq!((store.len(), store.peek("alice").map(|s| *s)), (1, Some(7)));
    store.create();
    assert_eq!((store.len(), store.stats().evicted), (2, 1));
}
