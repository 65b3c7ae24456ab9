//! The pace of the sweep and what a slice leaves, as only the store's own parts show it.

use super::*;

/// Puts a session in past the operations, which would drive the sweep.
fn put_in(store: &SessionStore<u64>, bits: u128, deadline: Tick) {
    let terms = Terms { limit: NEVER, slides: false };
    let place = store.inner.gate.place(id(bits));
    let entry = Entry::new(deadline, Record::with_terms(1, terms));
    store.inner.gate.exclusive(place.shard).insert(&place, entry);
    store.inner.capacity.reserve().unwrap().keep();
}

/// How many slices operations run in a row, at most `most`, while the clock stands still.
fn slices_due(store: &SessionStore<u64>, most: usize) -> usize {
    let now = store.inner.clock.now();
    (0..most)
        .take_while(|_| store.inner.sweep.is_due(now).then(|| store.inner.tend(now)).is_some())
        .count()
}

#[test]
fn sweep_that_has_nothing_to_do_waits_and_not_too_long() {
    const YEAR: Duration = Duration::from_secs(31_557_600);
    // However short or long lifetimes are, from slice to slice it is 4 ms to 1 s.
    for ttl in [Duration::from_nanos(1), MINUTE, YEAR * 100] {
        let clock = ManualClock::new();
        let store = SessionStore::<u64>::builder().ttl(ttl).shards(2).clock(clock.clone());
        let store = store.build().unwrap();
        assert!(slices_due(&store, 100) < 100, "{ttl:?}");
        clock.advance(Duration::from_micros(3_999));
        assert_eq!(slices_due(&store, 100), 0, "{ttl:?}");
        clock.advance(Duration::from_secs(1));
        assert!((1..100).contains(&slices_due(&store, 100)), "{ttl:?}");
        // What was missed in a century is one pass, not more.
        clock.advance(YEAR * 100);
        assert!((1..100).contains(&slices_due(&store, 100)), "{ttl:?}");
    }
}

#[test]
fn session_that_ends_at_once_does_not_hurry_the_sweep_for_ever() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().shards(2).clock(clock.clone()).build().unwrap();
    assert!(store.set_expiry(store.create().id(), Duration::ZERO));
    assert!(slices_due(&store, 100) < 100);
    clock.advance(Duration::from_millis(100));
    assert_eq!(slices_due(&store, 100), 0);
}

#[test]
fn expiry_of_nothing_wakes_no_sweep() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    store.create();
    assert!(!store.set_expiry(&id(7), MINUTE));
    assert!(!store.inner.sweep.is_needed() && !store.inner.sweep.is_due(NEVER));
}

/// A table that is made smaller in the middle of a purge moves its entries to where the purge has been.
#[test]
fn purge_misses_nothing_when_the_table_shrinks_under_it() {
    for inserts in 0..40 {
        let (clock, script) = (ManualClock::new(), Script::default());
        let inner = Arc::new(Mutex::new(None::<SessionStore<u64>>));
        let again = Arc::clone(&inner);
        let store = script.builder().ttl(MINUTE).clock(clock.clone()).sweep_budget(1);
        let store = store.on_end(move |end| {
            // The first that expires makes room for another, which looks ahead.
            if matches!(end.cause, crate::ends::Cause::Expired)
                && let Some(store) = again.lock().unwrap().take()
            {
                store.create_with(0);
            }
        });
        let store = store.build().unwrap();
        let ids = ids_of(&store, 0, 500 + inserts + 1);
        script.then(&ids);
        (0..500).for_each(|n| drop(store.create_with(n)));
        ids[40..500].iter().for_each(|bits| assert!(store.destroy(&id(*bits))));
        (0..inserts).for_each(|_| drop(store.create()));
        clock.advance(MINUTE);
        *inner.lock().unwrap() = Some(store.clone());
        store.purge_expired();
        assert_eq!(store.len(), 1, "{inserts} inserts before");
    }
}

#[test]
fn one_pass_of_slices_leaves_no_bucket_out() {
    let store = SessionStore::<u64>::builder().shards(2).sweep_budget(1).build().unwrap();
    (0..500).for_each(|bits| put_in(&store, bits, 2));
    let now = store.inner.clock.now();
    (0..store.inner.gate.buckets()).for_each(|_| store.inner.sweep_slice(now));
    assert_eq!((store.len(), store.stats().expired), (0, 500));
}

#[test]
fn buckets_are_counted_as_tables_grow_and_shrink_and_empty_ones_are_freed_by_loads() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().ttl(MINUTE).shards(2).clock(clock.clone());
    let store = store.build().unwrap();
    for _ in 0..2 {
        (0..1_000).for_each(|n| drop(store.create_with(n)));
        let in_tables: usize = (0..2).map(|n| store.inner.gate.exclusive(n).buckets()).sum();
        assert!(in_tables > 1_000);
        assert_eq!(store.inner.gate.buckets(), in_tables);
        store.clear();
        assert_eq!(store.inner.gate.buckets(), 2);
    }
    (0..1_000).for_each(|n| drop(store.create_with(n)));
    clock.advance(MINUTE);
    for _ in 0..200 {
        clock.advance(MINUTE);
        assert!(store.load(&id(1)).is_none());
    }
    assert_eq!((store.len(), store.inner.gate.buckets()), (0, 2));
}

#[test]
fn shorter_of_two_lifetimes_sets_the_pace_of_the_sweep() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().ttl(MINUTE * 10_000).idle_timeout(MINUTE / 60);
    let store = store.shards(2).clock(clock.clone()).build().unwrap();
    assert!(slices_due(&store, 100) < 100);
    clock.advance(Duration::from_millis(100));
    assert!(slices_due(&store, 100) > 0);
}

/// A store with no lifetimes and a budget of 16, of which one shard has 16 buckets and so many dead.
fn sixteen_buckets_with(dead: usize) -> SessionStore<u64> {
    let store = SessionStore::<u64>::builder().shards(2).sweep_budget(16).build().unwrap();
    for (n, bits) in ids_of(&store, 0, 10).into_iter().enumerate() {
        put_in(&store, bits, if n < dead { 2 } else { NEVER });
    }
    assert_eq!(store.inner.gate.buckets(), 16 + 1);
    store
}

#[test]
fn slice_that_finds_more_than_one_in_sixteen_expired_puts_the_sweep_behind() {
    for (dead, behind) in [(0, false), (1, false), (2, true)] {
        let store = sixteen_buckets_with(dead);
        let now = store.inner.clock.now();
        store.inner.sweep_slice(now);
        assert_eq!(
            (store.len(), store.inner.sweep.is_due(now)),
            (10 - dead, behind),
            "{dead} dead"
        );
    }
}

#[test]
fn sweep_that_is_late_catches_up_on_the_slices_it_missed_and_no_more() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().shards(2).sweep_budget(1).clock(clock.clone());
    let store = store.ttl(MINUTE * 60).build().unwrap();
    ids_of(&store, 0, 400).into_iter().for_each(|bits| put_in(&store, bits, NEVER));
    // One slice for each bucket, and one for the shards.
    let pass = store.inner.gate.buckets() as u32 + 1;
    let period = MINUTE * 60 / 16 / pass;
    assert!(period > Duration::from_millis(4) && period < Duration::from_secs(1));
    slices_due(&store, 10_000);
    for missed in [1, 2, 3, 10, 100] {
        clock.advance(period * missed as u32);
        assert_eq!(slices_due(&store, 10_000), missed);
    }
}

/// A store with a session too brief for the pace of the slices, of which none is due.
fn store_that_looks_ahead(script: &Script) -> SessionStore<u64> {
    let store = script.builder().ttl(MINUTE * 10_000).clock(ManualClock::new()).build().unwrap();
    store.inner.sweep.hasten(MINUTE.as_nanos() as u64 / 4 - 1);
    assert!(slices_due(&store, 100) < 100);
    store
}

#[test]
fn inserts_look_ahead_only_where_the_slices_do_not_keep_pace() {
    const SECOND: u64 = 1_000_000_000;
    // The shortest lifetime of the store, that of one session, whether a slice is due, what is swept.
    let cases = [
        (600, 600, false, false),
        (600, 16, false, false),
        (600, 15, false, true),
        (600, 600, true, true),
        (2, 2, false, false),
        (2, 1, false, true),
        (2, 2, true, true),
    ];
    for (ttl, own, due, swept) in cases {
        let (script, clock) = (Script::default(), ManualClock::new());
        let builder = script.builder().ttl(Duration::from_secs(ttl)).clock(clock.clone());
        let store = builder.build().unwrap();
        store.inner.sweep.hasten(own * SECOND);
        assert!(slices_due(&store, 100) < 100);
        let ids = ids_of(&store, 0, 300 + 1);
        ids[..300].iter().for_each(|bits| put_in(&store, *bits, 2));
        if due {
            clock.advance(MINUTE);
        }
        let (now, place) = (store.inner.clock.now(), store.inner.gate.place(id(ids[300])));
        let mut ended = Vec::new();
        let mut shard = store.inner.gate.exclusive(place.shard);
        for _ in 0..50 {
            store.inner.sweep.look_ahead(&mut shard, place.shard, now, &mut ended);
        }
        assert_eq!(!ended.is_empty(), swept, "{ttl} s, {own} s, due: {due}");
    }
}

#[test]
fn inserts_pass_over_their_shard_while_a_seventh_of_what_it_holds_is_created() {
    let script = Script::default();
    let store = store_that_looks_ahead(&script);
    let ids = ids_of(&store, 0, 300 + 43);
    ids[..300].iter().for_each(|bits| put_in(&store, *bits, 2));
    script.then(&ids[300..]);
    (0..43).for_each(|n| drop(store.create_with(n)));
    assert_eq!((store.len(), store.stats().expired), (43, 300));
}

/// Far into a large table, where a slice that is full after a few buckets has looked at few.
#[test]
fn sweep_that_finds_much_goes_on_until_all_of_it_is_gone() {
    let store = SessionStore::<u64>::builder().ttl(MINUTE).shards(2).clock(ManualClock::new());
    let store = store.build().unwrap();
    ids_of(&store, 0, 4_000).into_iter().for_each(|bits| put_in(&store, bits, 2));
    slices_due(&store, 10_000);
    assert_eq!((store.len(), store.stats().swept), (0, 4_000));
}

#[test]
fn insert_looks_at_no_more_than_its_share_of_the_shard() {
    let script = Script::default();
    let store = store_that_looks_ahead(&script);
    let ids = ids_of(&store, 0, 400 + 1);
    ids[..400].iter().for_each(|bits| put_in(&store, *bits, 2));
    script.then(&ids[400..]);
    store.create_with(1);
    // Seven times 512 buckets for 400 sessions.
    assert!((1..=9).contains(&store.stats().swept), "{}", store.stats().swept);
}

/// Whatever inserts come by, entries are moved only where much is to be won.
#[test]
fn table_that_is_small_or_not_sparse_is_left_as_it_is() {
    for stored in [10, 200, 300] {
        let script = Script::default();
        let builder = script.builder().ttl(MINUTE).clock(ManualClock::new());
        let store = builder.build().unwrap();
        let ids = ids_of(&store, 0, stored + 1);
        script.then(&ids);
        (0..=stored as u64).for_each(|n| drop(store.create_with(n)));
        let layout = store.inner.gate.exclusive(0).layout();
        for _ in 0..500 {
            assert!(store.destroy(&id(ids[stored])));
            script.then(&ids[stored..]);
            store.create();
        }
        assert_eq!(store.inner.gate.exclusive(0).layout(), layout, "{stored} stored");
    }
}

/// It neither waits for the lock nor stays at the shard.
#[test]
fn slice_passes_by_a_shard_that_is_busy() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    ids_of(&store, 1, 10).into_iter().for_each(|bits| put_in(&store, bits, 2));
    let now = store.inner.clock.now();
    let busy = store.inner.gate.exclusive(0);
    store.inner.sweep_slice(now);
    drop(busy);
    assert!(store.is_empty());
}

#[test]
fn inserts_make_a_sparse_table_smaller_and_its_buckets_are_counted() {
    for ttl in [None, Some(MINUTE)] {
        let (script, clock) = (Script::default(), ManualClock::new());
        let mut builder = script.builder().clock(clock);
        if let Some(ttl) = ttl {
            builder = builder.ttl(ttl);
        }
        let store = builder.build().unwrap();
        let ids = ids_of(&store, 0, 1_000 + 1);
        script.then(&ids);
        (0..1_000).for_each(|n| drop(store.create_with(n)));
        let before = store.inner.gate.buckets();
        ids[..990].iter().for_each(|bits| assert!(store.destroy(&id(*bits))));
        store.create_with(0);
        let in_tables: usize = (0..2).map(|n| store.inner.gate.exclusive(n).buckets()).sum();
        assert!(in_tables < before / 8, "{ttl:?}");
        assert_eq!(store.inner.gate.buckets(), in_tables);
    }
}

#[test]
fn slice_looks_at_its_budget_over_all_shards_together() {
    let store = SessionStore::<u64>::builder().shards(2).sweep_budget(5).build().unwrap();
    for shard in 0..2 {
        ids_of(&store, shard, 3).into_iter().for_each(|bits| put_in(&store, bits, 2));
    }
    assert_eq!(store.inner.gate.buckets(), 4 + 4);
    store.inner.sweep_slice(store.inner.clock.now());
    assert!(store.len() >= 2, "one bucket was left of the budget, and {} of 3 dead", store.len());
}

/// Also at the end of a large table: what was found there is a reason to look at all of it again.
#[test]
fn sweep_that_finds_much_to_the_end_of_a_pass_runs_another() {
    let store = SessionStore::<u64>::builder().ttl(MINUTE).shards(2).clock(ManualClock::new());
    let store = store.build().unwrap();
    let ids = ids_of(&store, 0, 4_000);
    let deadline = |n: usize| if n % 2 == 0 { 2 } else { NEVER };
    ids.into_iter().enumerate().for_each(|(n, bits)| put_in(&store, bits, deadline(n)));
    let pass = store.inner.gate.buckets().div_ceil(512) + 1;
    let slices = slices_due(&store, 10_000);
    assert_eq!(store.stats().swept, 2_000);
    assert!(slices > pass + pass / 2, "{slices} slices, and a pass has {pass}");
}

/// The bound on the time that a slice holds a shard, shared or not.
#[test]
fn looks_stop_after_the_buckets_they_were_given() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    ids_of(&store, 0, 100).into_iter().for_each(|bits| put_in(&store, bits, NEVER));
    let mut shard = store.inner.gate.exclusive(0);
    assert_eq!(shard.buckets(), 128);
    // From, at most, looked, next.
    let cases = [
        (0, 10, 10, Some(10)),
        (3, 10, 10, Some(13)),
        (117, 10, 10, Some(127)),
        (120, 10, 8, None),
        (118, 10, 10, None),
    ];
    for (from, most, looked, next) in cases {
        let go_on = |_, _| std::ops::ControlFlow::Continue(());
        let stretch = shard.take(from, most, |_| false, go_on);
        assert_eq!((stretch.looked, stretch.next), (looked, next), "take from {from}");
    }
    drop(shard);
    let shard = store.inner.gate.shared(0);
    for (from, most, looked, next) in cases {
        let go_on = |_, _: &Entry<u64>| std::ops::ControlFlow::Continue(());
        let stretch = shard.look(from, most, go_on);
        assert_eq!((stretch.looked, stretch.next), (looked, next), "look from {from}");
    }
    for (most, seen) in [(10, 10), (128, 128), (1_000, 128)] {
        assert_eq!(shard.look_around(77, most, |_, _| std::ops::ControlFlow::Continue(())), seen);
    }
    let first = shard.look_around(0, 128, |_, _| std::ops::ControlFlow::Break(()));
    assert!((1..=29).contains(&first), "28 of 128 are empty, and {first} were looked at");
}

#[test]
fn slice_removes_sixty_four_at_a_time() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    ids_of(&store, 0, 100).into_iter().for_each(|bits| put_in(&store, bits, 2));
    for swept in [64, 100, 100] {
        store.inner.sweep_slice(store.inner.clock.now());
        assert_eq!(store.stats().swept, swept);
    }
}

/// An insert of which the share would be all of a table that was once full.
#[test]
fn insert_looks_at_a_bounded_part_of_a_table_that_is_nearly_empty() {
    let mut found = 0;
    for _ in 0..5 {
        let script = Script::default();
        let store = store_that_looks_ahead(&script);
        let ids = ids_of(&store, 0, 4_000);
        put_in(&store, ids[0], 2);
        ids[1..].iter().for_each(|bits| put_in(&store, *bits, NEVER));
        for bits in &ids[1..] {
            let place = store.inner.gate.place(id(*bits));
            assert!(store.inner.gate.exclusive(0).remove(&place).is_some());
            store.inner.capacity.release(1);
        }
        script.then(&ids[1..2]);
        store.create();
        found += store.stats().swept;
    }
    // One in 8192 buckets, of which 128 are looked at: it is not found five times by chance.
    assert!(found < 5);
}

#[test]
fn purge_gives_the_memory_of_what_has_expired_back() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().ttl(MINUTE).shards(2).clock(clock.clone());
    let store = store.build().unwrap();
    let kept = *store.create().id();
    (0..5_000).for_each(|n| _ = store.create_with(n));
    store.set_expiry(&kept, crate::Expiry::Never);
    clock.advance(MINUTE);
    assert_eq!((store.purge_expired(), store.len()), (5_000, 1));
    assert!(store.inner.gate.buckets() <= 64, "{} buckets", store.inner.gate.buckets());
}
