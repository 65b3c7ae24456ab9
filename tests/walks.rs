//! The operations that go through all sessions: each live one once, whatever happens meanwhile.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use cloakroom::{ManualClock, SessionId, SessionStore};

const TTL: Duration = Duration::from_secs(100);

fn build(shards: usize) -> (ManualClock, SessionStore<u32>) {
    let clock = ManualClock::new();
    let builder = SessionStore::<u32>::builder().ttl(TTL).shards(shards);
    let store = builder.clock(clock.clone()).build().unwrap();
    (clock, store)
}

fn fill(store: &SessionStore<u32>, count: u32) -> HashMap<SessionId, u32> {
    (0..count).map(|n| (*store.create_with(n).id(), n)).collect()
}

#[test]
fn walk_shows_each_live_session_once_with_its_data() {
    for (shards, count) in [(2, 0), (2, 1), (256, 3), (2, 3000), (64, 3000)] {
        let (_clock, store) = build(shards);
        let mut expected = fill(&store, count);
        store.for_each(|id, n| assert_eq!(expected.remove(id), Some(*n)));
        assert!(expected.is_empty());
    }
}

#[test]
fn walk_shows_no_session_that_has_ended() {
    let (clock, store) = build(4);
    let expired = fill(&store, 500);
    clock.advance(TTL);
    let destroyed = fill(&store, 500);
    destroyed.keys().for_each(|id| assert!(store.destroy(id)));
    let mut live = fill(&store, 500);
    store.for_each(|id, _| {
        assert!(!expired.contains_key(id) && !destroyed.contains_key(id));
        assert!(live.remove(id).is_some());
    });
    assert!(live.is_empty());
}

#[test]
fn walk_shows_each_session_once_while_its_closure_makes_the_tables_grow() {
    for shards in [2, 16] {
        let (_clock, store) = build(shards);
        let mut expected = fill(&store, 1000);
        let mut created = HashSet::new();
        store.for_each(|id, _| {
            // Each growth moves every entry of a table to another bucket.
            while created.len() < 20_000 && created.len() % 97 != 96 {
                assert!(created.insert(*store.create().id()));
            }
            if created.len() < 20_000 {
                assert!(created.insert(*store.create().id()));
            }
            assert!(expected.remove(id).is_some() || created.remove(id), "shown twice");
        });
        assert!(expected.is_empty(), "{} were not shown", expected.len());
    }
}

#[test]
fn walk_shows_each_session_once_while_its_closure_makes_the_tables_shrink() {
    let (_clock, store) = build(2);
    let all = fill(&store, 4000);
    let mut shown = HashSet::new();
    store.for_each(|id, n| {
        assert!(shown.insert(*id), "shown twice");
        if shown.len() == 1 {
            for (id, _) in all.iter().filter(|(_, n)| *n % 40 != 0) {
                assert!(store.destroy(id));
            }
            // Moves the few to smaller tables.
            store.purge_expired();
        }
        assert_eq!(all[id], *n);
    });
    assert!(all.iter().all(|(id, n)| n % 40 != 0 || shown.contains(id)));
}

/// A table full of what was removed is tidied where it stands: its entries move, its size stays.
#[test]
fn walk_shows_each_session_once_while_its_closure_makes_the_tables_be_tidied() {
    for _ in 0..30 {
        let store = SessionStore::<u32>::builder().shards(2).build().unwrap();
        let mut expected = fill(&store, 1700);
        let ended: Vec<SessionId> = expected.keys().take(1200).copied().collect();
        ended.iter().for_each(|id| assert!(store.destroy(id) && expected.remove(id).is_some()));
        store.for_each(|id, n| {
            assert!(*n == u32::MAX || expected.remove(id) == Some(*n), "shown twice");
            for _ in 0..40 {
                assert!(store.destroy(store.create_with(u32::MAX).id()));
            }
        });
        assert!(expected.is_empty(), "{} were not shown", expected.len());
    }
}

#[test]
fn walk_goes_on_while_its_closure_destroys() {
    let (_clock, store) = build(2);
    let mut left = fill(&store, 2000);
    let mut shown = HashSet::new();
    store.for_each(|id, _| {
        assert!(shown.insert(*id), "shown twice");
        // This one, unless it was the other before, and another, before or behind it.
        let other = left.keys().next().copied();
        for ended in [Some(*id), other].into_iter().flatten() {
            assert_eq!(store.destroy(&ended), left.remove(&ended).is_some());
        }
    });
    assert!(shown.len() >= 1000, "each but those that ended before their turn");
    assert!(left.is_empty() && store.is_empty());
}

#[test]
fn walk_goes_on_while_its_closure_clears_and_purges() {
    let (clock, store) = build(2);
    let expected = fill(&store, 1000);
    let mut shown = HashSet::new();
    store.for_each(|id, _| {
        assert!(shown.insert(*id) && expected.contains_key(id));
        if shown.len() == 10 {
            clock.advance(TTL);
            store.purge_expired();
            store.clear();
        }
    });
    assert!(store.is_empty());
}

#[test]
fn walk_shows_what_a_closure_saved_in_sessions_still_to_come_at_most_once() {
    let (_clock, store) = build(2);
    let ids: Vec<SessionId> = fill(&store, 1000).into_keys().collect();
    let mut shown = HashSet::new();
    store.for_each(|id, _| {
        assert!(shown.insert(*id));
        assert!(store.update(&ids[shown.len() - 1], |n| *n += 10_000).is_some());
    });
    assert_eq!(shown.len(), 1000);
}

#[test]
fn retain_ends_exactly_what_its_closure_refuses() {
    for shards in [2, 256] {
        let (_clock, store) = build(shards);
        let all = fill(&store, 3000);
        let mut asked = HashSet::new();
        let removed = store.retain(|id, n| {
            assert!(asked.insert(*id));
            n % 3 == 0
        });
        assert_eq!((removed, asked.len(), store.len()), (2000, 3000, 1000));
        assert!(all.iter().all(|(id, n)| store.contains(id) == (n % 3 == 0)));
        assert_eq!(store.retain(|_, _| true), 0);
        assert_eq!(store.retain(|_, _| false), 1000);
        assert!(store.is_empty());
    }
}

#[test]
fn retain_asks_again_about_what_was_saved_since() {
    let (_clock, store) = build(2);
    let s = store.create_with(1);
    let mut asked = Vec::new();
    let removed = store.retain(|id, n| {
        asked.push(*n);
        if asked.len() <= 2 {
            store.update(id, |n| *n += 1);
        }
        *n >= 3
    });
    assert_eq!((removed, asked), (0, vec![1, 2, 3]));
    assert_eq!(*store.load(s.id()).unwrap(), 3, "a verdict on old data ends nothing");
}

#[test]
fn retain_does_not_end_what_expired_while_it_was_judged() {
    let (clock, store) = build(2);
    store.create();
    let removed = store.retain(|_, _| {
        clock.advance(TTL);
        false
    });
    assert_eq!((removed, store.stats().destroyed), (0, 0));
    store.purge_expired();
    assert_eq!((store.len(), store.stats().expired), (0, 1));
}

#[test]
fn retain_does_not_count_what_its_closure_destroyed() {
    let (_clock, store) = build(2);
    fill(&store, 100);
    let removed = store.retain(|id, _| {
        assert!(store.destroy(id));
        false
    });
    assert_eq!((removed, store.len(), store.stats().destroyed), (0, 0, 100));
}

#[test]
fn cleared_store_is_empty_and_works_on() {
    let (clock, store) = build(4);
    for round in 1..4 {
        let ids = fill(&store, 1000);
        let mut s = store.load(ids.keys().next().unwrap()).unwrap();
        store.clear();
        assert_eq!((store.len(), store.is_empty()), (0, true));
        assert!(ids.keys().all(|id| !store.contains(id) && !store.destroy(id)));
        *s = 1;
        assert!(!store.save(&s) && !store.rotate(&mut s));
        store.for_each(|_, _| panic!("a cleared session was shown"));
        assert_eq!(store.stats().cleared, 1000 * round);
        clock.advance(TTL / 10);
    }
}

#[test]
fn stats_of_a_small_store_are_exact() {
    for shards in [2, 16, 256] {
        let (clock, store) = build(shards);
        assert_eq!((store.stats().live, store.stats().expired_unswept), (0, 0));
        fill(&store, 100);
        clock.advance(TTL / 2);
        fill(&store, 150);
        assert_eq!((store.stats().live, store.stats().stored), (250, 250));
        clock.advance(TTL / 2);
        // Nothing has run since that could have swept.
        let stats = store.stats();
        assert_eq!((stats.live, stats.expired_unswept, stats.stored), (150, 100, 250));
        assert_eq!(store.len(), 250, "looking sweeps nothing");
        store.purge_expired();
        let stats = store.stats();
        assert_eq!((stats.live, stats.expired_unswept, stats.stored), (150, 0, 150));
    }
}

#[test]
fn stats_of_a_large_store_are_close() {
    let (clock, store) = build(256);
    let ids: Vec<SessionId> = fill(&store, 40_000).into_keys().collect();
    ids[..10_000].iter().for_each(|id| assert!(store.set_expiry(id, TTL * 2)));
    clock.advance(TTL);
    let stats = store.stats();
    assert_eq!(stats.stored, 40_000);
    assert_eq!(stats.live + stats.expired_unswept, 40_000);
    // A quarter, from a sample of some 2,500: eight standard deviations to each side.
    assert!((7_200..12_800).contains(&stats.live), "{}", stats.live);
    store.purge_expired();
    assert_eq!((store.stats().live, store.stats().expired_unswept), (10_000, 0));
}

/// The sweep leaves a table clean behind it and full of the expired before it.
#[test]
fn stats_of_a_large_store_are_close_while_it_is_swept() {
    let (clock, store) = build(2);
    let ids: Vec<SessionId> = fill(&store, 20_000).into_keys().collect();
    ids[..10_000].iter().for_each(|id| assert!(store.set_expiry(id, TTL * 2)));
    clock.advance(TTL);
    while store.len() > 14_000 {
        assert!(store.contains(&ids[0]));
    }
    // One reading looks at an eighth of the table, in one piece of each shard: each time another.
    let readings: HashSet<u64> = (0..100)
        .map(|_| {
            clock.advance(Duration::from_nanos(1));
            store.stats().expired_unswept
        })
        .collect();
    let (dead, mean) = (4_000, readings.iter().sum::<u64>() / readings.len() as u64);
    assert!(readings.len() > 10, "always the same piece");
    assert!((dead / 2..dead * 2).contains(&mean), "{mean} instead of {dead}");
}

#[test]
fn each_counter_counts_its_own_operation() {
    let (_clock, store) = build(2);
    let mut s = store.create();
    store.load(s.id());
    store.peek(s.id());
    assert!(store.load("none").is_none() && store.update("none", |_| ()).is_none());
    assert!(store.save(&s));
    store.update(s.id(), |n| *n += 1);
    assert!(store.try_save(&mut s).is_err());
    assert!(store.rotate(&mut s) && store.destroy(s.id()) && !store.save(&s));
    let stats = store.stats();
    assert_eq!((stats.created, stats.loaded, stats.missed), (1, 2, 2));
    assert_eq!((stats.saved, stats.conflicts, stats.saves_refused), (2, 1, 1));
    assert_eq!((stats.rotated, stats.destroyed), (1, 1));
    assert_eq!((stats.expired, stats.evicted, stats.cleared, stats.swept), (0, 0, 0, 0));
    assert_eq!((stats.creates_refused, stats.panics, stats.stored), (0, 0, 0));
}

#[test]
fn session_that_expires_during_a_walk_is_not_shown_by_its_later_slices() {
    let clock = ManualClock::new();
    let builder = SessionStore::<u64>::builder().shards(2).clock(clock.clone());
    let store = builder.ttl(Duration::from_secs(60)).build().unwrap();
    (0..2_000).for_each(|n| drop(store.create_with(n)));
    let mut shown = 0;
    store.for_each(|_, _| {
        shown += 1;
        if shown == 1 {
            clock.advance(Duration::from_secs(60));
        }
    });
    assert!(shown <= 200, "{shown} were shown, and a slice has 128 at the most");
}
