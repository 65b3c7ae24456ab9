//! The bound on sessions: one for the whole store, never exceeded, and who goes when it is reached.

use std::time::Duration;

use cloakroom::{Builder, CreateError, Expiry, ManualClock, OnFull, SessionId, SessionStore};

const TTL: Duration = Duration::from_secs(1000);
const SECOND: Duration = Duration::from_secs(1);

fn build(
    max: usize,
    set: impl Fn(Builder<u32>) -> Builder<u32>,
) -> (ManualClock, SessionStore<u32>) {
    let clock = ManualClock::new();
    let builder = SessionStore::<u32>::builder().max_sessions(max).clock(clock.clone());
    let store = set(builder).build().unwrap();
    (clock, store)
}

/// Creates sessions, one a second.
fn fill(clock: &ManualClock, store: &SessionStore<u32>, count: usize) -> Vec<SessionId> {
    let create = |n| {
        clock.advance(SECOND);
        *store.create_with(n).id()
    };
    (0..count as u32).map(create).collect()
}

#[test]
fn store_never_holds_more_than_the_bound() {
    for max in [1, 2, 7, 64, 1000] {
        for shards in [2, 64] {
            let (clock, store) = build(max, |b| b.ttl(TTL).shards(shards));
            for n in 0..max * 3 {
                clock.advance(Duration::from_millis(10));
                let s = store.create_with(n as u32);
                assert!(store.contains(s.id()), "the newcomer is stored");
                assert_eq!(store.len(), max.min(n + 1));
            }
            let mut seen = 0;
            store.for_each(|_, _| seen += 1);
            assert_eq!(seen, max);
            assert_eq!(store.stats().evicted, max as u64 * 2);
        }
    }
}

#[test]
fn soonest_to_expire_goes_first_in_a_small_store() {
    for (max, shards) in [(1, 2), (2, 2), (5, 2), (16, 2), (16, 16), (16, 256)] {
        let (clock, store) = build(max, |b| b.ttl(TTL).shards(shards));
        let ids = fill(&clock, &store, max * 3);
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(store.contains(id), n >= max * 2, "{n} of {max} in {shards} shards");
        }
        assert_eq!(store.stats().evicted, max as u64 * 2);
    }
}

#[test]
fn least_recently_used_goes_first_under_an_idle_timeout() {
    let (clock, store) = build(8, |b| b.idle_timeout(TTL));
    let ids = fill(&clock, &store, 8);
    // Used in another order than they were created in.
    let order = [3, 0, 7, 1, 5, 2, 6, 4];
    for n in order {
        clock.advance(SECOND);
        assert!(store.touch(&ids[n]));
    }
    for (evicted, n) in order.into_iter().enumerate() {
        assert!(order[evicted..].iter().all(|n| store.contains(&ids[*n])));
        clock.advance(SECOND);
        store.create();
        assert!(!store.contains(&ids[n]));
    }
}

#[test]
fn looking_does_not_save_a_session_from_eviction() {
    let (clock, store) = build(2, |b| b.idle_timeout(TTL));
    let ids = fill(&clock, &store, 2);
    clock.advance(SECOND);
    assert!(store.peek(&ids[0]).is_some() && store.contains(&ids[0]));
    store.create();
    assert!(!store.contains(&ids[0]) && store.contains(&ids[1]));
}

#[test]
fn own_expiry_decides_who_goes() {
    let (clock, store) = build(4, |b| b.ttl(TTL));
    let ids = fill(&clock, &store, 4);
    store.set_expiry(&ids[0], Expiry::Never);
    store.set_expiry(&ids[1], TTL * 2);
    store.set_expiry(&ids[3], TTL / 2);
    for gone in [3, 2] {
        clock.advance(SECOND);
        let newcomer = store.create();
        store.set_expiry(newcomer.id(), TTL * 3);
        assert!(!store.contains(&ids[gone]));
    }
    store.create();
    assert!(!store.contains(&ids[1]) && store.contains(&ids[0]));
}

#[test]
fn expired_sessions_go_before_live_ones() {
    for on_full in [OnFull::Evict, OnFull::Refuse] {
        let (clock, store) = build(16, |b| b.on_full(on_full));
        let ids = fill(&clock, &store, 16);
        // Half of them end, and the clock stands still.
        assert!(store.set_expiry(&ids[0], Duration::ZERO));
        (0..100).for_each(|_| assert!(!store.touch(&ids[0])));
        for id in &ids[1..8] {
            assert!(store.set_expiry(id, Duration::ZERO));
        }
        for n in 0..8 {
            let s = store.try_create_with(n).unwrap();
            store.set_expiry(s.id(), TTL);
            assert!(store.len() <= 16);
        }
        assert!(ids[8..].iter().all(|id| store.contains(id)));
        assert_eq!((store.stats().evicted, store.stats().expired), (0, 8));
        assert_eq!(store.stats().live, 16);
    }
}

#[test]
fn full_store_that_refuses_says_so_and_returns_the_data() {
    let (clock, store) = build(3, |b| b.ttl(TTL).on_full(OnFull::Refuse));
    let ids = fill(&clock, &store, 3);
    let rejected = store.try_create_with(77).unwrap_err();
    assert_eq!(rejected.value, 77);
    assert!(matches!(rejected.error, CreateError::AtCapacity { max_sessions: 3, .. }));
    let message = store.try_create().unwrap_err().to_string();
    assert!(message.contains("max_sessions") && message.contains('3'), "{message}");
    let rejected = store.try_create_with_id("mine", 78).unwrap_err();
    assert_eq!(rejected.value, 78);
    assert!(matches!(rejected.error, CreateError::AtCapacity { .. }));

    for s in [store.create(), store.create_with(5), store.create_with_id(String::from("mine"))] {
        assert!(!store.contains(s.id()) && !store.save(&s));
    }
    assert!(!store.contains("mine"));
    assert_eq!(*store.create_with(5), 5);
    assert_eq!((store.len(), store.stats().created), (3, 3));
    assert_eq!((store.stats().creates_refused, store.stats().evicted), (7, 0));
    assert!(ids.iter().all(|id| store.contains(id)));

    store.destroy(&ids[0]);
    assert!(store.try_create().is_ok());
    assert!(store.try_create().is_err());
}

#[test]
fn ids_of_refused_sessions_are_fresh() {
    let (_clock, store) = build(1, |b| b.on_full(OnFull::Refuse));
    let stored = store.create();
    let (a, b) = (store.create(), store.create());
    assert!(a.id() != b.id() && a.id() != stored.id() && b.id() != stored.id());
}

#[test]
fn length_comes_back_to_exact_values_after_each_way_out() {
    let (clock, store) = build(100, |b| b.ttl(TTL).on_full(OnFull::Refuse));
    for _ in 0..5 {
        let ids = fill(&clock, &store, 100);
        assert_eq!((store.len(), store.try_create().is_err()), (100, true));
        assert!(ids[..30].iter().all(|id| store.destroy(id) && !store.destroy(id)));
        assert_eq!(store.len(), 70);
        let mut s = store.load(&ids[30]).unwrap();
        (0..10).for_each(|_| assert!(store.rotate(&mut s)));
        assert_eq!(store.len(), 70);
        assert_eq!(store.retain(|_, n| *n >= 50), 20);
        assert_eq!(store.len(), 50);
        fill(&clock, &store, 50);
        assert_eq!((store.len(), store.try_create().is_err()), (100, true));
        store.clear();
        assert!(store.is_empty());
        fill(&clock, &store, 100);
        clock.advance(TTL * 2);
        let swept = store.stats().swept;
        let purged = store.purge_expired() as u64;
        assert_eq!((store.len(), purged, store.stats().swept), (0, 100, swept + 100));
    }
}

#[test]
fn rotation_needs_no_room() {
    for on_full in [OnFull::Evict, OnFull::Refuse] {
        let (_clock, store) = build(2, |b| b.ttl(TTL).on_full(on_full));
        let (mut a, b) = (store.create_with(1), store.create_with(2));
        for _ in 0..100 {
            assert!(store.rotate(&mut a));
            assert!(store.contains(a.id()) && store.contains(b.id()));
        }
        assert_eq!((store.len(), store.stats().evicted), (2, 0));
    }
}

#[test]
fn taken_id_at_the_bound_is_refused_and_evicts_nobody() {
    for (max, on_full) in [(1, OnFull::Evict), (4, OnFull::Evict), (4, OnFull::Refuse)] {
        let (clock, store) = build(max, |b| b.ttl(TTL).on_full(on_full));
        let first = store.try_create_with_id("alice", 1).unwrap();
        let others = fill(&clock, &store, max - 1);
        for _ in 0..10 {
            let rejected = store.try_create_with_id("alice", 2).unwrap_err();
            assert!(matches!(rejected.error, CreateError::Taken), "{rejected:?}");
            assert_eq!(rejected.value, 2);
        }
        assert_eq!(*store.load(first.id()).unwrap(), 1);
        assert!(others.iter().all(|id| store.contains(id)));
        assert_eq!((store.len(), store.stats().evicted), (max, 0));
    }
}

#[test]
fn callers_id_that_is_taken_by_a_dead_session_is_given_out_at_the_bound() {
    for on_full in [OnFull::Evict, OnFull::Refuse] {
        let (_clock, store) = build(4, |b| b.on_full(on_full));
        let s = store.try_create_with_id("alice", 1).unwrap();
        (0..3).for_each(|n| drop(store.create_with(n)));
        store.set_expiry(s.id(), Duration::ZERO);
        assert_eq!(*store.try_create_with_id("alice", 2).unwrap(), 2);
        assert_eq!(*store.load("alice").unwrap(), 2);
        assert_eq!((store.len(), store.stats().evicted), (4, 0));
    }
}

#[test]
fn evicted_session_is_gone_for_good() {
    let (clock, store) = build(1, |b| b.ttl(TTL));
    let mut first = store.create_with(1);
    clock.advance(SECOND);
    store.create_with(2);
    *first = 3;
    assert!(!store.save(&first) && store.try_save(&mut first).is_err());
    assert!(!store.rotate(&mut first) && !store.destroy(first.id()));
    assert_eq!((store.len(), store.stats().evicted), (1, 1));
}

#[test]
fn expired_session_goes_before_live_ones_in_a_store_larger_than_a_sample() {
    for _ in 0..20 {
        let clock = ManualClock::new();
        let store = SessionStore::<u32>::builder().ttl(Duration::from_secs(1000)).max_sessions(100);
        let store = store.clock(clock.clone()).build().unwrap();
        let all: Vec<_> = (0..100).map(|n| store.create_with(n)).collect();
        store.set_expiry(all[0].id(), Duration::from_secs(1));
        clock.advance(Duration::from_secs(2));
        store.create();
        assert_eq!(store.stats().evicted, 0);
    }
}

#[test]
fn full_store_that_refuses_finds_the_one_that_has_expired() {
    let (clock, store) = build(1000, |b| b.ttl(TTL).shards(2).on_full(OnFull::Refuse));
    let ids: Vec<SessionId> = (0..1000).map(|n| *store.create_with(n).id()).collect();
    // A sample of 16 would nearly always miss it.
    for id in ids.iter().step_by(97) {
        assert!(store.try_create().is_err());
        assert!(store.set_expiry(id, SECOND));
        clock.advance(SECOND);
        assert!(store.try_create().is_ok());
        assert_eq!((store.len(), store.contains(id)), (1000, false));
    }
}

#[test]
fn full_store_that_refuses_finds_who_has_expired_in_its_sample_before_it_sweeps() {
    for expired in 0..16 {
        // Slices that hardly ever find it.
        let (clock, store) = build(16, |b| b.ttl(TTL).sweep_budget(1).on_full(OnFull::Refuse));
        let ids: Vec<SessionId> = (0..16).map(|n| *store.create_with(n).id()).collect();
        store.set_expiry(&ids[expired], SECOND);
        clock.advance(SECOND);
        assert!(store.try_create().is_ok());
        assert_eq!((store.len(), store.contains(&ids[expired])), (16, false));
    }
}

#[test]
fn full_store_that_refuses_sweeps_although_no_slice_is_due() {
    let (_clock, store) = build(1000, |b| b.ttl(TTL).shards(2).on_full(OnFull::Refuse));
    let ids: Vec<SessionId> = (0..1000).map(|n| *store.create_with(n).id()).collect();
    assert!(store.set_expiry(&ids[0], Duration::ZERO));
    // The clock stands still: after a pass over the table no operation sweeps.
    (0..100).for_each(|_| assert!(!store.touch(&ids[0])));
    assert!(store.try_create().is_ok());
    for id in ids[1..].iter().step_by(97) {
        assert!(store.set_expiry(id, Duration::ZERO));
        assert!(store.try_create().is_ok());
    }
}
