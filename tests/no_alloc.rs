//! What allocates and what does not, and that memory comes back: with an allocator that counts.
#![allow(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use cloakroom::{Builder, Expiry, ManualClock, SessionId, SessionStore, Subject};

const MINUTE: Duration = Duration::from_secs(60);

thread_local! {
    /// Calls of the allocator, and bytes held, by this thread: tests run side by side.
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

fn count(calls: u64, bytes: i64) {
    // Neither has a destructor, so both can be reached to the end of the thread.
    CALLS.set(CALLS.get() + calls);
    HELD.set(HELD.get() + bytes);
}

// SAFETY: every call goes to the system's allocator with the caller's own arguments, and counting
// touches no memory but two thread-local cells that are initialized without allocating.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller keeps `dealloc`'s contract, and `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often `run` allocated.
fn allocations<R>(run: impl FnOnce() -> R) -> u64 {
    let before = CALLS.get();
    let result = run();
    let after = CALLS.get();
    drop(result);
    after - before
}

fn builder(clock: &ManualClock) -> Builder<u64> {
    SessionStore::<u64>::builder().shards(2).idle_timeout(MINUTE).clock(clock.clone())
}

fn filled(store: &SessionStore<u64>, sessions: u64) -> Vec<SessionId> {
    (0..sessions).map(|n| *store.create_with(n).id()).collect()
}

/// A store with one session, in which everything that is made once has been made.
fn warm() -> (SessionStore<u64>, SessionId) {
    let store = builder(&ManualClock::new()).on_end(|_| ()).build().unwrap();
    // Tables with room for more, yet not so sparse that a create would make them smaller.
    let ids = filled(&store, 200);
    ids[150..].iter().for_each(|id| assert!(store.destroy(id)));
    store.load(&ids[0]).unwrap();
    (store, ids[0])
}

fn unknown_id() -> SessionId {
    *SessionStore::new(60).create().id()
}

#[test]
fn lookups_that_hit_allocate_nothing() {
    let (store, id) = warm();
    let token = id.to_token();
    let mut session = store.load(&id).unwrap();
    assert_eq!(allocations(|| store.load(&id).unwrap()), 0);
    assert_eq!(allocations(|| store.load(token.as_str()).unwrap()), 0);
    assert_eq!(allocations(|| store.peek(&id).unwrap()), 0);
    assert_eq!(allocations(|| assert!(store.touch(&id))), 0);
    assert_eq!(allocations(|| assert!(store.contains(&id))), 0);
    assert_eq!(allocations(|| assert!(store.expires_in(&id).is_some())), 0);
    assert_eq!(allocations(|| assert!(store.set_expiry(&id, MINUTE))), 0);
    assert_eq!(allocations(|| store.len()), 0);
    assert_eq!(allocations(|| store.stats()), 0);
    assert_eq!(allocations(|| store.clone()), 0);
    assert_eq!(allocations(|| session.clone()), 0);
    // Within the room its table has.
    assert_eq!(allocations(|| assert!(store.rotate(&mut session))), 0);
}

/// They run the slices in which the others' sessions leave the table and the index.
#[test]
fn loads_allocate_nothing_while_the_index_empties() {
    let clock = ManualClock::new();
    let store = builder(&clock).index_by(|user| Some(Subject::from(*user))).build().unwrap();
    let mine = store.create_with(0);
    store.set_expiry(mine.id(), Expiry::Never);
    (1..20_000).for_each(|user| _ = store.create_with(user));
    clock.advance(MINUTE * 1_000);
    let mut most = 0;
    while store.len() > 1 {
        most = most.max(allocations(|| store.load(mine.id()).unwrap()));
    }
    assert_eq!(most, 0);
}

#[test]
fn lookups_that_miss_allocate_nothing_whatever_the_id() {
    let (store, ended) = warm();
    store.destroy(&ended);
    let long = "x".repeat(1 << 20);
    let unknown = unknown_id();
    let texts = ["", "A", "\0", "AAAAAAAAAAAAAAAAAAAAAAAA==", "AAAAAAAAAAAAAAAAAAAAAB", &long];
    for foreign_ids in [false, true] {
        if foreign_ids {
            // From now on each text is digested.
            store.create_with_id(String::from("theirs"));
        }
        for id in [&ended, &unknown] {
            assert_eq!(allocations(|| assert!(store.load(id).is_none())), 0);
            assert_eq!(allocations(|| assert!(!store.touch(id) && !store.contains(id))), 0);
            assert_eq!(allocations(|| assert!(!store.destroy(id))), 0);
            assert_eq!(allocations(|| assert!(store.update(id, |_| ()).is_none())), 0);
            assert_eq!(allocations(|| assert!(!store.set_expiry(id, MINUTE))), 0);
        }
        for text in texts {
            assert_eq!(allocations(|| assert!(store.load(text).is_none())), 0);
            assert_eq!(allocations(|| assert!(store.peek(text).is_none())), 0);
            assert_eq!(allocations(|| assert!(!store.touch(text) && !store.contains(text))), 0);
            assert_eq!(allocations(|| assert!(store.expires_in(text).is_none())), 0);
            assert_eq!(allocations(|| assert!(!store.destroy(text))), 0);
        }
    }
}

#[test]
fn load_that_runs_a_slice_allocates_nothing() {
    let clock = ManualClock::new();
    let store = builder(&clock).on_end(|_| ()).build().unwrap();
    let kept = *store.create().id();
    store.destroy(store.create().id());
    // Without garbage: a slice is due whenever the clock moves on so far.
    filled(&store, 500);
    for _ in 0..100 {
        clock.advance(MINUTE / 600);
        assert_eq!(allocations(|| store.load(&kept).unwrap()), 0);
    }
    // With garbage, which slices remove until it is gone. Longer than the 50 above: no slice of
    // these finishes a shard with so few entries left that its table is made smaller.
    assert_eq!(store.stats().swept, 0);
    clock.advance(MINUTE * 5 / 6);
    filled(&store, 400);
    store.load(&kept);
    clock.advance(MINUTE / 6);
    let mut loads = 0;
    while store.len() > 401 {
        assert_eq!(allocations(|| store.load(&kept).unwrap()), 0);
        loads += 1;
        assert!(loads < 1_000, "nothing is swept");
    }
    assert!(store.stats().swept >= 400);
}

#[test]
fn changes_allocate_as_often_as_stated() {
    let (store, id) = warm();
    // The record.
    assert_eq!(allocations(|| store.create()), 1);
    assert_eq!(allocations(|| store.create_with(7)), 1);
    // A copy of the data, for there is no change to store.
    let mut session = store.load(&id).unwrap();
    assert_eq!(allocations(|| assert!(store.save(&session))), 1);
    // The handle's own copy, made by its first change, is what is stored.
    assert_eq!(allocations(|| *session += 1), 1);
    assert_eq!(allocations(|| *session += 1), 0);
    assert_eq!(allocations(|| assert!(store.save(&session))), 0);
    let mut session = store.load(&id).unwrap();
    assert_eq!(allocations(|| *session += 1), 1);
    assert_eq!(allocations(|| store.try_save(&mut session).unwrap()), 0);
    assert_eq!(allocations(|| store.update(&id, |value| *value += 1).unwrap()), 1);
    // The list of what ended.
    assert!(allocations(|| assert!(store.destroy(&id))) <= 1);
}

#[test]
fn a_million_lookups_of_unknown_ids_create_nothing() {
    let (store, _) = warm();
    let (len, held) = (store.len(), HELD.get());
    let unknown: Vec<_> = (0..256).map(|_| unknown_id()).collect();
    let token = unknown_id().to_token();
    let by_these = HELD.get() - held;
    let made = allocations(|| {
        for n in 0..250_000 {
            let id = &unknown[n % unknown.len()];
            assert!(store.load(id).is_none());
            assert!(!store.touch(id) && !store.contains(token.as_str()));
            assert!(store.peek("no id at all").is_none());
        }
    });
    assert_eq!((made, store.len()), (0, len));
    assert_eq!(HELD.get(), held + by_these);
}

/// What an empty store of these tests holds, at the most, beyond what it held when it was new: some
/// room in its queue and in this thread's mark of deliveries.
const SLACK: i64 = 1024;

#[test]
fn memory_returns_to_where_it_was_after_clear() {
    let store = SessionStore::<Vec<u8>>::builder().shards(2).build().unwrap();
    let empty = HELD.get();
    for _ in 0..3 {
        (0..20_000).for_each(|_| drop(store.create_with(vec![0; 100])));
        assert!(HELD.get() - empty > 20_000 * 100);
        store.clear();
        assert!(HELD.get() - empty <= SLACK, "{} bytes are left", HELD.get() - empty);
    }
}

#[test]
fn memory_returns_after_an_expiry_storm_and_a_purge() {
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    let empty = HELD.get();
    filled(&store, 50_000);
    let full = HELD.get() - empty;
    clock.advance(MINUTE);
    assert_eq!(store.purge_expired(), 50_000);
    assert!(HELD.get() - empty <= SLACK, "{} of {full} bytes are left", HELD.get() - empty);
}

#[test]
fn memory_returns_after_an_expiry_storm_by_traffic_alone() {
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    let empty = HELD.get();
    filled(&store, 50_000);
    let full = HELD.get() - empty;
    clock.advance(MINUTE);
    let kept = *store.create().id();
    for _ in 0..5_000 {
        assert!(store.load(&kept).is_some());
    }
    // Loads have removed the sessions and freed the shards that are empty. The others shrink when a
    // create comes by, because a load may not allocate a smaller table.
    for _ in 0..1_000 {
        store.destroy(store.create().id());
    }
    assert_eq!(store.len(), 1);
    assert!(HELD.get() - empty <= full / 50, "{} of {full} are left", HELD.get() - empty);
}

#[test]
fn walk_keeps_no_memory_of_rotations_once_it_is_over() {
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    let mut sessions: Vec<_> = (0..100).map(|n| store.create_with(n)).collect();
    let mut rotate_all = || {
        for _ in 0..100 {
            sessions.iter_mut().for_each(|session| assert!(store.rotate(session)));
        }
    };
    rotate_all();
    let before = HELD.get();
    let mut shown = 0;
    store.for_each(|_, _| {
        shown += 1;
        if shown == 1 {
            rotate_all();
            assert!(HELD.get() - before > 100 * 100 * 32, "noted, as long as the walk lasts");
        }
    });
    rotate_all();
    // A table may have doubled; what is noted of 10,000 rotations is many times that.
    assert!(HELD.get() - before <= 64 * 1024, "{} bytes are left", HELD.get() - before);
}

/// Bytes for each stored session, at the most: its record of 32, and the buckets of 33 with their
/// control byte. hashbrown doubles a table of removed entries when more than 7/16 of it are full, so
/// that there are less than 32/7 buckets for each.
const BYTES_PER_SESSION: i64 = 32 + 33 * 32 / 7 + 1;

#[test]
fn churn_does_not_grow_the_store_beyond_what_it_holds() {
    let clock = ManualClock::new();
    let store = builder(&clock).build().unwrap();
    let empty = HELD.get();
    let mut most = 0;
    for n in 0..120_000 {
        // Sessions that expire by themselves, that are destroyed, and that rotate: 20 lifetimes.
        let mut session = store.create_with(n);
        store.update(session.id(), |value| *value += 1);
        if n % 3 == 0 {
            assert!(store.rotate(&mut session));
        } else if n % 3 == 1 {
            assert!(store.destroy(session.id()));
        }
        clock.advance(MINUTE / 6_000);
        most = most.max(store.len());
    }
    // 4,000 live at a time, and the garbage.
    assert!(most <= 4_000 * 115 / 100, "{most} were stored");
    let held = HELD.get() - empty;
    assert!(held <= most as i64 * BYTES_PER_SESSION + SLACK, "{held} bytes for {most}");
}
