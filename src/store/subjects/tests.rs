//! What needs to see the index itself: that nothing stays in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use super::{Made, Need};
use crate::SessionStore;
use crate::capacity::Found;
use crate::clock::ManualClock;
use crate::ends::{Cause, Ended};
use crate::entry::Entry;
use crate::id::SessionId;
use crate::index::Standing;
use crate::register::OnLimit;
use crate::session::Session;
use crate::subject::Subject;

/// Whose session it is; 0 for a guest's.
type Whose = u64;

fn subject(whose: &Whose) -> Option<Subject> {
    (*whose != 0).then(|| Subject::from(*whose))
}

/// Whether nothing is kept of any subject's session.
fn is_bare(store: &SessionStore<Whose>) -> bool {
    store.inner.register.as_ref().is_some_and(|register| register.index.is_bare())
}

/// A generator whose numbers are the same in each run.
fn numbers(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    }
}

fn agrees(store: &SessionStore<Whose>, subjects: u64) {
    let mut walked: BTreeMap<Whose, Vec<SessionId>> = BTreeMap::new();
    store.for_each(|id, whose| walked.entry(*whose).or_default().push(*id));
    for whose in 1..=subjects {
        let mut listed: Vec<_> = store.sessions_of(whose).iter().map(|it| it.id).collect();
        listed.sort_unstable();
        let mut walked = walked.remove(&whose).unwrap_or_default();
        walked.sort_unstable();
        assert_eq!(listed, walked, "of {whose}");
    }
}

#[test]
fn index_follows_random_operations_and_is_empty_in_the_end() {
    const SUBJECTS: usize = 40;
    // Two stores, half a million each; fewer where nothing is optimized.
    const STEPS: usize = if cfg!(debug_assertions) { 50_000 } else { 500_000 };
    for (seed, limit) in [(1, None), (2, Some(OnLimit::RevokeIdlest))] {
        let clock = ManualClock::new();
        let builder = SessionStore::<Whose>::builder().index_by(subject).shards(4);
        let builder = builder.ttl(Duration::from_secs(400)).idle_timeout(Duration::from_secs(100));
        let builder = match limit {
            Some(then) => builder.max_per_subject(3, then),
            None => builder.max_sessions(300),
        };
        let store = builder.clock(clock.clone()).build().unwrap();
        let (mut number, mut ids) = (numbers(seed), vec![*store.create_with(0).id()]);
        for step in 0..STEPS {
            let id = ids[number(ids.len())];
            let whose = number(SUBJECTS + 1) as Whose;
            match number(21) {
                0..=6 => {
                    let at = number(2_000);
                    let new = *store.create_with(whose).id();
                    if at < ids.len() { ids[at] = new } else { ids.push(new) }
                }
                7..=8 => _ = store.destroy(&id),
                9..=11 => _ = store.update(&id, |held| *held = whose),
                12..=14 => {
                    if let Some(mut session) = store.load(&id) {
                        store.rotate(&mut session);
                        ids.push(*session.id());
                        *session = whose;
                        store.save(&session);
                    }
                }
                15 => _ = store.set_expiry(&id, Duration::from_secs(number(300) as u64)),
                16 if number(50) == 0 => _ = store.revoke_all(whose),
                17 => clock.advance(Duration::from_secs(number(2) as u64)),
                18 if number(500) == 0 => _ = store.retain(|_, held| *held % 5 != 0),
                19 if number(5_000) == 0 => store.clear(),
                20 => {
                    if let Some(mut session) = store.load(&id) {
                        store.reauthenticate(&mut session).unwrap();
                        ids.push(*session.id());
                    }
                }
                _ => _ = store.load(&id),
            }
            ids.truncate(2_000);
            if step % (STEPS / 50) == 0 {
                agrees(&store, SUBJECTS as u64);
            }
        }
        agrees(&store, SUBJECTS as u64);
        clock.advance(Duration::from_secs(400));
        store.purge_expired();
        assert!(store.is_empty() && is_bare(&store));
        assert_eq!(store.inner.authenticated.len(), 0);
    }
}

#[test]
fn every_way_a_session_ends_takes_it_out_of_the_index() {
    let clock = ManualClock::new();
    let builder = SessionStore::<Whose>::builder().index_by(subject).shards(2).clock(clock.clone());
    let store = builder.ttl(Duration::from_secs(60)).build().unwrap();
    type Way<'a> = (&'a str, &'a dyn Fn(&SessionId));
    let ways: [Way<'_>; 7] = [
        ("destroy", &|id| assert!(store.destroy(id))),
        ("retain", &|_| assert_eq!(store.retain(|_, _| false), 1)),
        ("clear", &|_| store.clear()),
        ("revoke_all", &|_| assert_eq!(store.revoke_all(7), 1)),
        ("update", &|id| {
            store.update(id, |whose| *whose = 0).unwrap();
            assert_eq!(store.count_of(7), 0);
            store.destroy(id);
        }),
        ("purge", &|_| {
            clock.advance(Duration::from_secs(60));
            assert_eq!(store.purge_expired(), 1);
        }),
        ("a slice, or looking ahead", &|_| {
            clock.advance(Duration::from_secs(60));
            for _ in 0..1_000 {
                store.destroy(store.create_with(0).id());
            }
        }),
    ];
    for (way, end) in ways {
        let mut session = store.create_with(7);
        store.reauthenticate(&mut session).unwrap();
        store.rotate(&mut session);
        assert!(!is_bare(&store) && store.inner.authenticated.len() == 1);
        end(session.id());
        assert!(is_bare(&store) && store.inner.authenticated.len() == 0, "{way}");
    }
}

#[test]
fn store_that_does_not_weigh_its_sessions_keeps_no_room_for_weights() {
    let bytes = |weighs: bool| {
        let builder = SessionStore::<Whose>::builder().index_by(subject);
        let builder = if weighs { builder.max_bytes(100, |_| 1) } else { builder };
        let store = builder.build().unwrap();
        store.create_with(1);
        store.inner.register.as_ref().unwrap().index.bytes()
    };
    assert!(bytes(false) < bytes(true));
}

/// Whoever ends a session takes it out of the table first and forgets what was noted of it then; in between,
/// a caller's id may begin another.
#[test]
fn authentication_of_an_ended_session_is_not_that_of_the_next_under_its_id() {
    let store = SessionStore::<Whose>::builder().build().unwrap();
    let id = *store.try_create_with_id("a known id", 1).unwrap().id();
    store.destroy(&id);
    store.inner.authenticated.note(id, 1);
    let next = store.try_create_with_id("a known id", 2).unwrap();
    assert_eq!(store.authenticated_at(next.id()), None);
}

/// Whoever ends a session takes it out of the table first and out of its list then; in between, a caller's id may
/// begin another's session.
#[test]
fn node_of_an_ended_session_is_not_that_of_the_next_under_its_id() {
    for revoked in [true, false] {
        let store = SessionStore::<Whose>::builder().index_by(subject).shards(2).build().unwrap();
        let id = *store.try_create_with_id("a known id", 1).unwrap().id();
        let place = store.inner.gate.place(id);
        let entry = store.inner.gate.exclusive(place.shard).remove(&place).unwrap();
        store.inner.capacity.release(1);
        store.try_create_with_id("a known id", 2).unwrap();
        let of_the_first = if revoked { store.revoke_all(1) } else { store.count_of(1) };
        assert_eq!((of_the_first, store.count_of(2)), (0, 1));
        store.inner.tell([Ended::new(id, entry, Cause::Destroyed)]);
        assert_eq!(store.revoke_all(2), 1);
        assert!(is_bare(&store));
    }
}

/// Any load may run a slice: if it has to wait for the index, then at nobody's cost but its own.
#[test]
fn slice_that_waits_for_the_index_keeps_nobody_out_of_the_table() {
    let (clock, minute) = (ManualClock::new(), Duration::from_secs(60));
    let builder = SessionStore::<Whose>::builder().index_by(subject).shards(2);
    let store = builder.ttl(minute).clock(clock.clone()).build().unwrap();
    (1..=100).for_each(|whose| _ = store.create_with(whose));
    clock.advance(minute);
    let held = store.inner.register.as_ref().unwrap().index.hold();
    let theirs = store.clone();
    let slice = thread::spawn(move || theirs.inner.sweep_slice(theirs.inner.clock.now()));
    let comes = |it: &dyn Fn() -> bool| {
        (0..100_000).any(|_| {
            thread::yield_now();
            it()
        })
    };
    let removes = comes(&|| store.len() < 100);
    let lets_go = comes(&|| (0..2).all(|shard| store.inner.gate.try_exclusive(shard).is_some()));
    drop(held);
    slice.join().unwrap();
    assert!(removes && lets_go);
}

#[test]
fn sign_in_that_met_a_full_list_ends_nobody_if_one_of_it_has_ended_since() {
    let builder = SessionStore::<Whose>::builder().index_by(subject);
    let store = builder.max_per_subject(2, OnLimit::RevokeOldest).build().unwrap();
    let register = store.inner.register.as_ref().unwrap();
    let at = register.index.locate(&Subject::from(1));
    store.create_with(1);
    let need = Need { bytes: 0, spare: None, now: 0 };
    let (mut found, mut ended) = (Found::new(&store.inner.capacity, 0, 0), Vec::new());
    let made = store.inner.make_room_in(register, &at, &need, &mut found, &mut ended);
    assert!(matches!(made, Made::Room) && ended.is_empty());
    assert_eq!(store.count_of(1), 1);
}

/// Two requests of one session may sign in at once.
#[test]
fn session_that_another_commit_has_brought_into_a_full_list_ends_neither_itself_nor_another() {
    let builder = SessionStore::<Whose>::builder().index_by(subject);
    let store = builder.max_per_subject(1, OnLimit::RevokeOldest).build().unwrap();
    let id = *store.create_with(1).id();
    let register = store.inner.register.as_ref().unwrap();
    let at = register.index.locate(&Subject::from(1));
    let need = Need { bytes: 0, spare: Some(id), now: 0 };
    let (mut found, mut ended) = (Found::new(&store.inner.capacity, 0, 0), Vec::new());
    let made = store.inner.make_room_in(register, &at, &need, &mut found, &mut ended);
    assert!(matches!(made, Made::Room) && ended.is_empty() && store.contains(&id));
}

/// The number of a node is given out again as soon as its session is let go.
#[test]
fn session_in_the_node_of_one_that_was_to_make_room_does_not_make_it() {
    let store = SessionStore::<Whose>::builder().index_by(subject).build().unwrap();
    let id = *store.create_with(1).id();
    let register = store.inner.register.as_ref().unwrap();
    let at = register.index.locate(&Subject::from(1));
    let [(slot, _)] = register.index.sessions(&at)[..] else { panic!("there is one") };
    store.destroy(&id);
    let next = *store.create_with(1).id();
    assert_eq!(register.index.sessions(&at), [(slot, next)]);
    let cause = Some(Cause::Displaced);
    let taken = store.inner.take_under(&register.index, &at, (slot, id), cause, |_| ());
    assert_eq!(taken.err(), Some(Standing::Renamed(next)));
    assert!(store.contains(&next));
}

#[test]
fn record_of_a_session_that_is_over_is_not_one_that_was_never_stored() {
    let clock = ManualClock::new();
    let builder = SessionStore::<Whose>::builder().index_by(subject).clock(clock);
    // To end when the lowest bits of the time, which are all that the index leaves of it, are zero.
    let store = builder.ttl(Duration::from_nanos((30 << 25) - 1_000_000_000)).build().unwrap();
    let session = store.create_with(1);
    let (record, _) = session.versions();
    assert!(!record.is_fresh());
    store.destroy(session.id());
    assert!(!record.is_fresh() && record.slot().is_none());
}

/// Whoever is told of an end while a save makes room may use a clone of the same handle.
#[test]
fn draft_that_a_clone_of_the_handle_stored_first_leaves_no_second_node() {
    let theirs = Arc::new(Mutex::new(None));
    let builder = SessionStore::<Whose>::builder().index_by(subject).shards(2);
    let builder = builder.max_per_subject(1, OnLimit::RevokeOldest);
    let store = Arc::new_cyclic(|me: &Weak<SessionStore<Whose>>| {
        let (me, theirs) = (me.clone(), Arc::clone(&theirs));
        let builder = builder.on_end(move |end| {
            let clone: Option<Session<Whose>> = theirs.lock().unwrap().take();
            if let (Some(store), Cause::Displaced, Some(clone)) = (me.upgrade(), end.cause, clone) {
                assert!(store.save(&clone));
                store.update(clone.id(), |whose| *whose = 0).unwrap();
            }
        });
        builder.build().unwrap()
    });
    store.create_with(1);
    let mut session = store.create();
    *session = 1;
    *theirs.lock().unwrap() = Some(session.clone());
    assert!(store.save(&session));
    assert!(theirs.lock().unwrap().is_none(), "the clone was saved in between");
    assert_eq!((store.count_of(1), store.len()), (1, 1));
    store.destroy(session.id());
    assert!(is_bare(&store));
}

/// A list is read some sessions at a time, and each is looked at later, when it may be somebody else's, under
/// another id, or in the same node again.
#[test]
fn session_of_a_list_is_looked_at_as_what_it_is_by_then() {
    let store = SessionStore::<Whose>::builder().index_by(subject).shards(2).build().unwrap();
    let index = &store.inner.register.as_ref().unwrap().index;
    let at = index.locate(&Subject::from(1));
    let mut session = store.create_with(1);
    let [(slot, id)] = index.sessions(&at)[..] else { panic!("there is one") };
    assert_eq!(store.inner.strike(index, &at, slot, id), Standing::Renamed(id), "it is there");
    store.rotate(&mut session);
    let new = *session.id();
    assert_eq!(store.inner.sight(index, &at, slot, id).map(|sight| sight.id), Some(new));
    // By way of another's list, until it is in the same node, as a third one's.
    for other in 2.. {
        store.update(&new, |whose| *whose = other).unwrap();
        let is_in = |entry: &Entry<Whose>| entry.record().slot() == Some(slot);
        if store.inner.gate.read(&store.inner.gate.place(new), is_in) == Some(true) {
            break;
        }
    }
    assert!(store.inner.sight(index, &at, slot, new).is_none());
    let revoked = store.inner.take_under(index, &at, (slot, new), Some(Cause::Revoked), |_| ());
    assert_eq!((revoked.err(), store.contains(&new)), (Some(Standing::Here), true));
}

#[test]
fn evicted_session_leaves_no_authentication_behind() {
    for subjects in [false, true] {
        let builder = SessionStore::<Whose>::builder().max_sessions(1);
        let builder = if subjects { builder.index_by(subject) } else { builder };
        let store = builder.build().unwrap();
        let mut session = store.create();
        store.reauthenticate(&mut session).unwrap();
        assert_eq!(store.inner.authenticated.len(), 1);
        store.create();
        assert_eq!((store.inner.authenticated.len(), store.stats().evicted), (0, 1));
    }
}
