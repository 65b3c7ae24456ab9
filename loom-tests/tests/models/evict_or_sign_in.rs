//! A guest who signs in while a full store looks for one to evict.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{bounded, id, store, subject};

/// Not explored in full, because a create that finds nothing to evict yet tries again and again.
#[test]
fn guest_is_evicted_before_it_signs_in_or_not_at_all() {
    bounded(|| {
        let store = store::<u32>(&ManualClock::new(), [id(0, 0, 1), id(1, 0, 2)]);
        let store = store.index_by(subject).max_sessions(1).build().unwrap();
        let guest = *store.create().id();

        let signs_in = thread::spawn({
            let store = store.clone();
            move || store.update(&guest, |user| *user = 1).is_some()
        });
        let created = store.try_create().is_ok();
        let signed_in = signs_in.join().unwrap();

        assert_eq!((store.contains(&guest), created), (signed_in, !signed_in));
        assert_eq!((store.count_of(1), store.len()), (usize::from(signed_in), 1));
    });
}
