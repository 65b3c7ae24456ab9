//! The walks against sessions that change their id meanwhile: none escapes.
//!
//! Another thread rotates them at the walk's word, so that each case is reached without a race.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use cloakroom::SessionStore;

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
            for (turn, ()) in turns.iter().enumerate() {
                let handle = turn % handles.len();
                store.rotate(&mut handles[handle]);
                finished.send(()).unwrap();
            }
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
