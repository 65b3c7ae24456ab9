//! A destroy between touches that slide the deadline.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{bounded, id, seconds, settle, store};

#[test]
fn destroy_is_final_against_touches_on_both_sides() {
    bounded(|| {
        let clock = ManualClock::new();
        let store = store::<u32>(&clock, [id(0, 0, 1)]).idle_timeout(seconds(10)).build().unwrap();
        let session = *store.create().id();
        clock.advance(seconds(1));
        settle(&store, &session);

        let toucher = thread::spawn({
            let store = store.clone();
            move || store.touch(&session)
        });
        let destroyer = thread::spawn({
            let store = store.clone();
            move || {
                assert!(store.destroy(&session), "it was live, and nobody else destroys it");
                assert!(!store.touch(&session), "destroyed is destroyed");
            }
        });
        let _ = store.touch(&session);
        let _ = toucher.join().unwrap();
        destroyer.join().unwrap();

        assert!(!store.contains(&session));
        assert_eq!(store.len(), 0);
    });
}
