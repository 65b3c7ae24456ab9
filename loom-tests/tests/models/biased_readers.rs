//! Readers that need no lock, and writers that wait for them. The stand-in for the shards panics if the two meet.

use cloakroom::{ManualClock, SessionId, SessionStore};
use loom::thread::{self, JoinHandle};
use std::time::Duration;

use crate::setup::{biased, id, store, store_with_drawers, surveyed};

/// A store with one session, in a shard that is biased, and a thread to read it twice.
fn one_reader() -> (SessionStore<u32>, SessionId, JoinHandle<[Option<u32>; 2]>) {
    let scripts = [id(0, 0, 1), id(0, 1, 2), id(0, 2, 3)].map(|id| vec![id]);
    let store = store_with_drawers::<u32, 3>(&ManualClock::new(), scripts).build().unwrap();
    let session = *store.create_with(7).id();
    assert!(store.contains(&session), "it leaves the shard biased");
    let reader = thread::spawn({
        let store = store.clone();
        move || [(); 2].map(|()| store.load(&session).map(|session| *session))
    });
    (store, session, reader)
}

#[test]
fn writer_waits_until_nobody_reads_without_the_lock() {
    biased(2, || {
        let (store, session, reader) = one_reader();
        let mut handle = store.load(&session).unwrap();
        *handle = 8;
        assert!(store.save(&handle));

        let read = reader.join().unwrap();
        assert!([[7, 7], [7, 8], [8, 8]].map(|read| read.map(Some)).contains(&read), "{read:?}");
    });
}

#[test]
fn destroy_is_final_for_readers_without_the_lock() {
    biased(2, || {
        let (store, session, reader) = one_reader();
        assert!(store.destroy(&session), "it is live, and nobody else destroys it");
        assert!(store.load(&session).is_none());

        let read = reader.join().unwrap();
        assert!([[Some(7), Some(7)], [Some(7), None], [None, None]].contains(&read), "{read:?}");
        assert_eq!(store.len(), 0);
    });
}

/// The one that comes in behind another finds the bias that this one has given back, and waits for whom it let in.
#[test]
fn writer_behind_a_writer_waits_until_nobody_reads_without_the_lock() {
    biased(2, || {
        let (store, session, reader) = one_reader();
        reader.join().unwrap();
        let [mut first, mut second] = [(); 2].map(|()| store.load(&session).unwrap());
        (*first, *second) = (8, 9);
        let writer = thread::spawn({
            let store = store.clone();
            move || assert!(store.save(&second))
        });
        assert!(store.save(&first));
        let read = store.load(&session).map(|session| *session);
        assert!([Some(8), Some(9)].contains(&read), "{read:?}");
        writer.join().unwrap();
    });
}

/// What its word says after a write of its own elsewhere tells so, too.
#[test]
fn reader_that_has_gone_on_to_write_elsewhere_has_left() {
    biased(2, || {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1), id(1, 0, 2)]).build().unwrap();
        let (mut handle, other) = (store.create_with(7), *store.create_with(1).id());
        assert!(store.contains(handle.id()), "it leaves this shard biased, and not the other");
        let reader = thread::spawn({
            let (store, session) = (store.clone(), *handle.id());
            move || {
                let read = [(); 2].map(|()| store.load(&session).map(|session| *session));
                assert!(store.destroy(&other));
                read
            }
        });
        *handle = 8;
        assert!(store.save(&handle));

        let read = reader.join().unwrap();
        assert!([[7, 7], [7, 8], [8, 8]].map(|read| read.map(Some)).contains(&read), "{read:?}");
    });
}

/// The second writer finds a shard that the first one took the bias of and a reader has biased again.
#[test]
fn each_of_two_writers_waits_for_readers() {
    biased(3, || {
        let (store, session, reader) = one_reader();
        let writer = thread::spawn({
            let store = store.clone();
            move || *store.create().id()
        });
        assert!(store.destroy(&session));
        let created = writer.join().unwrap();

        let read = reader.join().unwrap();
        assert!([[Some(7), Some(7)], [Some(7), None], [None, None]].contains(&read), "{read:?}");
        assert!(store.contains(&created));
        assert_eq!(store.len(), 1);
    });
}

/// The survey that begins the bias is under way while a writer comes.
#[test]
fn survey_biases_no_shard_that_a_writer_is_in() {
    surveyed(|| {
        let clock = ManualClock::new();
        let store = store::<u32>(&clock, [id(0, 0, 1)]).build().unwrap();
        let mut handle = store.create_with(7);
        for _ in 0..2 {
            clock.advance(Duration::from_millis(4));
            assert!(store.contains(handle.id()));
        }
        for _ in 0..3 {
            *handle = 8;
            assert!(store.save(&handle), "it takes the bias, and the last does not give it back");
        }
        clock.advance(Duration::from_millis(4));
        assert!(store.contains(handle.id()), "the shard is called calm");

        clock.advance(Duration::from_millis(4));
        // Its first read gets it a stripe.
        let reader = thread::spawn({
            let (store, id) = (store.clone(), *handle.id());
            move || [(); 2].map(|()| store.load(&id).map(|session| *session))
        });
        let (id, writer) = (*handle.id(), store.clone());
        let writer = thread::spawn(move || {
            *handle = 9;
            assert!(writer.save(&handle));
        });
        assert!(store.contains(&id), "it asks for the survey");
        writer.join().unwrap();
        let read = reader.join().unwrap();
        assert!([[8, 8], [8, 9], [9, 9]].map(|read| read.map(Some)).contains(&read), "{read:?}");
    });
}
