//! `max_per_subject`: never one more, whatever signs in at the same time, and nobody ended for nothing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloakroom::{
    Builder, Cause, CreateError, ManualClock, OnLimit, Rejected, SaveError, Session, SessionStore,
    Subject,
};

mod stress;

use stress::{Heard, race, race2, rounds};

/// The user's number; 0 for a guest.
fn builder(most: usize, then: OnLimit) -> Builder<u64> {
    let subject = |user: &u64| (*user != 0).then(|| Subject::from(*user));
    SessionStore::<u64>::builder().index_by(subject).max_per_subject(most, then).shards(2)
}

const LIMIT: CreateError = CreateError::SubjectLimit { max_per_subject: 2 };

#[test]
fn one_more_than_the_limit_is_rejected_by_whatever_operation() {
    let store = builder(2, OnLimit::Reject).build().unwrap();
    let mine = [store.create_with(1), store.create_with(1)];
    let Err(Rejected { value: 1, error: LIMIT }) = store.try_create_with(1) else {
        panic!("the data comes back with the reason")
    };
    assert!(store.try_create_with_id("an id", 1).is_err_and(|rejected| rejected.error == LIMIT));
    let unstored = store.create_with(1);
    assert!(!store.contains(unstored.id()));
    let mut guest = store.create();
    *guest = 1;
    assert!(!store.save(&guest));
    assert_eq!(store.try_save(&mut guest), Err(SaveError::SubjectLimit));
    assert_eq!(store.update(guest.id(), |user| *user = 1), None);
    assert_eq!(store.try_update(guest.id(), |user| *user = 1), Err(SaveError::SubjectLimit));
    assert_eq!(*store.peek(guest.id()).unwrap(), 0, "the old value stays");
    assert_eq!(store.stats().creates_refused, 3);
    assert_eq!((store.count_of(1), store.len()), (2, 3));
    // What is the subject's already may be saved.
    assert!(mine.iter().all(|session| store.save(session)));
    store.destroy(mine[0].id());
    store.try_save(&mut guest).unwrap();
    assert_eq!(store.count_of(1), 2);
    assert!(store.try_create_with(2).is_ok());
}

/// Room is made once: the slot of the one that its limit ends is enough.
#[test]
fn in_a_full_store_the_subjects_own_oldest_makes_room_and_nobody_else() {
    for other in [0, 2] {
        let heard = Heard::default();
        let store = builder(1, OnLimit::RevokeOldest).max_sessions(2).on_end(heard.listener());
        let store = store.build().unwrap();
        let (mine, theirs) = (store.create_with(1), store.create_with(other));
        let next = store.try_create_with(1).unwrap();
        assert_eq!(heard.of(mine.id()), [(Cause::Displaced, 1)], "other: {other}");
        assert!(store.contains(theirs.id()) && store.contains(next.id()), "other: {other}");
        assert!(store.try_create_with(3).is_ok() == (other == 0), "a guest makes room");
    }
}

#[test]
fn oldest_of_the_subject_makes_room_and_ends_with_its_cause() {
    let heard = Heard::default();
    let store = builder(2, OnLimit::RevokeOldest).on_end(heard.listener()).build().unwrap();
    let mut first = store.create_with(1);
    let guest = store.create();
    let second = store.create_with(1);
    // Rotated and used, it still is the oldest.
    assert!(store.rotate(&mut first) && store.touch(first.id()));
    store.create_with(2);
    let third = store.create_with(1);
    assert_eq!(heard.of(first.id()), [(Cause::Displaced, 1)]);
    store.update(guest.id(), |user| *user = 1).unwrap();
    assert_eq!(heard.of(second.id()), [(Cause::Displaced, 1)]);
    let ids: Vec<_> = store.sessions_of(1).iter().map(|session| session.id).collect();
    assert_eq!(ids, [*guest.id(), *third.id()]);
    assert_eq!((store.stats().displaced, store.count_of(2)), (2, 1));
}

#[test]
fn idlest_of_the_subject_makes_room() {
    let clock = ManualClock::new();
    let store = builder(3, OnLimit::RevokeIdlest).clock(clock.clone());
    let store = store.idle_timeout(Duration::from_secs(600)).build().unwrap();
    let sessions: Vec<_> = (0..3)
        .map(|_| {
            clock.advance(Duration::from_secs(1));
            store.create_with(1)
        })
        .collect();
    clock.advance(Duration::from_secs(1));
    store.touch(sessions[0].id());
    store.create_with(1);
    let lives = |at: usize| store.contains(sessions[at].id());
    assert_eq!([lives(0), lives(1), lives(2)], [true, false, true]);
    // One whose end was set says nothing of its use: its creation counts, which was the first.
    store.set_expiry(sessions[0].id(), Duration::from_secs(5000));
    store.create_with(1);
    assert_eq!([lives(0), lives(2)], [false, true]);
}

#[test]
fn of_those_used_at_the_same_time_the_one_that_is_the_subjects_the_longest_makes_room() {
    for idle in [None, Some(Duration::from_secs(600))] {
        let store = builder(3, OnLimit::RevokeIdlest).clock(ManualClock::new());
        let store = idle.into_iter().fold(store, Builder::idle_timeout).build().unwrap();
        let guest = *store.create().id();
        let ids: Vec<_> = (0..2).map(|_| *store.create_with(1).id()).collect();
        store.update(&guest, |user| *user = 1).unwrap();
        for goes in [ids[0], ids[1], guest] {
            assert!(store.contains(&goes));
            store.create_with(1);
            assert!(!store.contains(&goes));
        }
    }
}

#[test]
fn expired_session_does_not_count_and_nobody_is_displaced_in_its_stead() {
    for then in [OnLimit::Reject, OnLimit::RevokeOldest, OnLimit::RevokeIdlest] {
        let clock = ManualClock::new();
        let heard = Heard::default();
        let store = builder(2, then).clock(clock.clone()).on_end(heard.listener()).build().unwrap();
        let old = store.create_with(1);
        let short = store.create_with(1);
        store.set_expiry(short.id(), Duration::from_secs(60));
        clock.advance(Duration::from_secs(60));
        let new = store.try_create_with(1).unwrap();
        assert!(store.contains(old.id()) && store.contains(new.id()));
        assert_eq!(heard.of(short.id()), [(Cause::Expired, 1)]);
        assert_eq!((store.len(), store.stats().displaced), (2, 0));
    }
}

#[test]
fn taken_id_displaces_nobody() {
    let store = builder(1, OnLimit::RevokeOldest).build().unwrap();
    let mine = store.create_with(1);
    store.try_create_with_id("theirs", 0).unwrap();
    let refused = store.try_create_with_id("theirs", 1).unwrap_err();
    assert_eq!(refused.error, CreateError::Taken);
    assert!(store.contains(mine.id()));
}

#[test]
fn expired_session_keeps_none_out_of_its_own_id() {
    for then in [OnLimit::Reject, OnLimit::RevokeOldest] {
        let clock = ManualClock::new();
        let builder = builder(1, then).clock(clock.clone()).ttl(Duration::from_secs(60));
        let store = builder.build().unwrap();
        for expired in 0..3 {
            let session = store.try_create_with_id("their own", 1).unwrap();
            assert_eq!(store.sessions_of(1)[0].id, *session.id());
            assert_eq!((store.len(), store.stats().expired), (1, expired));
            clock.advance(Duration::from_secs(60));
        }
    }
}

#[test]
fn refused_sign_in_holds_no_place_in_a_bounded_store() {
    let store = builder(1, OnLimit::Reject).max_sessions(2).build().unwrap();
    store.create_with(1);
    (0..10).for_each(|_| assert!(store.try_create_with(1).is_err()));
    assert_eq!(store.len(), 1);
    let guest = store.create();
    assert!(store.contains(guest.id()));
}

#[test]
fn sign_in_that_the_limit_refuses_evicts_no_guest() {
    let store = builder(1, OnLimit::Reject).max_sessions(2).build().unwrap();
    let mine = store.create_with(1);
    let guest = store.create();
    assert_eq!(
        store.try_create_with(1).unwrap_err().error,
        CreateError::SubjectLimit { max_per_subject: 1 }
    );
    assert!(!store.contains(store.create_with(1).id()));
    assert!(store.contains(guest.id()) && store.contains(mine.id()));
    assert_eq!(store.stats().creates_refused, 2);
    store.try_create_with(2).unwrap();
    assert!(!store.contains(guest.id()), "whom the limit lets in finds room");
}

#[test]
fn of_simultaneous_sign_ins_exactly_as_many_as_fit_are_let_in() {
    for round in 0..rounds(500) {
        let store = builder(2, OnLimit::Reject).build().unwrap();
        let theirs = store.clone();
        // Some create, some make a guest's session theirs.
        let results = race(4, move |me| {
            if (me + round) % 2 == 0 {
                return theirs.try_create_with(1).is_ok();
            }
            let guest = theirs.create();
            theirs.update(guest.id(), |user| *user = 1).is_some()
        });
        assert_eq!(results.iter().filter(|let_in| **let_in).count(), 2);
        assert_eq!(store.count_of(1), 2);
    }
}

#[test]
fn each_of_simultaneous_sign_ins_displaces_one_at_the_most() {
    for then in [OnLimit::RevokeOldest, OnLimit::RevokeIdlest] {
        for _ in 0..rounds(300) {
            let heard = Heard::default();
            let store = builder(3, then).on_end(heard.listener()).build().unwrap();
            (0..3).for_each(|_| _ = store.create_with(1));
            let theirs = store.clone();
            let ids = race(3, move |_| *theirs.create_with(1).id());
            assert_eq!((store.count_of(1), heard.each_once()), (3, 3));
            let left = ids.iter().filter(|id| store.contains(*id)).count();
            // None of them is the oldest as long as one is left that was there before.
            assert!(left == 3 || then == OnLimit::RevokeIdlest && left > 0, "{left} of {then:?}");
        }
    }
}

#[test]
fn limit_holds_at_every_moment_for_whoever_looks() {
    let store = builder(2, OnLimit::RevokeOldest).build().unwrap();
    let (ours, theirs) = (store.clone(), store.clone());
    let signs_in = move || {
        for _ in 0..rounds(2_000) {
            let mut session = ours.create_with(1);
            ours.rotate(&mut session);
        }
    };
    let looks = move || (0..rounds(1_000)).map(|_| theirs.count_of(1)).max();
    let ((), most) = race2(signs_in, looks);
    assert!(most <= Some(2));
    assert_eq!(store.count_of(1), 2);
}

/// A listener may do with the store what it likes, as with the slot that has come free.
#[test]
fn end_of_a_displaced_session_is_told_once_the_next_one_is_there() {
    let itself: Arc<Mutex<Option<SessionStore<u64>>>> = Arc::default();
    let store = builder(1, OnLimit::RevokeOldest).max_sessions(2).on_end({
        let itself = Arc::clone(&itself);
        move |end| {
            if end.cause == Cause::Displaced {
                let store = itself.lock().unwrap().take().unwrap();
                let taken = store.try_create_with_id("mine", 9).unwrap_err();
                assert_eq!((taken.error, store.count_of(1)), (CreateError::Taken, 1));
                let full = store.try_create_with(9).unwrap_err();
                assert_eq!(full.error, CreateError::AtCapacity { max_sessions: 2 });
            }
        }
    });
    let store = store.build().unwrap();
    let (first, _) = (store.create_with(1), store.create_with(2));
    *itself.lock().unwrap() = Some(store.clone());
    store.try_create_with_id("mine", 1).unwrap();
    assert!(itself.lock().unwrap().is_none(), "the listener was called");
    assert_eq!((store.contains(first.id()), store.contains("mine"), store.len()), (false, true, 2));
}

#[test]
fn session_that_expires_while_room_is_made_for_it_is_not_brought_back() {
    type Act = fn(&SessionStore<u64>, &mut Session<u64>) -> Result<(), SaveError>;
    let save: Act = |store, session| {
        **session = 1;
        store.save(session).then_some(()).ok_or(SaveError::Gone)
    };
    let try_save: Act = |store, session| {
        **session = 1;
        store.try_save(session)
    };
    let update: Act = |store, session| store.try_update(session.id(), |whose| *whose = 1);
    for act in [save, try_save, update] {
        let clock = ManualClock::new();
        let theirs = clock.clone();
        let store = builder(1, OnLimit::RevokeOldest).on_end(move |end| {
            if end.cause == Cause::Displaced {
                theirs.advance(Duration::from_secs(9));
            }
        });
        let idle = Duration::from_secs(10);
        let store = store.idle_timeout(idle).clock(clock.clone()).build().unwrap();
        let mut guest = store.create_with(0);
        clock.advance(Duration::from_secs(6));
        store.create_with(1);
        assert_eq!(act(&store, &mut guest), Err(SaveError::Gone));
        assert!(!store.contains(guest.id()));
    }
}
