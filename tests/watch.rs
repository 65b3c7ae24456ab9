//! Waiting for the end of a session: every cause, every race, and nothing left over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use cloakroom::{Cause, ManualClock, OnLimit, Session, SessionStore, Subject, Watch};

mod stress;

use stress::{race2, rounds};

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn poll(watch: &mut Watch<u64>, bell: &Arc<Bell>) -> Poll<Cause> {
    let waker = Waker::from(Arc::clone(bell));
    Pin::new(watch).poll(&mut Context::from_waker(&waker))
}

#[test]
fn watch_resolves_with_the_cause_of_every_end() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().index_by(|user| Some(Subject::from(*user)));
    let store = store.max_per_subject(1, OnLimit::RevokeOldest).clock(clock.clone());
    let store = store.ttl(Duration::from_secs(60)).build().unwrap();
    type End<'a> = &'a dyn Fn(&mut Session<u64>);
    let ends: [(Cause, End<'_>); 7] = [
        (Cause::Destroyed, &|session| assert!(store.destroy(session.id()))),
        (Cause::Destroyed, &|_| assert_eq!(store.retain(|_, _| false), 1)),
        (Cause::Cleared, &|_| store.clear()),
        (Cause::Revoked, &|_| assert_eq!(store.revoke_all(7), 1)),
        (Cause::Displaced, &|_| _ = store.create_with(7)),
        (Cause::Rotated, &|session| assert!(store.rotate(session))),
        (Cause::Expired, &|_| {
            clock.advance(Duration::from_secs(60));
            assert_eq!(store.purge_expired(), 1);
        }),
    ];
    for (cause, end) in ends {
        let mut session = store.create_with(7);
        let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
        let mut watches = [(); 2].map(|()| store.watch(session.id()).unwrap());
        for (watch, bell) in watches.iter_mut().zip(&bells) {
            assert_eq!(poll(watch, bell), Poll::Pending);
        }
        end(&mut session);
        for (watch, bell) in watches.iter_mut().zip(&bells) {
            assert_eq!((bell.rung(), poll(watch, bell)), (1, Poll::Ready(cause)));
            assert_eq!(poll(watch, bell), Poll::Ready(cause), "it stays so");
        }
        store.clear();
    }
}

#[test]
fn evicted_session_ends_its_watch_too() {
    let store = SessionStore::<u64>::builder().max_sessions(1).build().unwrap();
    let watch = store.watch(store.create().id()).unwrap();
    store.create();
    assert_eq!(watch.wait(), Cause::Evicted);
}

#[test]
fn poll_alone_notices_that_the_session_has_expired() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().clock(clock.clone());
    let store = store.idle_timeout(Duration::from_secs(60)).build().unwrap();
    let session = store.create();
    let bell = Arc::new(Bell::default());
    let mut watch = store.watch(session.id()).unwrap();
    clock.advance(Duration::from_secs(40));
    assert_eq!(poll(&mut watch, &bell), Poll::Pending, "and is no use of it");
    clock.advance(Duration::from_secs(20));
    assert_eq!(poll(&mut watch, &bell), Poll::Ready(Cause::Expired));
    assert!(store.is_empty());
}

#[test]
fn dead_or_unknown_session_cannot_be_watched() {
    let clock = ManualClock::new();
    let store = SessionStore::<u64>::builder().clock(clock.clone());
    let store = store.ttl(Duration::from_secs(60)).build().unwrap();
    let session = store.create();
    assert!(store.watch("nobody").is_none());
    clock.advance(Duration::from_secs(60));
    assert!(store.watch(session.id()).is_none());
}

#[test]
fn watch_is_woken_by_its_last_waker_only_and_not_after_it_is_dropped() {
    let store = SessionStore::<u64>::builder().build().unwrap();
    let session = store.create();
    let (old, new, other) =
        (Arc::<Bell>::default(), Arc::<Bell>::default(), Arc::<Bell>::default());
    let mut watch = store.watch(session.id()).unwrap();
    let mut dropped = store.watch(session.id()).unwrap();
    assert!(poll(&mut watch, &old).is_pending() && poll(&mut watch, &new).is_pending());
    assert!(poll(&mut dropped, &other).is_pending());
    drop(dropped);
    store.destroy(session.id());
    assert_eq!((old.rung(), new.rung(), other.rung()), (0, 1, 0));
}

/// Calls the store when it is woken.
struct Calls(SessionStore<u64>, fn(&SessionStore<u64>));

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        (self.1)(&self.0);
    }
}

#[test]
fn waker_may_call_the_store_and_may_panic() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let watched: Vec<_> = (0..3).map(|_| store.create()).collect();
    let mut last = store.watch(store.try_create_with_id("the last", 0).unwrap().id()).unwrap();
    let calls: [fn(&SessionStore<u64>); 3] = [
        |store| assert!(store.destroy("the last")),
        |_| panic!("a waker"),
        |store| _ = store.create(),
    ];
    let mut watches: Vec<_> = watched.iter().map(|it| store.watch(it.id()).unwrap()).collect();
    for (watch, call) in watches.iter_mut().zip(calls) {
        let waker = Waker::from(Arc::new(Calls(store.clone(), call)));
        assert!(Pin::new(watch).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let bell = Arc::default();
    assert!(poll(&mut last, &bell).is_pending());
    assert!(watched.iter().all(|session| store.destroy(session.id())));
    assert_eq!((store.len(), store.stats().panics, bell.rung()), (1, 1, 1));
}

#[test]
fn thread_that_waits_is_woken() {
    for _ in 0..rounds(200) {
        let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
        let id = *store.create().id();
        let watch = store.watch(&id).unwrap();
        let (cause, ended) = race2(move || watch.wait(), move || store.destroy(&id));
        assert_eq!((cause, ended), (Cause::Destroyed, true));
    }
}

#[test]
fn thread_that_waits_wakes_when_the_session_expires_in_a_silent_store() {
    let store = SessionStore::<u64>::builder().ttl(Duration::from_millis(20)).build().unwrap();
    if let Some(watch) = store.watch(store.create().id()) {
        assert_eq!(watch.wait(), Cause::Expired);
    }
}

#[test]
fn watch_that_begins_while_the_session_ends_is_refused_or_resolves() {
    for _ in 0..rounds(2_000) {
        let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
        let id = *store.create().id();
        let (ours, theirs) = (store.clone(), store.clone());
        let (watch, ended) = race2(move || ours.watch(&id), move || theirs.destroy(&id));
        assert!(ended);
        if let Some(mut watch) = watch {
            assert_eq!(poll(&mut watch, &Arc::default()), Poll::Ready(Cause::Destroyed));
        }
    }
}

#[test]
fn watch_shows_no_id_in_its_debug_output() {
    let store = SessionStore::new(3600);
    let session = store.create();
    let text = format!("{:?}", store.watch(session.id()));
    assert!(text.contains("Watch") && !text.contains(session.id().to_token().as_str()));
}

/// Whoever waits has been told how long the session would live, and sleeps as long.
#[test]
fn watch_is_woken_when_the_session_is_to_end_sooner() {
    let store = SessionStore::<u64>::builder().clock(ManualClock::new()).build().unwrap();
    let session = store.create();
    let bell = Arc::new(Bell::default());
    let mut watch = store.watch(session.id()).unwrap();
    assert_eq!(poll(&mut watch, &bell), Poll::Pending);
    assert!(store.set_expiry(session.id(), Duration::from_secs(60)));
    assert_eq!(bell.rung(), 1);
    assert_eq!(poll(&mut watch, &bell), Poll::Pending);
    assert!(store.set_expiry(session.id(), Duration::ZERO));
    assert_eq!(bell.rung(), 2);
    assert_eq!(watch.wait(), Cause::Expired);
}
