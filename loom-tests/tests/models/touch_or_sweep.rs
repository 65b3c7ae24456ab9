//! A session that is touched in the last moment of its idle time, while another thread sees it over.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, seconds, settle, store};

#[test]
fn touched_session_is_never_swept() {
    exhaustive(|| {
        let clock = ManualClock::new();
        let ids = [id(0, 0, 1), id(1, 0, 2)];
        let store = store::<u32>(&clock, ids).idle_timeout(seconds(10)).build().unwrap();
        let session = *store.create().id();
        clock.advance(seconds(9));
        settle(&store, &session);

        let toucher = thread::spawn({
            let store = store.clone();
            move || store.touch(&session)
        });
        clock.advance(seconds(1));
        store.purge_expired();
        let touched = toucher.join().unwrap();

        assert_eq!(store.contains(&session), touched, "touched is live, and else it is over");
        if touched {
            assert_eq!(store.len(), 1);
        }
    });
}
