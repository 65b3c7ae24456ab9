//! The walks against sessions that change their id meanwhile: none escapes.
//!
//! The closures rotate sessions themselves, so that each case is reached without a race.

use cloakroom::{Session, SessionStore};

fn store_of(sessions: u64, shards: usize) -> (SessionStore<u64>, Vec<Session<u64>>) {
    let store = SessionStore::builder().shards(shards).build().unwrap();
    let handles = (0..sessions).map(|n| store.create_with(n)).collect();
    (store, handles)
}

#[test]
fn session_does_not_escape_a_retain_by_rotating() {
    for shards in [2, 16] {
        for sessions in [1, 20, 500] {
            let (store, mut handles) = store_of(sessions, shards);
            let mut rotations = 5 * sessions;
            let removed = store.retain(|_, _| {
                // All are to go, and all change their ids a few times while they are judged.
                for handle in handles.iter_mut().take(rotations as usize) {
                    if store.rotate(handle) {
                        rotations = rotations.saturating_sub(1);
                    }
                }
                false
            });
            assert_eq!(
                (removed as u64, store.len()),
                (sessions, 0),
                "{shards} shards"
            );
        }
    }
}

#[test]
fn walk_shows_a_session_that_rotates_meanwhile() {
    for shards in [2, 16] {
        for sessions in [2, 20, 500] {
            let (store, mut handles) = store_of(sessions, shards);
            let mut seen = vec![false; sessions as usize];
            let mut left = 3 * sessions as usize;
            store.for_each(|_, data| {
                seen[*data as usize] = true;
                let turn = left % handles.len();
                left = left.saturating_sub(1);
                if left > 0 {
                    assert!(store.rotate(&mut handles[turn]));
                }
            });
            assert!(
                seen.iter().all(|seen| *seen),
                "{shards} shards, {sessions} sessions"
            );
        }
    }
}
