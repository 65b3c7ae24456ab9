//! `max_bytes`: what the sessions weigh together never exceeds the bound, and what is refused changes nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use cloakroom::{
    Builder, Cause, CreateError, ManualClock, OnFull, OnLimit, SaveError, Session, SessionStore,
    Subject,
};

mod stress;

use stress::{Heard, race, rounds};

/// The data is what it weighs; the thousands say whose it is.
fn builder(max_bytes: u64) -> Builder<u64> {
    SessionStore::<u64>::builder().shards(2).max_bytes(max_bytes, |data| (data % 1_000) as usize)
}

fn with_subjects(max_bytes: u64) -> Builder<u64> {
    let subject = |data: &u64| (*data >= 1_000).then(|| Subject::from(data / 1_000));
    builder(max_bytes).index_by(subject)
}

fn bytes(store: &SessionStore<u64>) -> u64 {
    let mut bytes = 0;
    store.for_each(|_, data| bytes += (data % 1_000).max(1));
    bytes
}

#[test]
fn bytes_follow_the_data_through_every_operation() {
    let clock = ManualClock::new();
    let store = with_subjects(500).clock(clock.clone()).ttl(Duration::from_secs(60));
    let store = store.build().unwrap();
    let weighs = |bytes| assert_eq!(store.stats().bytes, bytes);
    let mut session = store.create_with(100);
    weighs(100);
    *session = 40;
    assert!(store.save(&session));
    weighs(40);
    *session = 1_060;
    store.try_save(&mut session).unwrap();
    weighs(60);
    store.update(session.id(), |data| *data = 2_070).unwrap();
    weighs(70);
    store.rotate(&mut session);
    store.reauthenticate(&mut session).unwrap();
    weighs(70);
    let other = store.create_with(1_005);
    weighs(75);
    store.destroy(other.id());
    weighs(70);
    store.create_with(0);
    weighs(71);
    store.clear();
    weighs(0);
    store.create_with(7);
    clock.advance(Duration::from_secs(60));
    store.purge_expired();
    weighs(0);
}

#[test]
fn oversized_value_is_too_large_and_the_old_one_stays() {
    let store = builder(50).build().unwrap();
    let mut session = store.create_with(30);
    *session = 51;
    assert!(!store.save(&session));
    assert_eq!(store.try_save(&mut session), Err(SaveError::TooLarge));
    assert_eq!(store.try_update(session.id(), |data| *data = 51), Err(SaveError::TooLarge));
    assert_eq!(store.update(session.id(), |data| *data = 51), None);
    let rejected = store.try_create_with(51).unwrap_err();
    assert_eq!((rejected.value, rejected.error), (51, CreateError::TooLarge { max_bytes: 50 }));
    assert!(!store.contains(store.create_with(51).id()));
    assert_eq!((*store.peek(session.id()).unwrap(), store.stats().bytes, store.len()), (30, 30, 1));
    assert_eq!(store.stats().creates_refused, 2);
    *session = 50;
    store.try_save(&mut session).unwrap();
    assert_eq!(store.stats().bytes, 50);
}

/// Its bytes are taken before its id and its subject are looked at under the shard's lock.
#[test]
fn create_that_its_id_or_its_subject_keeps_out_leaves_its_bytes_to_others() {
    let store = with_subjects(100).max_per_subject(1, OnLimit::Reject).build().unwrap();
    store.create_with(1_010);
    store.try_create_with_id("taken", 20).unwrap();
    for _ in 0..10 {
        let taken = store.try_create_with_id("taken", 40).unwrap_err();
        assert_eq!(taken.error, CreateError::Taken);
        let full = store.try_create_with(1_040).unwrap_err();
        assert_eq!(full.error, CreateError::SubjectLimit { max_per_subject: 1 });
        assert_eq!((store.stats().bytes, store.len()), (30, 2));
    }
    assert!(store.try_create_with(70).is_ok());
}

#[test]
fn as_many_make_room_as_it_takes_and_subjects_never_do() {
    let store = with_subjects(100).build().unwrap();
    let user = store.create_with(1_040);
    let guests: Vec<_> = (0..60).map(|_| store.create_with(1)).collect();
    assert_eq!((store.len(), store.stats().bytes), (61, 100));
    store.try_create_with(2_050).unwrap();
    let left = guests.iter().filter(|guest| store.contains(guest.id())).count();
    assert_eq!((left, store.contains(user.id())), (10, true));
    let full = CreateError::AtByteLimit { max_bytes: 100 };
    assert_eq!(store.try_create_with(61).unwrap_err().error, full);
    assert_eq!((bytes(&store), store.stats().bytes), (100, 100), "it would not have been enough");
    assert!(store.contains(user.id()));
}

/// Whoever signs in has their own to give: at either bound, with a new session or by a save.
/// What the sweep finds and what the limit ends are enough only together.
#[test]
fn session_that_grows_evicts_guests_and_never_itself() {
    let heard = Heard::default();
    let store = with_subjects(100).on_end(heard.listener()).build().unwrap();
    let mut mine = store.create_with(40);
    let other = store.create_with(60);
    *mine = 70;
    store.try_save(&mut mine).unwrap();
    assert_eq!(heard.of(other.id()), [(Cause::Evicted, 60)]);
    let user = store.create_with(1_030);
    *mine = 71;
    assert_eq!(store.try_save(&mut mine), Err(SaveError::AtByteLimit));
    assert!(!store.save(&mine));
    assert_eq!((*store.peek(mine.id()).unwrap(), store.stats().bytes), (70, 100));
    store.destroy(user.id());
    store.try_save(&mut mine).unwrap();
    assert_eq!(store.stats().bytes, 71);
}

#[test]
fn session_that_grows_takes_the_room_of_subjects_sessions_that_have_expired() {
    let clock = ManualClock::new();
    let store = with_subjects(100).clock(clock.clone()).idle_timeout(Duration::from_secs(60));
    let store = store.build().unwrap();
    (0..5).for_each(|_| _ = store.create_with(2_010));
    let mut mine = store.create_with(1_050);
    clock.advance(Duration::from_secs(59));
    assert!(store.touch(mine.id()));
    // No slice of the sweep has been due since.
    clock.advance(Duration::from_secs(1));
    *mine = 1_095;
    assert_eq!(store.try_save(&mut mine), Ok(()));
    assert!(store.stats().bytes <= 100);
}

#[test]
fn session_that_grows_ends_no_guest_while_a_due_slice_finds_expired_sessions() {
    let clock = ManualClock::new();
    let store = with_subjects(100).clock(clock.clone()).idle_timeout(Duration::from_secs(60));
    let store = store.build().unwrap();
    (0..4).for_each(|_| _ = store.create_with(2_010));
    clock.advance(Duration::from_secs(30));
    let (mut mine, guest) = (store.create_with(1_050), store.create_with(10));
    clock.advance(Duration::from_secs(30));
    *mine = 1_060;
    assert_eq!(store.try_save(&mut mine), Ok(()));
    assert!(store.contains(guest.id()));
}

/// A listener takes its time, and others must not be refused for what has left the table.
#[test]
fn bytes_of_all_that_has_ended_are_given_back_before_any_end_is_told() {
    type Ending = fn(&SessionStore<u64>);
    let ends: [Ending; 2] = [|store| store.clear(), |store| _ = store.purge_expired()];
    for (index, end) in [(false, ends[0]), (true, ends[0]), (false, ends[1]), (true, ends[1])] {
        let (clock, seen) = (ManualClock::new(), Arc::new(Mutex::new(vec![])));
        let builder = if index { with_subjects(1_000) } else { builder(1_000) };
        let builder = builder.clock(clock.clone()).ttl(Duration::from_secs(60));
        let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
            let (me, seen) = (me.clone(), Arc::clone(&seen));
            let note = move |_: cloakroom::End<'_, u64>| {
                let stats = me.upgrade().unwrap().stats();
                seen.lock().unwrap().push((stats.stored * 10, stats.bytes));
            };
            builder.on_end(note).build().unwrap()
        });
        (0..40).for_each(|n| _ = store.create_with(if n % 2 == 0 { 10 } else { 1_010 }));
        clock.advance(Duration::from_secs(60));
        end(&store);
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 40);
        assert!(seen.iter().all(|(stored, bytes)| stored == bytes), "index: {index}: {seen:?}");
    }
}

#[test]
fn create_that_the_sweep_finds_room_for_takes_its_bytes() {
    for index in [false, true] {
        let clock = ManualClock::new();
        let builder = if index { with_subjects(100) } else { builder(100) };
        let store = builder.on_full(OnFull::Refuse).clock(clock.clone());
        let store = store.ttl(Duration::from_secs(60)).build().unwrap();
        for _ in 0..5 {
            (0..5).for_each(|_| _ = store.create_with(1_020));
            assert_eq!((store.stats().bytes, store.len()), (100, 5));
            clock.advance(Duration::from_secs(60));
            store.try_create_with(30).unwrap();
            store.purge_expired();
            assert_eq!((bytes(&store), store.stats().bytes), (30, 30));
            store.clear();
            assert_eq!(store.stats().bytes, 0);
        }
    }
}

#[test]
fn save_that_needs_bytes_sweeps_on_until_some_are_given_back() {
    for expired in 0..40 {
        let clock = ManualClock::new();
        // A few slices go round; one does not.
        let store = with_subjects(41).clock(clock.clone()).sweep_budget(16).build().unwrap();
        let mut mine = store.create_with(1_001);
        let ids: Vec<_> = (0..40).map(|_| *store.create_with(1_001).id()).collect();
        store.set_expiry(&ids[expired], Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        *mine = 1_002;
        assert_eq!(store.try_save(&mut mine), Ok(()));
        assert_eq!((store.stats().bytes, store.contains(&ids[expired])), (41, false));
    }
}

#[test]
fn save_that_a_limit_refuses_evicts_no_guest_for_its_bytes() {
    let store = with_subjects(100).max_per_subject(1, OnLimit::Reject).build().unwrap();
    let user = store.create_with(1_020);
    let mut mine = store.create_with(40);
    store.create_with(40);
    *mine = 1_080;
    assert_eq!(store.try_save(&mut mine), Err(SaveError::SubjectLimit));
    assert_eq!((store.len(), store.stats().bytes), (3, 100));
    // Whoever stays where they are may grow, however many the subject has.
    store.try_update(user.id(), |data| *data = 1_060).unwrap();
    assert_eq!((store.len(), store.stats().bytes), (2, 100));
}

/// Whoever is told of an end while a save makes room may use a clone of the same handle.
#[test]
fn draft_that_a_clone_of_the_handle_stored_first_is_weighed_once() {
    let theirs = Arc::new(Mutex::new(None));
    let store = Arc::new_cyclic(|me: &Weak<SessionStore<u64>>| {
        let (me, theirs) = (me.clone(), Arc::clone(&theirs));
        let builder = with_subjects(100).on_end(move |end| {
            let clone: Option<Session<u64>> = theirs.lock().unwrap().take();
            if let (Some(store), Cause::Evicted, Some(clone)) = (me.upgrade(), end.cause, clone) {
                assert!(store.save(&clone));
                store.update(clone.id(), |data| *data = 10).unwrap();
            }
        });
        builder.build().unwrap()
    });
    let mut session = store.create_with(20);
    store.create_with(80);
    *session = 60;
    *theirs.lock().unwrap() = Some(session.clone());
    assert!(store.save(&session));
    assert!(theirs.lock().unwrap().is_none(), "the clone was saved in between");
    assert_eq!((bytes(&store), store.stats().bytes), (60, 60));
}

#[test]
fn store_that_refuses_evicts_nobody_for_bytes() {
    let store = builder(100).on_full(OnFull::Refuse).build().unwrap();
    let mut session = store.create_with(60);
    store.create_with(40);
    assert!(store.try_create_with(1).is_err());
    *session = 61;
    assert_eq!(store.try_save(&mut session), Err(SaveError::AtByteLimit));
    assert_eq!((store.len(), store.stats().bytes), (2, 100));
}

#[test]
fn both_bounds_hold_and_the_error_names_the_one_that_was_met() {
    let store = builder(100).max_sessions(2).on_full(OnFull::Refuse).build().unwrap();
    store.create_with(10);
    let large = store.try_create_with(91).unwrap_err();
    assert_eq!(large.error, CreateError::AtByteLimit { max_bytes: 100 });
    store.create_with(10);
    let third = store.try_create_with(1).unwrap_err();
    assert_eq!(third.error, CreateError::AtCapacity { max_sessions: 2 });
}

#[test]
fn panicking_weigher_leaves_the_store_as_it_was() {
    let store = SessionStore::<u64>::builder().max_bytes(100, |data| {
        assert_ne!(*data, 13, "unlucky");
        *data as usize
    });
    let store = store.build().unwrap();
    let mut session = store.create_with(20);
    let id = *session.id();
    *session = 13;
    let panics = |operation: &mut dyn FnMut()| {
        assert!(catch_unwind(AssertUnwindSafe(operation)).is_err());
        let stats = store.stats();
        assert_eq!((*store.peek(&id).unwrap(), stats.bytes, stats.stored), (20, 20, 1));
    };
    panics(&mut || _ = store.create_with(13));
    panics(&mut || _ = store.save(&session));
    panics(&mut || _ = store.try_save(&mut session));
    panics(&mut || _ = store.update(&id, |data| *data = 13));
    *session = 30;
    assert!(store.save(&session));
    assert_eq!(store.stats().bytes, 30);
}

#[test]
fn what_is_given_back_is_what_was_taken_whatever_the_weigher_says_later() {
    static SAYS: AtomicUsize = AtomicUsize::new(30);
    let says = |bytes| SAYS.store(bytes, Ordering::SeqCst);
    let builder = SessionStore::<u64>::builder().max_bytes(100, |_| SAYS.load(Ordering::SeqCst));
    let store = builder.build().unwrap();
    let mut sessions: Vec<_> = (0..3).map(|_| store.create()).collect();
    says(7);
    store.destroy(sessions.remove(0).id());
    assert_eq!(store.stats().bytes, 60);
    assert!(store.save(&sessions[0]) && store.rotate(&mut sessions[1]));
    assert_eq!(store.stats().bytes, 37);
    says(101);
    assert!(!store.save(&sessions[1]));
    store.clear();
    assert_eq!(store.stats().bytes, 0);
}

#[test]
fn bound_holds_whatever_grows_shrinks_and_comes_at_the_same_time() {
    for _ in 0..rounds(60) {
        let store = with_subjects(300).max_per_subject(2, OnLimit::RevokeOldest);
        let store = store.max_sessions(40).build().unwrap();
        let theirs = store.clone();
        race(3, move |me| {
            let mut state = me as u64 + 1;
            for _ in 0..100 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
                let data = (state >> 40) % 50 + (state >> 50) % 3 * 1_000;
                let mut session = theirs.create_with(data);
                theirs.update(session.id(), |held| *held = data / 2);
                theirs.rotate(&mut session);
                *session = data + 20;
                theirs.save(&session);
                assert!(theirs.stats().bytes <= 300);
                if state >> 60 == 0 {
                    theirs.revoke_all(data / 1_000);
                }
            }
        });
        assert_eq!(store.stats().bytes, bytes(&store));
        store.clear();
        assert_eq!((store.stats().bytes, store.len()), (0, 0));
    }
}

/// Large or not: there is nothing that it would be too large for.
#[test]
fn late_save_of_what_is_too_large_is_of_a_session_that_has_ended() {
    let store = builder(50).build().unwrap();
    let mut session = store.create_with(7);
    assert!(store.destroy(session.id()));
    *session = 51;
    assert_eq!(store.try_save(&mut session), Err(SaveError::Gone));
    assert!(!store.save(&session));
    assert_eq!(store.try_update(session.id(), |data| *data = 51), Err(SaveError::Gone));
    assert_eq!(store.stats().saves_refused, 2);
}
