//! Two rotations that need the same two shards, in opposite order.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, store_with_drawers};

#[test]
fn opposite_rotations_do_not_wait_for_each_other() {
    exhaustive(|| {
        let scripts = [vec![id(0, 0, 1), id(1, 0, 2), id(1, 1, 3)], vec![id(0, 1, 4)]];
        let store = store_with_drawers::<u32, 2>(&ManualClock::new(), scripts).build().unwrap();
        let mut low = store.create();
        let mut high = store.create();

        let other = thread::spawn({
            let store = store.clone();
            move || {
                assert!(store.rotate(&mut high));
                *high.id()
            }
        });
        assert!(store.rotate(&mut low));
        let high = other.join().unwrap();

        assert!(store.contains(low.id()) && store.contains(&high));
        assert_eq!(store.len(), 2);
    });
}
