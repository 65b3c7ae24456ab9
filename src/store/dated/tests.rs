//! What an end of its own means for a session, by a clock that stands still.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::builder::Builder;
use crate::clock::ManualClock;
use crate::ends::Cause;
use crate::error::CreateError;
use crate::store::{Expiry, SessionStore};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

fn store(settings: impl FnOnce(Builder<u64>) -> Builder<u64>) -> (SessionStore<u64>, ManualClock) {
    let clock = ManualClock::new();
    let builder = settings(SessionStore::builder().clock(clock.clone()).shards(2));
    (builder.build().unwrap(), clock)
}

fn after(lifetime: Duration) -> Expiry {
    Expiry::After(lifetime)
}

#[test]
fn own_end_counts_from_the_commit_and_not_from_use() {
    let (store, clock) = store(|builder| builder.idle_timeout(MINUTE));
    let session = store.create_dated(7, after(HOUR)).unwrap();
    clock.advance(HOUR - SECOND);
    assert_eq!(*store.load(session.id()).unwrap(), 7, "the idle timeout does not apply");
    clock.advance(SECOND);
    assert!(store.load(session.id()).is_none(), "and use moves nothing");
}

#[test]
fn own_end_stays_within_the_absolute_lifetime() {
    let (store, clock) = store(|builder| builder.ttl(HOUR));
    let session = store.create_dated(1, after(5 * HOUR)).unwrap();
    assert_eq!(store.expires_in(session.id()), Some(HOUR));
    clock.advance(MINUTE);
    assert_eq!(store.replace(session.id(), 2, after(5 * HOUR)), Ok(true));
    assert_eq!(store.expires_in(session.id()), Some(HOUR - MINUTE));
    assert_eq!(store.replace(session.id(), 3, Expiry::Never), Ok(true));
    assert_eq!(store.expires_in(session.id()), Some(HOUR - MINUTE));
    assert!(store.prolong(session.id(), 5 * HOUR));
    assert_eq!(store.expires_in(session.id()), Some(HOUR - MINUTE));
}

#[test]
fn replacing_sets_data_and_end_to_earlier_and_to_later() {
    let (store, _clock) = store(|builder| builder);
    let session = store.create_dated(1, after(HOUR)).unwrap();
    for (data, lifetime) in [(2, MINUTE), (3, 2 * HOUR)] {
        assert_eq!(store.replace(session.id(), data, after(lifetime)), Ok(true));
        assert_eq!(*store.peek(session.id()).unwrap(), data);
        assert_eq!(store.expires_in(session.id()), Some(lifetime));
    }
    assert_eq!(store.replace(session.id(), 4, Expiry::Never), Ok(true));
    assert_eq!(store.expires_in(session.id()), Some(Duration::MAX));
    assert_eq!(store.stats().saved, 3);
}

#[test]
fn replacing_with_no_time_left_ends_the_session() {
    let (store, _clock) = store(|builder| builder);
    let session = store.create_dated(1, after(HOUR)).unwrap();
    assert_eq!(store.replace(session.id(), 2, after(Duration::ZERO)), Ok(true));
    assert!(!store.contains(session.id()));
    assert_eq!(store.replace(session.id(), 3, after(HOUR)), Ok(false), "and that is final");
    assert!(!store.prolong(session.id(), HOUR));
    store.purge_expired();
    assert_eq!((store.len(), store.stats().expired), (0, 1));
}

#[test]
fn replacing_never_creates_and_counts_what_it_refused() {
    let (store, clock) = store(|builder| builder);
    let dead = store.create_dated(1, after(HOUR)).unwrap();
    let expired = store.create_dated(1, after(MINUTE)).unwrap();
    store.destroy(dead.id());
    clock.advance(MINUTE);
    for id in [dead.id(), expired.id()] {
        assert_eq!(store.replace(id, 2, after(HOUR)), Ok(false));
        assert!(store.load(id).is_none());
    }
    assert_eq!(store.replace("no such session", 2, after(HOUR)), Ok(false));
    assert_eq!(store.replace("AAAAAAAAAAAAAAAAAAAAAA", 2, after(HOUR)), Ok(false));
    assert_eq!(store.stats().saves_refused, 4);
}

#[test]
fn callers_id_finds_its_session_and_is_given_once() {
    let (store, _clock) = store(|builder| builder);
    store.create_dated_as("a caller's own", 1, after(HOUR)).unwrap();
    assert_eq!(*store.load("a caller's own").unwrap(), 1);
    assert_eq!(store.expires_in("a caller's own"), Some(HOUR));
    let taken = store.create_dated_as("a caller's own", 2, after(HOUR)).unwrap_err();
    assert_eq!((taken.error, taken.value), (CreateError::Taken, 2));
    assert_eq!(*store.load("a caller's own").unwrap(), 1);
}

#[test]
fn prolonging_never_shortens_and_never_revives() {
    let (store, clock) = store(|builder| builder);
    let session = store.create_dated(1, after(HOUR)).unwrap();
    assert!(store.prolong(session.id(), MINUTE));
    assert_eq!(store.expires_in(session.id()), Some(HOUR));
    assert!(store.prolong(session.id(), 2 * HOUR));
    assert_eq!(store.expires_in(session.id()), Some(2 * HOUR));
    clock.advance(2 * HOUR);
    assert!(!store.prolong(session.id(), HOUR) && !store.contains(session.id()));
}

#[test]
fn date_is_asked_only_when_the_end_is_near_and_is_final() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&ends);
    let (store, clock) = store(|builder| {
        builder.on_end(move |end| heard.lock().unwrap().push((end.cause, *end.data)))
    });
    let session = store.create_dated(7, after(MINUTE)).unwrap();
    let far =
        store.load_dated(session.id(), |_| panic!("asked a minute before the end"), |data| *data);
    assert_eq!(far, Some(7));
    clock.advance(MINUTE - Duration::from_millis(1));
    assert!(store.load_dated(session.id(), |_| false, |_| ()).is_some());
    assert!(store.load_dated(session.id(), |data| *data == 7, |_| ()).is_none());
    assert!(!store.contains(session.id()), "what was once seen to be over is over");
    assert_eq!(*ends.lock().unwrap(), [(Cause::Expired, 7)]);
    assert_eq!((store.stats().loaded, store.stats().missed, store.len()), (2, 1, 0));
}

#[test]
fn end_is_near_from_fifty_milliseconds_on() {
    const NEAR: Duration = Duration::from_millis(50);
    const NANO: Duration = Duration::from_nanos(1);
    let (store, clock) = store(|builder| builder);
    let session = store.create_dated(7, after(MINUTE)).unwrap();
    clock.advance(MINUTE - NEAR - NANO);
    assert!(store.load_dated(session.id(), |_| true, |_| ()).is_some());
    clock.advance(NANO);
    assert!(store.load_dated(session.id(), |_| true, |_| ()).is_none());
}

#[test]
fn save_beats_a_date_that_was_over_before_it() {
    let (store, clock) = store(|builder| builder);
    let session = store.create_dated(1, after(MINUTE)).unwrap();
    clock.advance(MINUTE - Duration::from_millis(1));
    let save = |_: &u64| store.replace(session.id(), 2, after(HOUR)).unwrap();
    let seen = store.load_dated(session.id(), save, |data| *data);
    assert!(seen.is_none());
    assert_eq!(*store.load(session.id()).unwrap(), 2);
}

#[test]
fn store_without_settings_sweeps_what_has_an_end_of_its_own() {
    let (store, clock) = store(|builder| builder);
    for _ in 0..100 {
        store.create_dated(1, after(MINUTE)).unwrap();
    }
    clock.advance(HOUR);
    for _ in 0..1000 {
        clock.advance(SECOND);
        store.touch("AAAAAAAAAAAAAAAAAAAAAA");
    }
    assert_eq!((store.len(), store.stats().swept), (0, 100));
}

/// Runs the slices that are due, and says whether there were any.
fn is_swept(store: &SessionStore<u64>, clock: &ManualClock, after: Duration) -> bool {
    clock.advance(after);
    let now = store.inner.clock.now();
    let due = store.inner.sweep.is_due(now);
    (0..1000).for_each(|_| store.inner.tend(now));
    due
}

#[test]
fn each_way_to_an_end_of_its_own_sets_the_pace_of_the_sweep() {
    type Set = fn(&SessionStore<u64>);
    let ways: [(&str, Set); 3] = [
        ("create", |store| drop(store.create_dated(1, after(HOUR)).unwrap())),
        ("create as", |store| drop(store.create_dated_as("mine", 1, after(HOUR)).unwrap())),
        ("replace", |store| {
            assert_eq!(store.replace(store.create().id(), 1, after(HOUR)), Ok(true))
        }),
    ];
    for (name, set) in ways {
        let (store, clock) = store(|builder| builder);
        set(&store);
        assert!(is_swept(&store, &clock, Duration::ZERO), "{name}");
        // A session of a few seconds would have it swept by now.
        assert!(!is_swept(&store, &clock, SECOND - Duration::from_nanos(1)), "{name}");
        assert!(is_swept(&store, &clock, Duration::from_nanos(1)), "{name}");
    }
}

#[test]
fn each_operation_on_ends_of_their_own_drives_the_sweep_and_is_counted() {
    type Operation = fn(&SessionStore<u64>);
    let operations: [(&str, Operation); 3] = [
        ("load", |store| assert!(store.load_dated("no such session", |_| false, |_| ()).is_none())),
        ("replace", |store| {
            assert_eq!(store.replace("AAAAAAAAAAAAAAAAAAAAAA", 2, after(HOUR)), Ok(false))
        }),
        ("prolong", |store| assert!(!store.prolong("AAAAAAAAAAAAAAAAAAAAAA", HOUR))),
    ];
    for (name, operation) in operations {
        let (store, clock) = store(|builder| builder);
        (0..100).for_each(|_| drop(store.create_dated(1, after(MINUTE)).unwrap()));
        // Once foreign ids exist, those of others are looked for.
        drop(store.create_dated_as("mine", 1, after(MINUTE)).unwrap());
        clock.advance(HOUR);
        (0..1000).for_each(|_| {
            clock.advance(SECOND);
            operation(&store);
        });
        assert_eq!((store.len(), store.stats().swept), (0, 101), "{name}");
        let stats = store.stats();
        let counted = (stats.missed, stats.saves_refused);
        assert_eq!(
            counted,
            match name {
                "load" => (1000, 0),
                "replace" => (0, 1000),
                _ => (0, 0),
            }
        );
    }
    let (store, _clock) = store(|builder| builder);
    assert!(store.load_dated("no such session", |_| false, |_| ()).is_none());
    assert_eq!(store.stats().missed, 1);
}

#[test]
fn touch_does_not_slide_what_has_an_end_of_its_own_and_set_expiry_holds_through_commits() {
    let (store, clock) = store(|builder| builder.idle_timeout(HOUR));
    let session = store.create_dated(1, after(MINUTE)).unwrap();
    assert!(store.touch(session.id()));
    assert_eq!(store.expires_in(session.id()), Some(MINUTE));
    store.set_expiry(session.id(), 2 * MINUTE);
    assert_eq!(store.replace(session.id(), 2, after(HOUR)), Ok(true));
    clock.advance(2 * MINUTE);
    assert!(!store.contains(session.id()));
}

#[test]
fn replacing_gives_an_end_of_its_own_to_a_session_that_slid() {
    let (store, _clock) = store(|builder| builder.idle_timeout(HOUR));
    let session = store.create_with(1);
    assert_eq!(store.replace(session.id(), 2, after(MINUTE)), Ok(true));
    assert!(store.touch(session.id()));
    assert_eq!(store.expires_in(session.id()), Some(MINUTE));
}
