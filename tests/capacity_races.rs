//! The races for room, and all operations at once: the bound holds, and every end is heard once.

mod stress;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::{Builder, Cause, Expiry, ManualClock, OnFull, Session, SessionId, SessionStore};
use stress::{Heard, race, race2, rounds};

const MINUTE: Duration = Duration::from_secs(60);

fn builder() -> Builder<u64> {
    SessionStore::<u64>::builder().shards(2)
}

fn live_ids(store: &SessionStore<u64>) -> HashSet<SessionId> {
    let mut ids = HashSet::new();
    store.for_each(|id, _| assert!(ids.insert(*id), "seen twice"));
    ids
}

/// Counts how many of its kind there are, and the most there ever were.
struct Counted(Arc<(AtomicUsize, AtomicUsize)>);

impl Counted {
    fn new(counts: &Arc<(AtomicUsize, AtomicUsize)>) -> Self {
        let alive = counts.0.fetch_add(1, Ordering::SeqCst) + 1;
        counts.1.fetch_max(alive, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn bound_is_never_exceeded_whatever_races_for_the_last_slot() {
    let (max, threads, each) = (8, 4, rounds(5_000));
    for on_full in [OnFull::Evict, OnFull::Refuse] {
        let counts = Arc::default();
        let store = SessionStore::<Counted>::builder().shards(2).max_sessions(max);
        let store = store.on_full(on_full).build().unwrap();
        let (theirs, counted) = (store.clone(), Arc::clone(&counts));
        race(threads, move |_| {
            for n in 0..each {
                let session = theirs.create_with(Counted::new(&counted));
                assert!(theirs.len() <= max);
                if n % 3 == 0 {
                    theirs.destroy(session.id());
                }
            }
        });
        let mut stored = 0;
        store.for_each(|_, _| stored += 1);
        assert_eq!(store.len(), stored);
        // Beyond the stored ones: for each thread the new value, and the one it made room with.
        assert!(counts.1.load(Ordering::SeqCst) <= max + 2 * threads);
        assert_eq!(counts.0.load(Ordering::SeqCst), stored);
        // No slot was lost: the store fills up again.
        for _ in 0..max {
            store.create_with(Counted::new(&counts));
        }
        assert_eq!((store.len(), counts.0.load(Ordering::SeqCst)), (max, max));
    }
}

#[test]
fn one_slot_that_is_left_goes_to_one_of_many() {
    for _ in 0..rounds(1_000) {
        let store = builder().max_sessions(3).on_full(OnFull::Refuse).build().unwrap();
        store.create_with(1);
        store.create_with(2);
        let theirs = store.clone();
        let won = race(4, move |_| theirs.try_create().is_ok());
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        assert_eq!((store.len(), live_ids(&store).len()), (3, 3));
    }
}

#[test]
fn session_touched_before_it_could_be_evicted_stays() {
    for _ in 0..rounds(3_000) {
        let clock = ManualClock::new();
        let store = builder().idle_timeout(MINUTE).max_sessions(2).clock(clock.clone());
        let store = store.build().unwrap();
        let oldest = *store.create_with(1).id();
        clock.advance(MINUTE / 4);
        let newer = *store.create_with(2).id();
        clock.advance(MINUTE / 4);
        let (ours, theirs) = (store.clone(), store.clone());
        let (touched, third) =
            race2(move || ours.touch(&oldest), move || *theirs.try_create_with(3).unwrap().id());
        // Touched, it is the last to expire; untouched, the first.
        let stays = if touched { oldest } else { newer };
        assert_eq!(live_ids(&store), HashSet::from([stays, third]));
        assert_eq!(store.len(), 2);
    }
}

#[test]
fn session_saved_while_room_is_made_is_kept_or_gone_but_never_half() {
    for _ in 0..rounds(2_000) {
        let heard = Heard::default();
        let store = builder().max_sessions(1).on_end(heard.listener()).build().unwrap();
        let mut session = store.create_with(1);
        let id = *session.id();
        *session = 2;
        let (ours, theirs) = (store.clone(), store.clone());
        let (saved, other) =
            race2(move || ours.save(&session), move || *theirs.create_with(3).id());
        assert_eq!(live_ids(&store), HashSet::from([other]));
        assert_eq!(heard.of(&id), [(Cause::Evicted, if saved { 2 } else { 1 })]);
    }
}

#[test]
fn clear_ends_what_was_there_and_what_it_meets_exactly_once() {
    for _ in 0..rounds(300) {
        let heard = Heard::default();
        let store = builder().on_end(heard.listener()).build().unwrap();
        let before: Vec<_> = (0..16).map(|n| *store.create_with(n).id()).collect();
        let (ours, theirs) = (store.clone(), store.clone());
        let (created, ()) = race2(
            move || (0..32).map(|n| *ours.create_with(n).id()).collect::<Vec<_>>(),
            move || theirs.clear(),
        );
        let live = live_ids(&store);
        assert_eq!(store.len(), live.len());
        heard.each_once();
        for id in &before {
            assert_eq!(heard.of(id).len(), 1);
        }
        for id in &created {
            assert_eq!(heard.of(id).is_empty(), live.contains(id));
        }
    }
}

#[test]
fn walk_sees_every_session_that_stays_once_while_others_come_and_go() {
    let store = builder().build().unwrap();
    let staying: HashSet<_> = (0..500).map(|n| *store.create_with(n).id()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (ours, theirs, stopped) = (store.clone(), store.clone(), Arc::clone(&stop));
    race2(
        move || {
            // Grows the tables and, by the purge, shrinks them, so that entries move.
            while !stopped.load(Ordering::SeqCst) {
                let ids: Vec<_> = (0..4_000).map(|n| *ours.create_with(n).id()).collect();
                ids.iter().for_each(|id| assert!(ours.destroy(id)));
                ours.purge_expired();
            }
        },
        move || {
            for _ in 0..rounds(30) {
                let seen = live_ids(&theirs);
                assert!(staying.is_subset(&seen));
            }
            stop.store(true, Ordering::SeqCst);
        },
    );
    assert_eq!(store.len(), 500);
}

/// One thread's share of everything at once, on a few sessions that all threads know.
fn do_everything(
    store: &SessionStore<u64>,
    known: &Mutex<Vec<Session<u64>>>,
    clock: &ManualClock,
    me: usize,
) -> Vec<SessionId> {
    let mut made = Vec::new();
    for n in 0..rounds(4_000) {
        let pick = n.wrapping_mul(31).wrapping_add(me * 7);
        let mut session = known.lock().unwrap()[pick % 8].clone();
        match pick % 11 {
            0 | 1 => {
                let fresh = store.create_with(n as u64);
                made.push(*fresh.id());
                known.lock().unwrap()[n % 8] = fresh;
            }
            2 => drop(store.destroy(session.id())),
            3 => {
                if store.rotate(&mut session) {
                    made.push(*session.id());
                    known.lock().unwrap()[n % 8] = session;
                }
            }
            4 => drop(store.save(&session)),
            5 => drop(store.try_save(&mut session)),
            6 => drop(store.update(session.id(), |value| *value += 1)),
            7 => drop(store.touch(session.id())),
            8 => clock.advance(Duration::from_secs(1)),
            9 if n % 100 == 0 => store.clear(),
            9 if n % 50 == 0 => drop(store.purge_expired()),
            9 if n % 20 == 0 => drop(store.retain(|_, value| value % 5 != 0)),
            _ => drop(store.load(session.id())),
        }
    }
    made
}

#[test]
fn every_session_ends_exactly_once_when_everything_happens_at_once() {
    let (clock, heard) = (ManualClock::new(), Heard::default());
    let store = builder().max_sessions(12).ttl(5 * MINUTE).idle_timeout(MINUTE);
    let store = store.clock(clock.clone()).on_end(heard.listener()).build().unwrap();
    let first: Vec<_> = (0..8).map(|n| store.create_with(n)).collect();
    let mut all: HashSet<_> = first.iter().map(|session| *session.id()).collect();
    let (theirs, known) = (store.clone(), Mutex::new(first));
    for made in race(4, move |me| do_everything(&theirs, &known, &clock, me)) {
        all.extend(made);
    }
    let live = live_ids(&store);
    assert!(live.len() <= store.len() && store.len() <= 12);
    assert!(live.iter().all(|id| heard.of(id).is_empty()));
    store.clear();
    assert_eq!(store.len(), 0);
    heard.each_once();
    assert_eq!(heard.ids().into_iter().collect::<HashSet<_>>(), all);
    let stats = store.stats();
    assert_eq!(stats.created + stats.rotated, all.len() as u64);
    let ended = stats.destroyed + stats.expired + stats.evicted + stats.rotated + stats.cleared;
    assert_eq!(ended, all.len() as u64);
}

/// Another thread may be the one that takes it out of the table.
#[test]
fn room_of_a_session_is_free_when_its_destroy_returns() {
    for (on_full, weighs) in [
        (OnFull::Refuse, false),
        (OnFull::Evict, false),
        (OnFull::Refuse, true),
        (OnFull::Evict, true),
    ] {
        let clock = ManualClock::new();
        let store = builder().on_full(on_full).ttl(1_000_000 * MINUTE);
        let store = if weighs { store.max_bytes(20, |_| 10) } else { store.max_sessions(2) };
        let store = store.clock(clock.clone()).build().unwrap();
        let keep = *store.create_with(7).id();
        store.set_expiry(&keep, Expiry::Never);
        let done = Arc::new(AtomicBool::new(false));
        race(4, {
            let store = store.clone();
            move |me| {
                if me == 0 {
                    for _ in 0..rounds(20_000) {
                        let session = store.try_create_with(1).expect("there is room");
                        assert!(store.destroy(session.id()));
                        let left = if weighs { 10 } else { 0 };
                        assert_eq!((store.len(), store.stats().bytes), (1, left));
                    }
                    done.store(true, Ordering::SeqCst);
                }
                // Keeps a slice due, and the shards in use.
                while !done.load(Ordering::SeqCst) {
                    clock.advance(MINUTE);
                    store.update(&keep, |data| *data += 1);
                }
            }
        });
        assert!(store.contains(&keep), "it has made room, and need not have");
    }
}

/// Another thread's slice may be what takes it out of the table.
#[test]
fn bytes_of_what_has_expired_are_free_when_a_purge_returns() {
    for on_full in [OnFull::Refuse, OnFull::Evict] {
        let clock = ManualClock::new();
        let store = builder().on_full(on_full).ttl(1_000_000 * MINUTE).max_bytes(101, |_| 1);
        let store = store.clock(clock.clone()).build().unwrap();
        let keep = *store.create_with(7).id();
        store.set_expiry(&keep, Expiry::Never);
        let done = Arc::new(AtomicBool::new(false));
        race(6, {
            let store = store.clone();
            move |me| {
                if me == 0 {
                    for _ in 0..rounds(200) {
                        for _ in 0..100 {
                            let session = store.try_create_with(1).expect("there is room");
                            store.set_expiry(session.id(), MINUTE);
                        }
                        clock.advance(MINUTE);
                        store.purge_expired();
                        assert_eq!((store.len(), store.stats().bytes), (1, 1));
                    }
                    done.store(true, Ordering::SeqCst);
                }
                // Each load runs a slice that is due.
                while !done.load(Ordering::SeqCst) {
                    store.load(&keep);
                }
            }
        });
        assert!(store.contains(&keep), "it has made room, and need not have");
    }
}

/// A guest that is touched is spared, and another one comes up: as many as one session may need.
#[test]
fn session_that_needs_much_is_not_refused_because_guests_are_used_meanwhile() {
    for _ in 0..rounds(5) {
        let clock = ManualClock::new();
        let builder = SessionStore::<u64>::builder().max_bytes(20_000, |data| *data as usize);
        let store = builder.idle_timeout(MINUTE).clock(clock.clone()).build().unwrap();
        let ids: Arc<[_]> = (0..20_000).map(|_| *store.create_with(1).id()).collect();
        let made = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&made);
        let results = race(3, move |me| {
            if me == 0 {
                let result = store.try_create_with(19_000).map(|large| *large);
                stops.store(true, Ordering::SeqCst);
                return Some(result.map_err(|rejected| rejected.error));
            }
            for (n, id) in ids.iter().cycle().enumerate() {
                store.touch(id);
                if n % 64 == me {
                    clock.advance(Duration::from_nanos(1));
                }
                if stops.load(Ordering::SeqCst) {
                    break;
                }
            }
            None
        });
        assert_eq!(results[0], Some(Ok(19_000)));
        assert!(made.load(Ordering::SeqCst));
    }
}
