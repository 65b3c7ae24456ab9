//! The gate before a shard's lock: readers make way for a waiting writer, and not for ever.

use cloakroom::{ManualClock, SessionId, SessionStore, watch};
use loom::thread;

use crate::setup::{bounded, exhaustive, id, store_with_drawers};

/// A store with one session, and two threads to create another in the same shard.
fn one_session() -> (SessionStore<u32>, SessionId) {
    let scripts = [id(0, 0, 1), id(0, 1, 2), id(0, 2, 3)].map(|id| vec![id]);
    let store = store_with_drawers::<u32, 3>(&ManualClock::new(), scripts).build().unwrap();
    let session = *store.create().id();
    (store, session)
}

fn assert_gate_is_open(store: &SessionStore<u32>, session: &SessionId) {
    let before = watch::snoozes();
    assert!(store.contains(session));
    assert_eq!(watch::snoozes(), before, "nobody waits any more");
}

/// The one pass is of a reader that looked at the gate before the writer's announcement reached it.
#[test]
fn looping_reader_passes_a_parked_writer_at_most_once() {
    exhaustive(|| {
        let (store, session) = one_session();
        let writer = thread::spawn({
            let store = store.clone();
            move || *store.create().id()
        });
        for _ in 0..4 {
            assert!(store.contains(&session));
        }
        let created = writer.join().unwrap();

        assert!(watch::passes() <= 1, "{} readers passed the writer", watch::passes());
        assert!(store.contains(&created));
        assert_gate_is_open(&store, &session);
    });
}

/// A walk has no one session to ask for, and enters each shard by another door.
#[test]
fn looping_walk_passes_a_parked_writer_at_most_once() {
    exhaustive(|| {
        let (store, session) = one_session();
        let writer = thread::spawn({
            let store = store.clone();
            move || *store.create().id()
        });
        for _ in 0..3 {
            store.for_each(|_, _| ());
        }
        let created = writer.join().unwrap();

        assert!(watch::passes() <= 1, "{} walks passed the writer", watch::passes());
        assert!(store.contains(&created));
        assert_gate_is_open(&store, &session);
    });
}

#[test]
fn reader_backs_off_for_a_bounded_while_however_many_writers_come() {
    bounded(|| {
        let (store, session) = one_session();
        let writers = [(); 2].map(|()| {
            let store = store.clone();
            thread::spawn(move || *store.create().id())
        });
        assert!(store.contains(&session));
        let created = writers.map(|writer| writer.join().unwrap());

        // The one reader's; the back-off of a model is completed by its second snooze.
        assert!(watch::snoozes() <= 2, "{} snoozes", watch::snoozes());
        assert!(created.iter().all(|id| store.contains(id)));
        assert_gate_is_open(&store, &session);
    });
}
