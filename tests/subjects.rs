//! Whose sessions they are: lists that follow the data, and logging out everywhere.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, SystemTime};

use cloakroom::{
    Builder, Cause, End, Expiry, ManualClock, SaveError, SessionId, SessionStore, Subject,
};

mod stress;

use stress::{Heard, race2, rounds};

#[derive(Clone, Default)]
struct Visitor {
    user: Option<u64>,
    visits: u32,
}

fn of(user: u64) -> Visitor {
    Visitor { user: Some(user), visits: 0 }
}

fn builder() -> Builder<Visitor> {
    SessionStore::<Visitor>::builder().index_by(|visitor| visitor.user.map(Subject::from))
}

fn ids(store: &SessionStore<Visitor>, user: u64) -> Vec<SessionId> {
    store.sessions_of(user).iter().map(|session| session.id).collect()
}

#[test]
fn list_follows_the_data_through_every_operation_that_stores_it() {
    let store = builder().build().unwrap();
    let mut session = store.create();
    assert_eq!(store.count_of(1), 0);
    session.user = Some(1);
    assert_eq!(store.count_of(1), 0, "nothing is stored yet");
    assert!(store.save(&session));
    assert_eq!(ids(&store, 1), [*session.id()]);
    session.user = Some(2);
    store.try_save(&mut session).unwrap();
    assert_eq!((store.count_of(1), ids(&store, 2)), (0, vec![*session.id()]));
    store.update(session.id(), |visitor| visitor.user = Some(3)).unwrap();
    assert_eq!((store.count_of(2), ids(&store, 3)), (0, vec![*session.id()]));
    assert_eq!(store.try_save(&mut session), Err(SaveError::Conflict));
    assert_eq!((store.count_of(2), store.count_of(3)), (0, 1), "a conflict changes nothing");
    // Last write wins, over a version that this handle has never seen.
    assert!(store.save(&session));
    assert_eq!((store.count_of(2), store.count_of(3)), (1, 0));
    assert!(store.save(&session) && store.save(&session.clone()));
    assert_eq!(store.count_of(2), 1);
    store.update(session.id(), |visitor| visitor.user = None).unwrap();
    assert_eq!(store.count_of(2), 0);
    let foreign = store.try_create_with_id("their own id", of(2)).unwrap();
    assert_eq!(ids(&store, 2), [*foreign.id()]);
}

#[test]
fn handle_that_was_saved_before_is_listed_under_what_it_saves_next() {
    let store = builder().build().unwrap();
    let mut session = store.create_with(of(1));
    // Copies and drafts in every order.
    for user in [1, 2, 2, 1, 1, 3] {
        store.save(&session);
        session.user = Some(user);
        store.save(&session);
        store.save(&session);
        assert_eq!(ids(&store, user), [*session.id()]);
        assert_eq!((1..4).map(|user| store.count_of(user)).sum::<usize>(), 1);
        session.visits += 1;
        store.try_save(&mut session).unwrap();
    }
}

#[test]
fn newest_is_listed_first_and_a_rotated_session_keeps_its_place() {
    let store = builder().build().unwrap();
    let mut sessions: Vec<_> = (0..5).map(|_| store.create_with(of(1))).collect();
    let listed = || ids(&store, 1);
    let newest_first = |sessions: &[cloakroom::Session<Visitor>]| {
        sessions.iter().rev().map(|session| *session.id()).collect::<Vec<_>>()
    };
    assert_eq!(listed(), newest_first(&sessions));
    for at in [2, 0, 4, 2] {
        store.rotate(&mut sessions[at]);
        assert_eq!(listed(), newest_first(&sessions));
    }
    for at in [2, 3, 0] {
        store.destroy(sessions.remove(at).id());
        assert_eq!(listed(), newest_first(&sessions));
    }
}

#[test]
fn list_says_when_each_was_created_last_used_and_will_end() {
    let clock = ManualClock::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let store = builder().clock(clock.clone()).idle_timeout(minutes(10)).ttl(minutes(25));
    let store = store.build().unwrap();
    clock.advance(Duration::from_secs(100));
    let mut session = store.create();
    clock.advance(minutes(5));
    session.user = Some(1);
    store.rotate(&mut session);
    store.save(&session);
    clock.advance(minutes(1));
    let [info] = &store.sessions_of(1)[..] else { panic!("there is one") };
    assert_eq!((info.id, info.created), (*session.id(), at(100)), "it was a guest's when it began");
    assert_eq!(info.last_seen, Some(at(400)), "looking at the list is no use of it");
    assert_eq!(info.expires, Some(at(1000)));
    store.set_expiry(session.id(), Expiry::Never);
    let [info] = &store.sessions_of(1)[..] else { panic!("there is one") };
    assert_eq!((info.last_seen, info.expires), (None, None));
}

#[test]
fn times_on_the_systems_clock_are_about_now() {
    let store = builder().idle_timeout(Duration::from_secs(600)).build().unwrap();
    #[expect(clippy::disallowed_methods, reason = "what the list's times are compared with")]
    let now = SystemTime::now();
    store.create_with(of(1));
    let [info] = &store.sessions_of(1)[..] else { panic!("there is one") };
    let near = |time: SystemTime| {
        time.duration_since(now).or_else(|error| Ok::<_, ()>(error.duration())).unwrap()
    };
    assert!(near(info.created) < Duration::from_secs(300));
    assert!(near(info.expires.unwrap()) > Duration::from_secs(300));
}

#[test]
fn expired_session_is_neither_listed_nor_counted_nor_revoked() {
    let clock = ManualClock::new();
    let heard = Heard::default();
    let store = builder().clock(clock.clone()).ttl(Duration::from_secs(1));
    let store =
        store.on_end(heard.listener_of(|visitor: &Visitor| visitor.visits.into())).build().unwrap();
    let id = *store.create_with(of(1)).id();
    clock.advance(Duration::from_secs(1));
    assert_eq!((store.sessions_of(1).len(), store.count_of(1), store.revoke_all(1)), (0, 0, 0));
    assert_eq!(heard.of(&id), [(Cause::Expired, 0)]);
    // Where the revocation is the first to find it.
    let another = *store.create_with(of(1)).id();
    clock.advance(Duration::from_secs(1));
    assert_eq!((store.revoke_all(1), heard.of(&another)), (0, vec![(Cause::Expired, 0)]));
}

#[test]
fn revoked_sessions_end_with_their_cause_and_others_do_not() {
    let heard = Heard::default();
    let listener = heard.listener_of(|visitor: &Visitor| visitor.visits.into());
    let store = builder().on_end(listener).build().unwrap();
    let mine: Vec<_> = (0..300).map(|_| *store.create_with(of(1)).id()).collect();
    let theirs = *store.create_with(of(2)).id();
    let guests = *store.create().id();
    assert_eq!(store.revoke_others(1, &mine[77]), 299);
    assert_eq!(ids(&store, 1), [mine[77]]);
    assert_eq!(store.revoke_all(1), 1);
    assert!(mine.iter().all(|id| !store.contains(id) && heard.of(id) == [(Cause::Revoked, 0)]));
    assert!(store.contains(&theirs) && store.contains(&guests));
    assert_eq!((store.len(), store.stats().revoked, store.revoke_all(1)), (2, 300, 0));
}

#[test]
fn keeping_somebody_elses_session_or_an_ended_one_keeps_none() {
    let store = builder().build().unwrap();
    let theirs = *store.create_with(of(2)).id();
    let ended = *store.create_with(of(1)).id();
    store.destroy(&ended);
    for keep in [theirs, ended] {
        store.create_with(of(1));
        assert_eq!(store.revoke_others(1, &keep), 1);
    }
    assert!(store.contains(&theirs));
}

#[test]
fn store_without_an_index_has_empty_lists() {
    let store = SessionStore::<u64>::builder().build().unwrap();
    store.create_with(1);
    assert_eq!((store.sessions_of(1).len(), store.count_of(1), store.revoke_all(1)), (0, 0, 0));
    assert_eq!(store.len(), 1);
}

#[test]
fn panicking_index_by_leaves_the_store_as_it_was() {
    let store = SessionStore::<u64>::builder().index_by(|user| {
        assert_ne!(*user, 13, "unlucky");
        Some(Subject::from(*user))
    });
    let store = store.max_sessions(2).build().unwrap();
    let mut session = store.create_with(1);
    let id = *session.id();
    *session = 13;
    let before = store.stats();
    let panics = |operation: &mut dyn FnMut()| {
        assert!(catch_unwind(AssertUnwindSafe(operation)).is_err());
        assert_eq!((*store.peek(&id).unwrap(), store.count_of(1), store.len()), (1, 1, 1));
    };
    panics(&mut || _ = store.create_with(13));
    panics(&mut || _ = store.try_create_with_id("an id", 13));
    panics(&mut || _ = store.save(&session));
    panics(&mut || _ = store.try_save(&mut session));
    panics(&mut || _ = store.update(&id, |user| *user = 13));
    let after = store.stats();
    assert_eq!((after.created, after.saved), (before.created, before.saved));
    *session = 2;
    assert!(store.save(&session));
    assert_eq!(store.count_of(2), 1);
}

#[test]
fn session_leaves_the_list_it_was_put_in_whatever_index_by_says_later() {
    static SAYS: AtomicU64 = AtomicU64::new(1);
    let says = |user| SAYS.store(user, Ordering::SeqCst);
    let builder = builder().index_by(|_| Some(Subject::from(SAYS.load(Ordering::SeqCst))));
    let store = builder.build().unwrap();
    let mut sessions: Vec<_> = (0..3).map(|_| store.create()).collect();
    says(2);
    assert!(store.rotate(&mut sessions[0]) && store.destroy(sessions[1].id()));
    assert_eq!((store.count_of(1), store.count_of(2)), (2, 0));
    sessions[2].visits += 1;
    store.update(sessions[2].id(), |visitor| visitor.visits += 1).unwrap();
    assert_eq!(store.revoke_all(1) + store.revoke_all(2), 2);
    assert!(store.is_empty());
}

#[test]
fn index_by_and_listeners_may_call_the_store() {
    static STORE: Mutex<Option<SessionStore<u64>>> = Mutex::new(None);
    let store = || STORE.lock().unwrap().clone();
    let builder = SessionStore::<u64>::builder().index_by(move |user| {
        // Sign-ups that sign up others.
        if let Some(store) = store().filter(|_| *user > 1) {
            store.create_with(user - 1);
            store.revoke_all(1);
        }
        Some(Subject::from(*user))
    });
    let builder = builder.on_end(move |end| {
        if let Some(store) = store() {
            store.revoke_all(*end.data);
            _ = store.sessions_of(*end.data);
            if *end.data > 3 {
                store.create_with(end.data - 3);
            }
        }
    });
    *STORE.lock().unwrap() = Some(builder.shards(2).build().unwrap());
    let store = store().unwrap();
    let sessions: Vec<_> = (0..5).map(|_| store.create_with(6)).collect();
    assert!(store.revoke_all(6) > 0);
    store.clear();
    store.clear();
    assert!(sessions.iter().all(|session| !store.contains(session.id())));
    (0..10).for_each(|user| _ = store.revoke_all(user));
    assert_eq!((0..10).map(|user| store.count_of(user)).sum::<usize>(), store.len());
    *STORE.lock().unwrap() = None;
}

#[test]
fn no_session_created_before_revoke_all_survives_it_however_it_is_rotated_and_saved() {
    for _ in 0..rounds(400) {
        let store = builder().shards(2).build().unwrap();
        let mut sessions: Vec<_> = (0..6).map(|_| store.create_with(of(1))).collect();
        let (ours, theirs) = (store.clone(), store.clone());
        let busy = move || {
            for session in &mut sessions {
                for _ in 0..8 {
                    session.visits += 1;
                    if !(ours.rotate(session) && ours.save(session)) {
                        break;
                    }
                }
            }
            sessions.iter().map(|session| *session.id()).collect::<BTreeSet<_>>()
        };
        let (old, _) = race2(busy, move || theirs.revoke_all(1));
        assert_eq!(old.iter().filter(|id| store.contains(*id)).count(), 0);
        assert_eq!((store.len(), store.count_of(1)), (0, 0));
    }
}

#[test]
fn what_survives_revoke_all_was_created_after_it_began() {
    for _ in 0..rounds(400) {
        let store = builder().shards(2).build().unwrap();
        let created = Arc::new(Mutex::new(Vec::new()));
        let (ours, theirs, log) = (store.clone(), store.clone(), Arc::clone(&created));
        let signs_in = move || {
            for _ in 0..20 {
                let id = *ours.create_with(of(1)).id();
                log.lock().unwrap().push(id);
            }
        };
        let revokes = move || {
            let before = created.lock().unwrap().clone();
            theirs.revoke_all(1);
            before
        };
        let ((), before) = race2(signs_in, revokes);
        assert!(before.iter().all(|id| !store.contains(id)));
        assert_eq!(store.count_of(1), store.len());
    }
}

/// The limit shares a word with the number of the session's node.
#[test]
fn activity_moves_a_listed_session_to_its_limit_and_not_beyond() {
    let minute = Duration::from_secs(60);
    let clock = ManualClock::new();
    let builder = SessionStore::<u64>::builder().index_by(|user| Some(Subject::from(*user)));
    let builder = builder.ttl(minute * 60).idle_timeout(minute * 10).clock(clock.clone());
    let store = builder.build().unwrap();
    let session = store.create_with(1);
    for step in 1..=9_u64 {
        clock.advance(minute * 6);
        assert!(store.touch(session.id()), "after {} minutes", step * 6);
        store.update(session.id(), |user| *user = 1 + step % 2).unwrap();
        store.update(session.id(), |_| ()).unwrap();
    }
    let left = store.expires_in(session.id()).unwrap();
    assert!(left <= minute * 6 && left > minute * 6 - Duration::from_millis(1), "{left:?}");
    clock.advance(minute * 6);
    assert!(!store.touch(session.id()));
}

#[test]
fn lifetimes_that_are_set_leave_a_session_in_its_subjects_list() {
    let clock = ManualClock::new();
    let builder = SessionStore::<u64>::builder().index_by(|user| Some(Subject::from(*user)));
    let store = builder.ttl(Duration::from_secs(60)).clock(clock.clone()).build().unwrap();
    let session = store.create_with(1);
    for lifetime in [Expiry::After(Duration::from_secs(6000)), Expiry::Never, Expiry::Policy] {
        assert!(store.set_expiry(session.id(), lifetime));
        assert_eq!(store.sessions_of(1).len(), 1);
        assert_eq!(store.sessions_of(1)[0].expires.is_none(), lifetime == Expiry::Never);
    }
    assert_eq!(store.revoke_all(1), 1);
}

/// Each end is told outside every lock, so whatever the listener waits for can go on: here, other people's
/// requests and sign-ins of the very subject whose sessions are being revoked.
#[test]
fn million_sessions_of_a_subject_are_revoked_while_others_are_served() {
    const SESSIONS: usize = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    /// Ends after which the revocation waits until another thread was served.
    const EVERY: usize = SESSIONS / 50;
    let (asked, asks) = mpsc::channel();
    let (served, serves) = mpsc::channel();
    let (serves, told) = (Mutex::new(serves), AtomicUsize::new(0));
    let listener = move |end: End<'_, u64>| {
        if end.cause == Cause::Revoked && told.fetch_add(1, Ordering::Relaxed) % EVERY == 0 {
            asked.send(()).unwrap();
            serves.lock().unwrap().recv().unwrap();
        }
    };
    let builder = SessionStore::<u64>::builder().index_by(|user| Some(Subject::from(*user)));
    let store = builder.on_end(listener).build().unwrap();
    let other = store.create_with(2);
    (0..SESSIONS).for_each(|_| _ = store.create_with(1));
    let revoker = thread::spawn({
        let store = store.clone();
        move || store.revoke_all(1)
    });
    let mut signed_in = 0;
    for () in asks.iter().take(50) {
        assert!(store.load(other.id()).is_some() && store.save(&other));
        assert_eq!(store.sessions_of(2).len(), 1);
        signed_in += usize::from(store.contains(store.create_with(1).id()));
        served.send(()).unwrap();
    }
    let revoked = revoker.join().unwrap();
    assert_eq!(signed_in, 50);
    assert!(revoked >= SESSIONS, "{revoked}");
    assert_eq!(store.count_of(1), SESSIONS + signed_in - revoked, "who came later may be left");
    assert_eq!(store.count_of(2), 1);
}
