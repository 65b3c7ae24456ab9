//! When a session is live and when it is not: ttl, idle timeout, both, and each session's own expiry.

use std::time::Duration;

use cloakroom::{Expiry, ManualClock, SessionId, SessionStore};

const NANO: Duration = Duration::from_nanos(1);
const TTL: Duration = Duration::from_secs(100);
const IDLE: Duration = Duration::from_secs(30);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

struct Setup {
    clock: ManualClock,
    store: SessionStore<u32>,
}

fn setup(ttl: Option<Duration>, idle: Option<Duration>) -> Setup {
    let clock = ManualClock::new();
    let mut builder = SessionStore::<u32>::builder().clock(clock.clone());
    if let Some(ttl) = ttl {
        builder = builder.ttl(ttl);
    }
    if let Some(idle) = idle {
        builder = builder.idle_timeout(idle);
    }
    Setup { clock, store: builder.build().unwrap() }
}

/// Asserts that no operation finds the session, and that none of them brings it back.
fn assert_dead(store: &SessionStore<u32>, id: &SessionId) {
    for _ in 0..2 {
        assert!(!store.contains(id));
        assert!(store.load(id).is_none());
        assert!(store.peek(id).is_none());
        assert!(!store.touch(id));
        assert_eq!(store.expires_in(id), None);
        assert_eq!(store.update(id, |_| ()), None);
        assert!(!store.set_expiry(id, secs(1000)));
        assert!(!store.set_expiry(id, Expiry::Never));
        assert!(!store.set_expiry(id, Expiry::Policy));
        assert!(!store.destroy(id));
        store.for_each(|seen, _| assert_ne!(seen, id));
    }
}

#[test]
fn ttl_ends_a_session_at_its_deadline_to_the_nanosecond() {
    let Setup { clock, store } = setup(Some(TTL), None);
    let s = store.create_with(1);
    assert_eq!(store.expires_in(s.id()), Some(TTL));
    clock.advance(TTL - NANO);
    assert_eq!(store.expires_in(s.id()), Some(NANO));
    assert!(store.load(s.id()).is_some());
    assert!(store.touch(s.id()) && store.contains(s.id()));
    clock.advance(NANO);
    assert_dead(&store, s.id());
}

#[test]
fn each_operation_alone_finds_a_session_dead_at_its_deadline() {
    type Ask = fn(&SessionStore<u32>, &mut cloakroom::Session<u32>) -> bool;
    let asks: [(&str, Ask); 11] = [
        ("load", |store, s| store.load(s.id()).is_some()),
        ("peek", |store, s| store.peek(s.id()).is_some()),
        ("contains", |store, s| store.contains(s.id())),
        ("touch", |store, s| store.touch(s.id())),
        ("expires_in", |store, s| store.expires_in(s.id()).is_some()),
        ("save", |store, s| store.save(s)),
        ("try_save", |store, s| store.try_save(s).is_ok()),
        ("update", |store, s| store.update(s.id(), |_| ()).is_some()),
        ("rotate", |store, s| store.rotate(s)),
        ("set_expiry", |store, s| store.set_expiry(s.id(), TTL)),
        ("destroy", |store, s| store.destroy(s.id())),
    ];
    for (name, ask) in asks {
        for (lifetime, live) in [(TTL, false), (TTL + NANO, true)] {
            // An own store each, so that no earlier question has marked the session.
            let Setup { clock, store } = setup(Some(lifetime), None);
            let mut s = store.create_with(1);
            clock.advance(TTL);
            assert_eq!(ask(&store, &mut s), live, "{name}");
        }
    }
}

#[test]
fn expired_session_is_invisible_before_sweep() {
    let Setup { clock, store } = setup(Some(TTL), None);
    let ids: Vec<SessionId> = (0..5000).map(|n| *store.create_with(n).id()).collect();
    clock.advance(TTL);
    assert!(store.load(&ids[0]).is_none());
    // One operation sweeps a few: the rest is still stored, and out of sight.
    assert!(store.len() > 4000);
    store.for_each(|_, _| panic!("an expired session was shown"));
    assert_eq!(store.retain(|_, _| panic!("an expired session was shown")), 0);
    assert!(ids.iter().all(|id| !store.contains(id)));
}

#[test]
fn no_activity_moves_an_absolute_deadline() {
    let Setup { clock, store } = setup(Some(TTL), None);
    let mut s = store.create_with(1);
    clock.advance(TTL - secs(1));
    assert!(store.load(s.id()).is_some() && store.touch(s.id()));
    *s = 2;
    assert!(store.try_save(&mut s).is_ok() && store.save(&s));
    assert!(store.update(s.id(), |_| ()).is_some());
    assert!(store.rotate(&mut s));
    assert_eq!(store.expires_in(s.id()), Some(secs(1)));
    clock.advance(secs(1));
    assert_dead(&store, s.id());
}

#[test]
fn each_kind_of_activity_slides_the_idle_deadline() {
    type Act = fn(&SessionStore<u32>, &mut cloakroom::Session<u32>) -> bool;
    let acts: [(&str, Act); 6] = [
        ("load", |store, s| store.load(s.id()).is_some()),
        ("touch", |store, s| store.touch(s.id())),
        ("save", |store, s| store.save(s)),
        ("try_save", |store, s| store.try_save(s).is_ok()),
        ("update", |store, s| store.update(s.id(), |_| ()).is_some()),
        ("rotate", |store, s| store.rotate(s)),
    ];
    for (name, act) in acts {
        let Setup { clock, store } = setup(None, Some(IDLE));
        let mut s = store.create_with(1);
        for _ in 0..10 {
            clock.advance(IDLE - NANO);
            assert!(act(&store, &mut s), "{name}");
            assert_eq!(store.expires_in(s.id()), Some(IDLE), "{name}");
        }
        clock.advance(IDLE);
        assert_dead(&store, s.id());
    }
}

#[test]
fn conflicting_save_is_no_activity() {
    let Setup { clock, store } = setup(None, Some(IDLE));
    let mut s = store.create_with(1);
    store.update(s.id(), |n| *n = 2);
    clock.advance(secs(10));
    *s = 3;
    assert!(store.try_save(&mut s).is_err());
    assert_eq!(store.expires_in(s.id()), Some(IDLE - secs(10)));
}

#[test]
fn looking_is_no_activity() {
    let Setup { clock, store } = setup(None, Some(IDLE));
    let s = store.create_with(1);
    for left in (1..30).rev() {
        clock.advance(secs(1));
        assert!(store.peek(s.id()).is_some() && store.contains(s.id()));
        drop(store.watch(s.id()).unwrap());
        store.for_each(|_, _| ());
        store.retain(|_, _| true);
        let _ = (store.stats(), store.purge_expired());
        assert_eq!(store.expires_in(s.id()), Some(secs(left)));
    }
    clock.advance(secs(1));
    assert_dead(&store, s.id());
}

#[test]
fn earlier_of_ttl_and_idle_timeout_counts() {
    let Setup { clock, store } = setup(Some(TTL), Some(IDLE));
    let s = store.create_with(1);
    assert_eq!(store.expires_in(s.id()), Some(IDLE));
    for at in [20, 40, 60, 80] {
        clock.advance(secs(20));
        assert!(store.touch(s.id()));
        assert_eq!(store.expires_in(s.id()), Some(IDLE.min(TTL - secs(at))));
    }
    clock.advance(secs(20) - NANO);
    assert!(store.load(s.id()).is_some());
    assert_eq!(store.expires_in(s.id()), Some(NANO));
    clock.advance(NANO);
    assert_dead(&store, s.id());

    let unused = store.create_with(2);
    clock.advance(IDLE);
    assert_dead(&store, unused.id());
}

#[test]
fn no_kind_of_activity_moves_a_session_beyond_its_absolute_limit() {
    let Setup { clock, store } = setup(Some(TTL), Some(IDLE));
    let mut s = store.create_with(1);
    for _ in 0..4 {
        clock.advance(secs(20));
        *s += 1;
        assert!(store.save(&s) && store.try_save(&mut s).is_ok());
        assert!(store.update(s.id(), |n| *n += 1).is_some() && store.rotate(&mut s));
        s = store.load(s.id()).unwrap();
    }
    assert_eq!(store.expires_in(s.id()), Some(TTL - secs(80)));
    clock.advance(TTL - secs(80));
    assert_dead(&store, s.id());
}

#[test]
fn touch_never_shortens_a_deadline() {
    let Setup { clock, store } = setup(None, Some(IDLE));
    let mut s = store.create_with(1);
    for expiry in [Expiry::After(secs(1000)), Expiry::Never] {
        assert!(store.set_expiry(s.id(), expiry));
        let before = store.expires_in(s.id());
        assert!(store.touch(s.id()) && store.load(s.id()).is_some() && store.save(&s));
        assert!(store.rotate(&mut s));
        assert_eq!(store.expires_in(s.id()), before);
    }
    clock.advance(secs(1_000_000));
    assert!(store.contains(s.id()));
}

#[test]
fn touch_does_not_shorten_a_limit_of_an_odd_number_of_nanoseconds() {
    let odd = IDLE + NANO;
    let Setup { store, .. } = setup(Some(odd), Some(odd));
    let s = store.create_with(1);
    assert!(store.touch(s.id()) && store.load(s.id()).is_some() && store.save(&s));
    assert_eq!(store.expires_in(s.id()), Some(odd));
}

#[test]
fn activity_never_revives() {
    let Setup { clock, store } = setup(None, Some(IDLE));
    let mut s = store.create_with(1);
    clock.advance(IDLE);
    *s = 2;
    assert!(!store.save(&s));
    assert!(store.try_save(&mut s).is_err());
    assert!(!store.rotate(&mut s));
    assert_dead(&store, s.id());
}

#[test]
fn own_expiry_holds_through_saves_updates_and_rotations() {
    let Setup { clock, store } = setup(Some(TTL), Some(IDLE));
    for own in [secs(5), secs(50), secs(500)] {
        let mut s = store.create_with(1);
        assert!(store.set_expiry(s.id(), own));
        assert_eq!(store.expires_in(s.id()), Some(own));
        *s = 2;
        assert!(store.save(&s) && store.rotate(&mut s));
        assert_eq!(store.update(s.id(), |n| *n), Some(2));
        *s = 3;
        assert!(store.save(&s) && store.touch(s.id()) && store.load(s.id()).is_some());
        assert_eq!(store.expires_in(s.id()), Some(own));
        clock.advance(own - NANO);
        assert!(store.touch(s.id()) && store.contains(s.id()));
        clock.advance(NANO);
        assert_dead(&store, s.id());
    }
}

#[test]
fn policy_expiry_starts_the_stores_own_terms_anew() {
    let Setup { clock, store } = setup(Some(TTL), Some(IDLE));
    let s = store.create_with(1);
    assert!(store.set_expiry(s.id(), Expiry::Never));
    assert_eq!(store.expires_in(s.id()), Some(Duration::MAX));
    clock.advance(TTL * 3);
    assert!(store.set_expiry(s.id(), Expiry::Policy));
    assert_eq!(store.expires_in(s.id()), Some(IDLE));
    for _ in 0..4 {
        clock.advance(secs(20));
        assert!(store.touch(s.id()));
    }
    assert_eq!(store.expires_in(s.id()), Some(secs(20)));
    clock.advance(secs(20));
    assert_dead(&store, s.id());
}

#[test]
fn own_expiry_of_zero_ends_a_session_at_once() {
    for (ttl, idle) in [(None, None), (Some(TTL), None), (Some(TTL), Some(IDLE))] {
        let Setup { store, .. } = setup(ttl, idle);
        let s = store.create_with(1);
        assert!(store.set_expiry(s.id(), Duration::ZERO));
        assert_dead(&store, s.id());
        assert_eq!(store.stats().live, 0);
    }
}

#[test]
fn sessions_of_a_store_without_lifetimes_never_expire() {
    let Setup { clock, store } = setup(None, None);
    let s = store.create_with(1);
    for _ in 0..7 {
        assert_eq!(store.expires_in(s.id()), Some(Duration::MAX));
        assert!(store.touch(s.id()) && store.save(&s));
        clock.advance(secs(100 * 31_557_600));
    }
    assert!(store.load(s.id()).is_some());
}

#[test]
fn activity_moves_no_deadline_beyond_the_last_nanosecond_of_the_ttl() {
    for nanos in [999, 1_000, 1_001] {
        let ttl = Duration::from_nanos(nanos);
        let Setup { clock, store } = setup(Some(ttl), Some(Duration::from_nanos(600)));
        let s = store.create();
        clock.advance(Duration::from_nanos(500));
        assert!(store.touch(s.id()));
        // The limit may lose its lowest two bits, and never gains any.
        clock.advance(ttl - Duration::from_nanos(504));
        assert!(store.touch(s.id()), "{ttl:?}");
        clock.advance(NANO * 4);
        assert_dead(&store, s.id());
    }
}
