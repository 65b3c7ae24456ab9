//! Two atomic updates of one session.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, store};

#[test]
fn two_updates_are_both_applied() {
    exhaustive(|| {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1)]).build().unwrap();
        let session = *store.create().id();
        let count = |count: &mut u32| {
            *count += 1;
            *count
        };

        let other = thread::spawn({
            let store = store.clone();
            move || store.update(&session, count)
        });
        let mine = store.update(&session, count);
        let other = other.join().unwrap();

        assert!(matches!((mine, other), (Some(1), Some(2)) | (Some(2), Some(1))));
        assert_eq!(*store.load(&session).unwrap(), 2);
    });
}
