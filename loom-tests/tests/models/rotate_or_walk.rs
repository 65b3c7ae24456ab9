//! A rotation from a shard that a walk has yet to visit to one that it has been in.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, store_with_drawers};

#[test]
fn no_session_escapes_a_clear_by_rotating_behind_it() {
    exhaustive(|| {
        let scripts = [vec![id(1, 0, 1)], vec![id(0, 0, 2)]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).build().unwrap();
        let mut session = store.create();

        let rotator = thread::spawn({
            let store = store.clone();
            move || {
                store.rotate(&mut session);
                *session.id()
            }
        });
        store.clear();
        let last = rotator.join().unwrap();

        assert!(!store.contains(&last));
        assert_eq!(store.len(), 0);
    });
}

#[test]
fn walk_sees_a_session_that_rotates_meanwhile() {
    exhaustive(|| {
        let scripts = [vec![id(1, 0, 1)], vec![id(0, 0, 2)]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).build().unwrap();
        let mut session = store.create();

        let rotator = thread::spawn({
            let store = store.clone();
            move || assert!(store.rotate(&mut session))
        });
        let mut seen = 0;
        store.for_each(|_, _| seen += 1);
        rotator.join().unwrap();

        assert!(seen == 1 || seen == 2, "under one id or both: {seen}");
    });
}
