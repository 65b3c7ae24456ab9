//! Panics in user code: the value stays as it was, no slot is lost, and the store goes on.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use cloakroom::{Cause, ManualClock, Session, SessionStore};

const MINUTE: Duration = Duration::from_secs(60);
const MAX: usize = 40;

type Store = SessionStore<Fragile>;
type Operation = fn(&Store, &ManualClock, Session<Fragile>);

/// The payload of every panic that a test wants.
struct Planned;

/// Panics as planned, without a report on the screen.
fn explode() -> ! {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Planned>() && !info.payload().is::<Worse>() {
                report(info);
            }
        }));
    });
    panic_any(Planned)
}

fn catch<R>(user: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(user))
}

/// Asserts that something panicked, and as planned.
fn planned<R>(user: impl FnOnce() -> R) {
    let Err(payload) = catch(user) else { panic!("it did not panic") };
    assert!(payload.is::<Planned>());
}

/// Which hook of a value panics: every time, until it is disarmed.
#[derive(Default)]
struct Fuse {
    clone: AtomicBool,
    drop: AtomicBool,
    listener: AtomicBool,
}

impl Fuse {
    fn check(&self, flag: &AtomicBool) {
        if flag.load(Ordering::SeqCst) && !std::thread::panicking() {
            explode();
        }
    }

    fn disarm(&self) {
        for flag in [&self.clone, &self.drop, &self.listener] {
            flag.store(false, Ordering::SeqCst);
        }
    }
}

struct Fragile {
    number: u64,
    fuse: Arc<Fuse>,
}

impl Fragile {
    fn new(number: u64) -> Self {
        Self { number, fuse: Arc::default() }
    }
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        self.fuse.check(&self.fuse.clone);
        Self { number: self.number, fuse: Arc::clone(&self.fuse) }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.fuse.check(&self.fuse.drop);
    }
}

/// A store with two sessions: 1, whose hooks may be armed, and 2.
struct Case {
    store: Store,
    clock: ManualClock,
    fuse: Arc<Fuse>,
    heard: Arc<AtomicUsize>,
}

impl Case {
    fn new() -> Self {
        let (clock, heard) = (ManualClock::new(), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&heard);
        let store = Store::builder().shards(2).max_sessions(MAX).idle_timeout(MINUTE);
        let store = store.clock(clock.clone()).on_end(move |end| {
            counter.fetch_add(1, Ordering::SeqCst);
            end.data.fuse.check(&end.data.fuse.listener);
        });
        let store = store.build().unwrap();
        let first = store.try_create_with_id("first", Fragile::new(1)).unwrap();
        let fuse = Arc::clone(&first.fuse);
        clock.advance(Duration::from_secs(1));
        store.try_create_with_id("second", Fragile::new(2)).unwrap();
        Self { store, clock, fuse, heard }
    }

    fn first(&self) -> Session<Fragile> {
        self.store.load("first").unwrap()
    }

    /// Asserts that nothing has changed and that the store goes on working.
    fn unharmed(&self) {
        self.fuse.disarm();
        assert_eq!(self.store.peek("first").unwrap().number, 1);
        assert_eq!(self.store.peek("second").unwrap().number, 2);
        assert_eq!(self.store.len(), 2);
        assert_eq!(self.store.stats().panics, 0);
        self.goes_on();
    }

    /// Runs 1,000 operations and more, on both shards, and counts what is stored.
    fn goes_on(&self) {
        self.fuse.disarm();
        let store = &self.store;
        for number in 0..200 {
            let mut session = store.try_create_with(Fragile::new(number)).unwrap();
            session.number += 1;
            assert!(store.save(&session));
            assert!(store.update(session.id(), |value| value.number += 1).is_some());
            assert_eq!(store.load(session.id()).unwrap().number, number + 2);
            assert!(store.touch(session.id()) && store.rotate(&mut session));
            assert!(store.destroy(session.id()));
        }
        // Neither fewer slots than the bound nor more.
        for number in 0..2 * MAX as u64 {
            store.try_create_with(Fragile::new(number)).unwrap();
        }
        assert_eq!((store.len(), counted(store)), (MAX, MAX));
        store.clear();
        assert_eq!((store.len(), counted(store)), (0, 0));
    }
}

fn counted(store: &Store) -> usize {
    let mut count = 0;
    store.for_each(|_, _| count += 1);
    count
}

#[test]
fn panic_in_an_update_closure_changes_nothing() {
    let case = Case::new();
    planned(|| {
        case.store.update("first", |value| {
            value.number = 99;
            explode()
        })
    });
    case.unharmed();
}

#[test]
fn panic_in_clone_changes_nothing() {
    let operations: [(&str, Operation); 4] = [
        ("update", |store, _, _| {
            assert!(store.update("first", |value| value.number = 99).is_some())
        }),
        ("save", |store, _, session| assert!(store.save(&session))),
        ("try_save", |store, _, mut session| store.try_save(&mut session).unwrap()),
        ("deref_mut", |_, _, mut session| session.number = 99),
    ];
    for (name, operation) in operations {
        let case = Case::new();
        let session = case.first();
        case.fuse.clone.store(true, Ordering::SeqCst);
        let result = catch(|| operation(&case.store, &case.clock, session.clone()));
        assert!(result.is_err(), "{name} did not clone");
        assert_eq!(session.number, 1);
        case.unharmed();
    }
}

#[test]
fn handle_whose_first_change_panicked_can_be_changed_and_saved_later() {
    let case = Case::new();
    let mut session = case.first();
    case.fuse.clone.store(true, Ordering::SeqCst);
    planned(|| session.number = 99);
    assert_eq!(session.number, 1);
    case.fuse.disarm();
    session.number = 5;
    case.store.try_save(&mut session).unwrap();
    assert_eq!(case.first().number, 5);
}

#[test]
fn handle_whose_later_change_panicked_keeps_what_it_saved() {
    let case = Case::new();
    let mut session = case.first();
    for number in [10, 11] {
        session.number = number;
        case.store.try_save(&mut session).unwrap();
    }
    case.fuse.clone.store(true, Ordering::SeqCst);
    planned(|| session.number = 12);
    assert_eq!(session.number, 11);
    case.fuse.disarm();
    session.number = 13;
    case.store.try_save(&mut session).unwrap();
    assert_eq!(case.first().number, 13);
}

#[test]
fn panic_in_a_walk_leaves_what_was_not_yet_ended() {
    let case = Case::new();
    planned(|| case.store.for_each(|_, _| explode()));
    planned(|| case.store.retain(|_, _| explode()));
    assert_eq!(case.heard.load(Ordering::SeqCst), 0);
    case.unharmed();

    let case = Case::new();
    let mut asked = 0;
    planned(|| {
        case.store.retain(|_, _| {
            asked += 1;
            if asked == 2 { explode() } else { false }
        })
    });
    assert_eq!((case.store.len(), counted(&case.store)), (1, 1));
    assert_eq!(case.heard.load(Ordering::SeqCst), 1);
    case.goes_on();
}

/// A value whose `Default` panics.
struct Unmade;

impl Default for Unmade {
    fn default() -> Self {
        explode()
    }
}

#[test]
fn panic_in_default_stores_nothing_and_takes_no_slot() {
    let store = SessionStore::<Unmade>::builder().shards(2).max_sessions(1).build().unwrap();
    for _ in 0..3 {
        planned(|| store.create());
        planned(|| store.try_create());
        planned(|| store.create_with_id(String::from("mine")));
    }
    assert_eq!((store.len(), store.stats().created), (0, 0));
    store.try_create_with_id("mine", Unmade).unwrap();
    assert!(store.contains("mine"));
    assert_eq!((store.len(), store.stats().evicted), (1, 0));
}

/// Every way a session ends, with the cause.
const ENDS: &[(&str, Cause, Operation)] = &[
    ("destroy", Cause::Destroyed, |store, _, session| {
        drop(session);
        assert!(store.destroy("first"));
    }),
    ("retain", Cause::Destroyed, |store, _, session| {
        drop(session);
        assert_eq!(store.retain(|_, value| value.number != 1), 1);
    }),
    ("clear", Cause::Cleared, |store, _, session| {
        drop(session);
        store.clear();
        assert_eq!(store.len(), 0);
    }),
    ("purge", Cause::Expired, |store, clock, session| {
        drop(session);
        clock.advance(MINUTE - Duration::from_secs(1));
        assert!(store.touch("second"));
        clock.advance(Duration::from_secs(1));
        store.purge_expired();
    }),
    ("sweep by a load", Cause::Expired, |store, clock, session| {
        drop(session);
        clock.advance(MINUTE - Duration::from_secs(1));
        for _ in 0..8 {
            clock.advance(Duration::from_secs(4));
            assert!(store.load("second").is_some() || clock.elapsed() > MINUTE);
        }
    }),
    ("create on a dead id", Cause::Expired, |store, clock, session| {
        drop(session);
        clock.advance(MINUTE);
        store.try_create_with_id("first", Fragile::new(3)).unwrap();
    }),
    ("eviction", Cause::Evicted, |store, _, session| {
        drop(session);
        // So many that the sample has met it.
        (0..50 * MAX as u64).for_each(|n| drop(store.try_create_with(Fragile::new(n)).unwrap()));
    }),
];

/// Runs each end with some hooks armed, and expects so many panics to be contained.
fn each_end_contains(listener: bool, drop: bool, panics: u64) {
    for (name, cause, end) in ENDS {
        let case = Case::new();
        let session = case.first();
        case.fuse.listener.store(listener, Ordering::SeqCst);
        case.fuse.drop.store(drop, Ordering::SeqCst);
        assert!(catch(|| end(&case.store, &case.clock, session)).is_ok(), "{name} let it out");
        let stats = case.store.stats();
        assert_eq!(stats.panics, panics, "{name}");
        let ended = match cause {
            Cause::Destroyed => stats.destroyed,
            Cause::Cleared => stats.cleared,
            Cause::Expired => stats.expired,
            _ => stats.evicted,
        };
        assert!(ended >= 1, "{name}");
        assert_eq!(counted(&case.store), stats.live as usize, "{name}");
        case.goes_on();
    }
}

#[test]
fn panic_in_the_listener_is_contained_and_counted_whatever_ended_the_session() {
    each_end_contains(true, false, 1);
}

#[test]
fn panic_in_drop_is_contained_and_counted_whatever_ended_the_session() {
    each_end_contains(false, true, 1);
}

#[test]
fn panics_in_listener_and_drop_of_one_session_are_both_contained() {
    each_end_contains(true, true, 2);
}

#[test]
fn rotation_is_complete_although_the_listener_panicked() {
    let case = Case::new();
    let mut session = case.first();
    case.fuse.listener.store(true, Ordering::SeqCst);
    assert!(case.store.rotate(&mut session));
    assert_eq!(case.store.stats().panics, 1);
    assert!(!case.store.contains("first"));
    assert_eq!(case.store.peek(session.id()).unwrap().number, 1);
    assert_eq!((case.store.len(), counted(&case.store)), (2, 2));
    case.goes_on();
}

#[test]
fn commit_is_complete_although_the_drop_of_the_old_value_panicked() {
    let commits: [(&str, Operation); 3] = [
        ("save", |store, _, session| {
            drop(session);
            // A handle of the same id that holds nothing of the old value.
            let elsewhere = Store::builder().build().unwrap();
            let other = elsewhere.try_create_with_id("first", Fragile::new(7)).unwrap();
            assert!(store.save(&other));
        }),
        ("try_save", |store, _, mut session| {
            store.try_save(&mut session).unwrap();
            assert_eq!(session.number, 7);
        }),
        ("update", |store, _, session| {
            drop(session);
            assert!(store.update("first", |value| value.number = 7).is_some());
        }),
    ];
    for (name, commit) in commits {
        let case = Case::new();
        let mut session = case.first();
        if name == "try_save" {
            *session = Fragile::new(7);
        }
        case.fuse.drop.store(true, Ordering::SeqCst);
        assert!(catch(|| commit(&case.store, &case.clock, session)).is_ok(), "{name} let it out");
        assert_eq!(case.store.stats().panics, 1, "{name}");
        case.fuse.disarm();
        assert_eq!(case.first().number, 7, "{name}");
        assert_eq!((case.store.len(), counted(&case.store)), (2, 2));
        case.goes_on();
    }
}

/// The versions that a handle still holds are dropped where a panic is caught.
#[test]
fn commit_is_complete_although_the_drop_of_an_older_version_panicked() {
    let case = Case::new();
    let mut session = case.first();
    assert!(case.store.save(&session));
    // From now on nobody but the handle holds what it loaded and what it saved.
    assert!(case.store.update("first", |value| value.number = 7).is_some());
    case.fuse.drop.store(true, Ordering::SeqCst);
    assert!(catch(|| assert!(case.store.save(&session))).is_ok(), "save let it out");
    assert_eq!(case.store.stats().panics, 2, "its first copy, the update's");
    assert!(catch(|| case.store.try_save(&mut session).unwrap()).is_ok(), "try_save let it out");
    assert_eq!(case.store.stats().panics, 4, "what was loaded, its second copy");
    case.fuse.disarm();
    assert_eq!(case.first().number, 1);
    case.goes_on();
}

/// A payload that panics once more when it is dropped.
struct Worse;

impl Drop for Worse {
    fn drop(&mut self) {
        panic_any(Planned);
    }
}

/// A payload whose panic has a payload that panics in turn.
struct Worst;

impl Drop for Worst {
    fn drop(&mut self) {
        panic_any(Worse);
    }
}

#[test]
fn payload_of_a_payload_that_panics_is_let_go_of_unseen() {
    let store = SessionStore::<u64>::builder().shards(2).on_end(|_| panic_any(Worst));
    let store = store.build().unwrap();
    let session = store.create();
    assert!(catch(|| store.destroy(session.id())).is_ok_and(|destroyed| destroyed));
    assert_eq!((store.len(), store.stats().panics), (0, 1));
}

#[test]
fn payload_that_panics_when_dropped_is_contained_too() {
    let store = SessionStore::<u64>::builder().shards(2).on_end(|_| panic_any(Worse));
    let store = store.build().unwrap();
    let session = store.create();
    assert!(catch(|| store.destroy(session.id())).unwrap());
    assert_eq!((store.len(), store.stats().panics), (0, 1));
    store.create();
    store.clear();
    assert_eq!((store.len(), store.stats().panics), (0, 2));
}

#[test]
fn many_panics_in_one_batch_end_every_session_of_it() {
    let store = SessionStore::<u64>::builder().shards(2).on_end(|_| explode()).build().unwrap();
    (0..1_000).for_each(|n| drop(store.create_with(n)));
    store.clear();
    assert_eq!((store.len(), store.stats().panics, store.stats().cleared), (0, 1_000, 1_000));
}
