//! The walks against sessions that change their id meanwhile: none escapes.
//!
//! A listener, or another thread at the walk's word, rotates them: each case is reached without a race.

use std::collections::HashSet;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};

use cloakroom::{Cause, Session, SessionStore};

/// A thread that rotates the sessions of a store, each the next time it is told to.
struct Rotator {
    turn: Sender<()>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Rotator {
    fn of(store: &SessionStore<u64>, sessions: u64) -> Self {
        let mut handles: Vec<_> = (0..sessions).map(|n| store.create_with(n)).collect();
        let (turn, turns) = channel();
        let (finished, done) = channel();
        let store = store.clone();
        let thread = thread::spawn(move || {
            // A walk of its own that is over, and one of another store, take no rotation out of its
            // path here.
            store.for_each(|_, _| ());
            let elsewhere = SessionStore::default();
            elsewhere.create_with(0_u64);
            elsewhere.for_each(|_, _| {
                for (turn, ()) in turns.iter().enumerate() {
                    let handle = turn % handles.len();
                    store.rotate(&mut handles[handle]);
                    finished.send(()).unwrap();
                }
            });
        });
        Self { turn, done, thread }
    }

    fn rotate_one(&self) {
        self.turn.send(()).unwrap();
        self.done.recv().unwrap();
    }

    fn finish(self) {
        drop(self.turn);
        self.thread.join().unwrap();
    }
}

/// Every session is to go, and others change their ids while each is judged.
#[test]
fn session_does_not_escape_a_retain_by_rotating() {
    for shards in [2, 16] {
        for sessions in [1, 20, 500] {
            let store = SessionStore::builder().shards(shards).build().unwrap();
            let rotator = Rotator::of(&store, sessions);
            let mut rotations = 5 * sessions;
            let removed = store.retain(|_, _| {
                for _ in 0..3.min(rotations) {
                    rotator.rotate_one();
                    rotations -= 1;
                }
                false
            });
            rotator.finish();
            assert_eq!((removed as u64, store.len()), (sessions, 0), "{shards} shards");
        }
    }
}

#[test]
fn walk_shows_a_session_that_rotates_meanwhile() {
    for shards in [2, 16] {
        for sessions in [2, 20, 500] {
            let store = SessionStore::builder().shards(shards).build().unwrap();
            let rotator = Rotator::of(&store, sessions);
            let mut seen = vec![false; sessions as usize];
            let mut rotations = 3 * sessions;
            store.for_each(|_, data| {
                seen[*data as usize] = true;
                if rotations > 0 {
                    rotator.rotate_one();
                    rotations -= 1;
                }
            });
            rotator.finish();
            assert!(seen.iter().all(|seen| *seen), "{shards} shards, {sessions} sessions");
        }
    }
}

#[test]
fn session_does_not_escape_a_clear_by_rotating_inside_a_walk() {
    // The listener uses the store it belongs to: a cell that each owns would keep both for ever.
    static STORE: OnceLock<SessionStore<u32>> = OnceLock::new();
    let handles: Arc<Mutex<Vec<Session<u32>>>> = Arc::default();
    let rotated = Arc::clone(&handles);
    let built = SessionStore::<u32>::builder().shards(2).on_end(move |end| {
        if end.cause == Cause::Cleared {
            let mut handles = std::mem::take(&mut *rotated.lock().unwrap());
            handles.iter_mut().for_each(|s| _ = STORE.get().unwrap().rotate(s));
        }
    });
    let store = STORE.get_or_init(|| built.build().unwrap());
    (0..200).for_each(|n| handles.lock().unwrap().push(store.create_with(n)));
    let mut left = None;
    store.for_each(|_, _| {
        _ = left.get_or_insert_with(|| {
            store.clear();
            store.len()
        })
    });
    assert_eq!((left, store.stats().cleared), (Some(0), 200));
}

#[test]
fn walk_ends_beside_a_thread_that_rotates_all_the_time() {
    let store = SessionStore::builder().shards(2).build().unwrap();
    let rotator = Rotator::of(&store, 2_000);
    let mut seen = 0;
    // A rotation for each session that is shown: before the walk is through with a shard, something
    // has always moved.
    store.for_each(|_, _| {
        rotator.rotate_one();
        seen += 1;
    });
    rotator.finish();
    assert!(seen >= 2_000, "{seen}");
}

#[test]
fn walk_whose_closure_walks_and_rotates_comes_to_an_end() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    (0..100).for_each(|n| drop(store.create_with(n)));
    let mut shown = 0;
    store.for_each(|id, _| {
        store.for_each(|_, _| ());
        assert!(store.rotate(&mut store.load(id).unwrap()));
        shown += 1;
        assert!(shown < 1_000, "the walk meets what it has rotated");
    });
    assert_eq!(store.len(), 100);
}

#[test]
fn walk_inside_a_walk_shows_once_what_was_rotated_before_it_began_and_hides_nothing_of_it() {
    let store = SessionStore::<u64>::builder().shards(2).build().unwrap();
    let mut handles: Vec<_> = (0..100).map(|n| store.create_with(n)).collect();
    let mut shown = HashSet::new();
    store.for_each(|_, data| {
        shown.insert(*data);
        if shown.len() == 1 {
            handles.iter_mut().for_each(|session| assert!(store.rotate(session)));
            let mut inner = HashSet::new();
            store.for_each(|id, _| assert!(inner.insert(*id), "shown twice"));
            assert_eq!(inner.len(), 100);
        }
    });
    assert_eq!(shown.len(), 100);
}
