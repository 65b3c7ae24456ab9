//! The sweep: what has expired leaves by itself, whatever the traffic, a little at a time.

use std::time::Duration;

use cloakroom::{Builder, Expiry, IdSource, ManualClock, Session, SessionId, SessionStore};

const TTL: Duration = Duration::from_secs(600);

/// What a slice of the sweep removes at the most.
const SLICE: usize = 64;

/// What an insert finds ahead at the most.
const AHEAD: usize = 128;

fn build(clock: &ManualClock, set: impl Fn(Builder<u64>) -> Builder<u64>) -> SessionStore<u64> {
    let builder = SessionStore::<u64>::builder().clock(clock.clone());
    set(builder).build().unwrap()
}

/// Returns a store of so many sessions that have just expired, and one that never does.
fn expired_store(shards: usize, expired: u64) -> (ManualClock, SessionStore<u64>, SessionId) {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL).shards(shards));
    let keep = *store.create().id();
    assert!(store.set_expiry(&keep, Expiry::Never));
    (0..expired).for_each(|n| drop(store.create_with(n)));
    clock.advance(TTL);
    (clock, store, keep)
}

#[test]
fn loads_of_one_session_clear_the_shards_that_nobody_visits() {
    // Several times, because it depends on where the sweep stood when the sessions expired.
    for shards in [2, 64, 1024, 2, 2, 2, 4, 4, 4] {
        let (clock, store, keep) = expired_store(shards, 5000);
        // The clock stands still: it is the traffic that drives the sweep.
        for _ in 0..1000 {
            assert!(store.load(&keep).is_some());
        }
        assert!(store.len() <= 50, "{} left in {shards} shards", store.len());
        // The last one in a hundred waits for its turn.
        for _ in 0..100 {
            clock.advance(TTL / 100);
            assert!(store.load(&keep).is_some());
        }
        assert_eq!(store.len(), 1, "{shards} shards");
        assert_eq!((store.stats().swept, store.stats().expired), (5000, 5000));
    }
}

#[test]
fn each_operation_drives_the_sweep() {
    type Operate = fn(&SessionStore<u64>, &mut Session<u64>);
    let operations: [(&str, Operate); 20] = [
        ("load", |store, s| assert!(store.load(s.id()).is_some())),
        ("a miss", |store, _| assert!(store.load(&unknown()).is_none())),
        ("peek", |store, s| assert!(store.peek(s.id()).is_some())),
        ("contains", |store, s| assert!(store.contains(s.id()))),
        ("touch", |store, s| assert!(store.touch(s.id()))),
        ("expires_in", |store, s| assert!(store.expires_in(s.id()).is_some())),
        ("save", |store, s| assert!(store.save(s))),
        ("try_save", |store, s| assert!(store.try_save(s).is_ok())),
        ("update", |store, s| assert!(store.update(s.id(), |n| *n += 1).is_some())),
        ("rotate", |store, s| assert!(store.rotate(s))),
        ("set_expiry", |store, s| assert!(store.set_expiry(s.id(), Expiry::Never))),
        ("create and destroy", |store, _| assert!(store.destroy(store.create().id()))),
        ("a create that is refused", |store, s| {
            assert!(store.try_create_with_id(s.id(), 1).is_err())
        }),
        ("a list of nobody's", |store, _| assert!(store.sessions_of(1).is_empty())),
        ("a watch", |store, s| drop(store.watch(s.id()).unwrap())),
        ("a destroy of nothing", |store, _| assert!(!store.destroy(&unknown()))),
        ("a save of nothing", |store, s| assert!(!store.save(&of_another_store(s)))),
        ("for_each", |store, _| store.for_each(|_, _| ())),
        ("retain", |store, _| assert_eq!(store.retain(|_, _| true), 0)),
        ("an expiry of nothing", |store, _| assert!(!store.set_expiry(&unknown(), TTL))),
    ];
    for (name, operate) in operations {
        let (_clock, store, keep) = expired_store(16, 3000);
        let mut s = store.load(&keep).unwrap();
        (0..400).for_each(|_| operate(&store, &mut s));
        assert!(store.len() <= 30, "{} left by {name}", store.len());
    }
}

/// Both are counted, and only the one asks for the time.
#[test]
fn misses_by_unknown_ids_drive_the_sweep_whatever_malformed_ones_come_between() {
    for between in 0..5 {
        for first in 0..2 {
            let (_clock, store, _keep) = expired_store(16, 3000);
            for miss in first..1_000 {
                let malformed = miss % (between + 1) != 0;
                if malformed {
                    assert!(store.load("no id").is_none());
                } else {
                    assert!(store.load(&unknown()).is_none());
                }
            }
            assert!(store.len() <= 30, "{} left with {between} between", store.len());
        }
    }
}

/// An id that no store has.
fn unknown() -> SessionId {
    SessionId::parse("AAAAAAAAAAAAAAAAAAAAAA").unwrap()
}

/// A handle of an id that only another store has.
fn of_another_store(data: &u64) -> Session<u64> {
    SessionStore::default().create_with(*data)
}

#[test]
fn slice_looks_at_no_more_buckets_than_its_budget() {
    for budget in [1, 7] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.ttl(TTL).shards(2).sweep_budget(budget));
        let keep = *store.create().id();
        assert!(store.set_expiry(&keep, Expiry::Never));
        (0..1000).for_each(|n| drop(store.create_with(n)));
        clock.advance(TTL);
        while store.len() > 500 {
            let before = store.len();
            assert!(store.load(&keep).is_some());
            assert!(before - store.len() <= budget, "{} with {budget}", before - store.len());
        }
    }
}

#[test]
fn inserts_alone_clear_what_has_expired() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL).shards(2));
    let ids: Vec<SessionId> = (0..1000).map(|n| *store.create_with(n).id()).collect();
    // The clock stands still from here on. The first session that ends at once wakes the sweep, which
    // soon waits for the clock again.
    let (first, rest) = ids.split_first().unwrap();
    assert!(store.set_expiry(first, Duration::ZERO));
    (0..1000).for_each(|_| assert!(store.contains(&rest[0])));
    let stored = store.len();
    assert!(rest.iter().all(|id| store.set_expiry(id, Duration::ZERO)));
    (0..1000).for_each(|_| assert!(!store.contains(&rest[0])));
    assert_eq!(store.len(), stored, "no slice is due");
    (0..1000).for_each(|n| drop(store.create_with(n)));
    assert_eq!(store.len(), 1000, "the new ones, and none of the old");
}

#[test]
fn no_operation_removes_more_than_a_slice_and_what_an_insert_finds_ahead() {
    type Operate = fn(&SessionStore<u64>, &mut Session<u64>) -> bool;
    let operations: [(usize, Operate); 10] = [
        (SLICE, |store, s| store.load(s.id()).is_some()),
        (SLICE, |store, s| store.touch(s.id())),
        (SLICE, |store, s| store.contains(s.id())),
        (SLICE, |store, s| store.save(s)),
        (SLICE, |store, s| store.try_save(s).is_ok()),
        (SLICE, |store, s| store.update(s.id(), |n| *n += 1).is_some()),
        (SLICE, |store, s| store.rotate(s)),
        (SLICE, |store, s| store.set_expiry(s.id(), Expiry::Never)),
        (SLICE, |store, _| !store.destroy(&unknown())),
        (SLICE + AHEAD, |store, _| *store.create() == 0),
    ];
    let (clock, store, keep) = expired_store(4, 10_000);
    let mut s = store.load(&keep).unwrap();
    for _ in 0..10 {
        for (most, operate) in operations {
            let before = store.stats().swept;
            assert!(operate(&store, &mut s));
            let swept = (store.stats().swept - before) as usize;
            assert!(swept <= most, "{swept} of at most {most}");
        }
        // A clock that jumps makes slices due, not larger.
        clock.advance(TTL * 1000);
    }
    assert!(store.len() > 100, "the bound was put to the test until the end");
}

#[test]
fn million_sessions_that_expire_at_once_are_reclaimed_by_loads_of_one() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL).id_source(IdSource::Buffered));
    let ids: Vec<SessionId> = (0..1_000_000).map(|n| *store.create_with(n).id()).collect();
    assert_eq!((store.len(), store.stats().swept), (1_000_000, 0));
    clock.advance(TTL);
    let keep = *store.create().id();
    assert!(store.set_expiry(&keep, Expiry::Never));
    let mut some = ids.iter().step_by(97).cycle();
    let mut loads = 0;
    while store.len() > 10_000 {
        let before = store.len();
        assert!(store.load(&keep).is_some());
        assert!(before - store.len() <= SLICE);
        assert!(store.peek(some.next().unwrap()).is_none(), "an expired session was returned");
        loads += 1;
        assert!(loads < 100_000, "{} are left", store.len());
    }
    assert!(ids.iter().step_by(31).all(|id| !store.contains(id)));
    assert_eq!(store.load(&keep).map(|s| *s), Some(0));
    while store.len() > 1 {
        clock.advance(Duration::from_millis(1));
        assert!(store.load(&keep).is_some());
        loads += 1;
        assert!(loads < 200_000, "{} are left", store.len());
    }
    assert_eq!((store.stats().swept, store.stats().live), (1_000_000, 1));
}

#[test]
fn purge_removes_exactly_what_has_expired_and_says_how_many() {
    for shards in [2, 256] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.ttl(TTL).shards(shards));
        let ids: Vec<SessionId> = (0..6000).map(|n| *store.create_with(n).id()).collect();
        for id in ids.iter().step_by(3) {
            assert!(store.set_expiry(id, TTL / 2));
        }
        assert_eq!(store.purge_expired(), 0);
        clock.advance(TTL / 2);
        assert_eq!(store.purge_expired(), 2000);
        assert_eq!((store.len(), store.purge_expired()), (4000, 0));
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(store.contains(id), n % 3 != 0);
        }
        assert_eq!((store.stats().swept, store.stats().expired), (2000, 2000));
        clock.advance(TTL / 2);
        assert_eq!(store.purge_expired(), 4000);
        assert!(store.is_empty());
    }
}

#[test]
fn counts_of_a_small_store_are_exact_however_its_sessions_lie() {
    for (shards, half) in [(512, 1_050), (65_536, 1), (65_536, 50)] {
        let clock = ManualClock::new();
        let store = build(&clock, |b| b.shards(shards));
        for n in 0..half {
            let expiring = store.create_with(n);
            assert!(store.set_expiry(expiring.id(), Expiry::After(TTL)));
            store.create();
        }
        clock.advance(TTL);
        for _ in 0..10 {
            let stats = store.stats();
            assert_eq!((stats.live, stats.expired_unswept), (half, half), "{shards} shards");
        }
    }
}

#[test]
fn purge_of_a_store_with_nothing_expired_removes_nothing() {
    let store = build(&ManualClock::new(), |b| b.ttl(TTL));
    assert_eq!(store.purge_expired(), 0);
    let s = store.create();
    assert_eq!(store.purge_expired(), 0);
    store.destroy(s.id());
    assert_eq!(store.purge_expired(), 0);
}

#[test]
fn store_whose_sessions_never_expire_sweeps_nothing() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b);
    let keep = *store.create().id();
    for n in 0..3000 {
        store.create_with(n);
        clock.advance(Duration::from_secs(1_000_000));
        assert!(store.load(&keep).is_some());
    }
    assert_eq!((store.len(), store.purge_expired(), store.stats().swept), (3001, 0, 0));
}

#[test]
fn sessions_with_an_own_expiry_are_swept_in_a_store_that_has_none() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b);
    let ids: Vec<SessionId> = (0..3000).map(|n| *store.create_with(n).id()).collect();
    // Long quiet before: the sweep of a store without lifetimes is not due at any time.
    clock.advance(TTL * 100);
    (0..100).for_each(|_| assert!(store.touch(&ids[0])));
    ids[1000..].iter().for_each(|id| assert!(store.set_expiry(id, Duration::from_secs(5))));
    clock.advance(Duration::from_secs(5));
    for _ in 0..1000 {
        clock.advance(Duration::from_millis(1));
        assert!(store.touch(&ids[0]));
    }
    assert_eq!((store.len(), store.stats().swept), (1000, 2000));
}

#[test]
fn shorter_expiry_of_some_sessions_quickens_the_sweep() {
    let clock = ManualClock::new();
    let year = Duration::from_secs(365 * 24 * 3600);
    let store = build(&clock, |b| b.ttl(year));
    let ids: Vec<SessionId> = (0..2000).map(|n| *store.create_with(n).id()).collect();
    ids[1..].iter().for_each(|id| assert!(store.set_expiry(id, Duration::from_secs(1))));
    clock.advance(Duration::from_secs(1));
    for _ in 0..200 {
        clock.advance(Duration::from_millis(10));
        assert!(store.touch(&ids[0]));
    }
    assert_eq!(store.len(), 1);
}

#[test]
fn swept_slots_of_the_table_are_used_again() {
    let clock = ManualClock::new();
    let store = build(&clock, |b| b.ttl(TTL).shards(2));
    for round in 0..20 {
        let ids: Vec<SessionId> = (0..500).map(|n| *store.create_with(n).id()).collect();
        assert!(ids.iter().zip(0..).all(|(id, n)| store.load(id).is_some_and(|s| *s == n)));
        clock.advance(TTL);
        assert!(ids.iter().all(|id| store.load(id).is_none()));
        assert!(store.len() < 500, "round {round}");
    }
    store.purge_expired();
    assert_eq!((store.len(), store.stats().swept), (0, 10_000));
}
