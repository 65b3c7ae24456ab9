//! Time at its edges: no lifetime, an enormous one, a clock that jumps and one that stands still.

use std::time::Duration;

use cloakroom::{Clock, Expiry, MAX_LIFETIME, ManualClock, SessionId, SessionStore};
use proptest::prelude::*;

const NANO: Duration = Duration::from_nanos(1);
const CENTURY: Duration = MAX_LIFETIME;

fn store(ttl: Duration) -> (ManualClock, SessionStore<u32>) {
    let clock = ManualClock::new();
    let store = SessionStore::builder().ttl(ttl).clock(clock.clone()).build().unwrap();
    (clock, store)
}

#[test]
fn ttl_0_makes_a_store_in_which_nothing_lives() {
    let store = SessionStore::new(0);
    for n in 0..1000 {
        let mut s = store.create();
        s.set("n", n.to_string());
        assert!(!store.save(&s));
        assert!(store.try_save(&mut s).is_err() && !store.rotate(&mut s));
        assert!(store.load(s.id()).is_none() && !store.contains(s.id()));
        assert!(!store.touch(s.id()) && store.expires_in(s.id()).is_none());
        assert!(!store.set_expiry(s.id(), Expiry::Never) && !store.destroy(s.id()));
    }
    assert_eq!(store.stats().live, 0);
    assert!(store.len() < 1000, "what is dead at once is swept as well");
    store.purge_expired();
    assert!(store.is_empty());
}

#[test]
fn enormous_lifetimes_are_cut_to_the_documented_limit() {
    for ttl in [MAX_LIFETIME, MAX_LIFETIME + NANO, Duration::MAX] {
        let (clock, store) = store(ttl);
        let s = store.create();
        assert_eq!(store.expires_in(s.id()), Some(MAX_LIFETIME));
        assert!(store.set_expiry(s.id(), ttl));
        assert_eq!(store.expires_in(s.id()), Some(MAX_LIFETIME));
        clock.advance(MAX_LIFETIME - NANO);
        assert!(store.contains(s.id()));
        clock.advance(NANO);
        assert!(!store.contains(s.id()));
    }
    let store = SessionStore::new(u64::MAX);
    assert_eq!(*store.load(store.create().id()).unwrap(), cloakroom::Attributes::new());
}

#[test]
fn lifetime_that_reaches_beyond_the_last_moment_is_not_cut_short_to_nothing() {
    let (clock, store) = store(CENTURY);
    clock.advance(CENTURY * 5);
    let s = store.create();
    // A clock of nanoseconds in 64 bits ends after 584 years: 84 are left.
    let left = store.expires_in(s.id()).unwrap();
    assert!(left > CENTURY / 5 * 4 && left < CENTURY, "{left:?}");
    assert!(store.touch(s.id()) && store.save(&s));
    clock.advance(left - NANO);
    assert!(store.contains(s.id()));
    clock.advance(NANO);
    assert!(!store.contains(s.id()));
}

fn seconds() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        0..4_000_000_000_u64,
        Just(u64::MAX),
        // Where seconds as nanoseconds leave 64 bits.
        (u64::MAX / 1_000_000_000 - 2)..(u64::MAX / 1_000_000_000 + 3),
        (0..64_u32).prop_map(|bits| 1 << bits),
    ]
}

fn durations() -> impl Strategy<Value = Duration> {
    (seconds(), 0..1_000_000_000_u32).prop_map(|(secs, nanos)| Duration::new(secs, nanos))
}

proptest! {
    #[test]
    fn no_number_of_seconds_panics_or_wraps_into_an_early_end(secs in seconds()) {
        let store = SessionStore::new(secs);
        let s = store.create();
        // On the real clock: a lifetime of a few seconds may end while this runs.
        if secs > 3600 || secs == 0 {
            prop_assert_eq!(store.load(s.id()).is_some(), secs > 0);
            prop_assert_eq!(store.save(&s), secs > 0);
        }
    }

    #[test]
    fn every_ttl_lasts_exactly_as_long_as_it_says(ttl in durations(), start in durations()) {
        prop_assume!(ttl > Duration::ZERO);
        let (clock, store) = store(ttl);
        // Leaves room for the longest lifetime before the clock's last moment.
        clock.advance(start.min(CENTURY * 4));
        let s = store.create();
        let lasts = ttl.min(MAX_LIFETIME);
        prop_assert_eq!(store.expires_in(s.id()), Some(lasts));
        clock.advance(lasts - NANO);
        prop_assert!(store.touch(s.id()));
        clock.advance(NANO);
        prop_assert!(!store.touch(s.id()));
    }

    #[test]
    fn every_idle_timeout_lasts_exactly_as_long_as_it_says(idle in durations(), uses in 1..4_u32) {
        prop_assume!(idle > Duration::ZERO);
        let clock = ManualClock::new();
        let builder = SessionStore::<u32>::builder().idle_timeout(idle).clock(clock.clone());
        let store = builder.build().unwrap();
        let s = store.create();
        let lasts = idle.min(MAX_LIFETIME);
        for _ in 0..uses {
            clock.advance(lasts - NANO);
            prop_assert!(store.load(s.id()).is_some());
            prop_assert_eq!(store.expires_in(s.id()), Some(lasts));
        }
        clock.advance(lasts);
        prop_assert!(store.load(s.id()).is_none());
    }

    #[test]
    fn every_own_expiry_lasts_exactly_as_long_as_it_says(own in durations()) {
        let (clock, store) = store(Duration::from_secs(60));
        let s = store.create();
        prop_assert!(store.set_expiry(s.id(), own));
        let lasts = own.min(MAX_LIFETIME);
        prop_assert_eq!(store.contains(s.id()), lasts > Duration::ZERO);
        clock.advance(lasts.saturating_sub(NANO));
        prop_assert_eq!(store.contains(s.id()), lasts > Duration::ZERO);
        clock.advance(NANO);
        prop_assert!(!store.contains(s.id()));
    }

    #[test]
    fn no_jump_revives_a_session_or_panics(jumps in prop::collection::vec(durations(), 1..8)) {
        let clock = ManualClock::new();
        let minute = Duration::from_secs(60);
        let builder = SessionStore::<u32>::builder().idle_timeout(minute).ttl(minute * 60);
        let store = builder.clock(clock.clone()).build().unwrap();
        let s = store.create();
        let mut dead = false;
        for jump in jumps {
            clock.advance(jump);
            dead |= jump >= minute;
            prop_assert_eq!(store.touch(s.id()), !dead);
        }
    }
}

#[test]
fn jumps_of_a_century_revive_nothing() {
    let (clock, store) = store(Duration::from_secs(60));
    let ids: Vec<SessionId> = (0..2000).map(|_| *store.create().id()).collect();
    for jump in 0..8 {
        clock.advance(CENTURY);
        assert!(ids.iter().all(|id| !store.touch(id) && store.load(id).is_none()));
        assert!(ids.iter().all(|id| store.update(id, |_| ()).is_none()));
        if jump == 0 {
            assert!(store.is_empty(), "so many operations have swept them all");
        }
    }
    assert_eq!(store.stats().live, 0);
}

#[test]
fn sessions_are_created_and_expire_after_each_jump() {
    let (clock, store) = store(Duration::from_secs(60));
    for _ in 0..5 {
        clock.advance(CENTURY);
        let s = store.create();
        assert!(store.touch(s.id()));
        clock.advance(Duration::from_secs(59));
        assert!(store.touch(s.id()));
        clock.advance(Duration::from_secs(1));
        assert!(!store.touch(s.id()));
    }
}

#[test]
fn nothing_is_live_at_the_clocks_last_moment_and_nothing_panics() {
    let (clock, store) = store(Duration::from_secs(60));
    let before = store.create();
    let for_ever = store.create();
    assert!(store.set_expiry(for_ever.id(), Expiry::Never));
    for _ in 0..3 {
        clock.advance(Duration::MAX);
    }
    assert!(!store.contains(before.id()));
    let after = store.create();
    assert!(!store.contains(after.id()) && !store.save(&after));
    assert!(store.contains(for_ever.id()) && store.touch(for_ever.id()));
    assert_eq!(store.expires_in(for_ever.id()), Some(Duration::MAX));
    assert_eq!(store.stats().live, 1);
}

#[test]
fn store_works_while_its_clock_stands_still() {
    let (clock, store) = store(NANO);
    let ids: Vec<SessionId> = (0..3000).map(|_| *store.create().id()).collect();
    for _ in 0..3 {
        for id in &ids {
            assert!(store.load(id).is_some() && store.update(id, |n| *n += 1).is_some());
        }
    }
    assert_eq!((store.len(), store.stats().swept), (3000, 0));
    for id in &ids[..1000] {
        assert!(store.destroy(id) && !store.contains(id));
    }
    assert_eq!(store.len(), 2000);
    clock.advance(NANO);
    assert!(ids.iter().all(|id| !store.contains(id)));
}

#[test]
fn clones_of_a_manual_clock_share_the_time() {
    let clock = ManualClock::default();
    let other = clock.clone();
    assert_eq!(clock.elapsed(), Duration::ZERO);
    other.advance(Duration::from_millis(1500));
    assert_eq!(clock.elapsed(), Duration::from_millis(1500));
    assert_eq!(format!("{clock:?}"), "ManualClock { elapsed: 1.5s }");
}

#[test]
fn session_that_is_only_loaded_expires_by_a_ticking_clock() {
    let clock = Clock::ticking().unwrap();
    let store = SessionStore::<u32>::builder().ttl(Duration::from_millis(20)).clock(clock);
    let store = store.build().unwrap();
    let session = store.create();
    // Ends when the clock's thread has moved on, and never without it.
    while store.load(session.id()).is_some() {
        std::thread::yield_now();
    }
    assert!(!store.contains(session.id()));
}
