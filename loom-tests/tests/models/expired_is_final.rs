//! A session seen expired, and a touch that still works with an older reading of the clock.

use std::time::Duration;

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, seconds, settle, store};

#[test]
fn session_seen_expired_is_not_revived_by_a_stale_touch() {
    exhaustive(|| {
        let moment = Duration::from_nanos(1);
        let clock = ManualClock::new();
        let store = store::<u32>(&clock, [id(0, 0, 1)]).idle_timeout(seconds(10)).build().unwrap();
        let session = *store.create().id();
        clock.advance(seconds(10) - moment);
        settle(&store, &session);

        let toucher = thread::spawn({
            let store = store.clone();
            move || store.touch(&session)
        });
        clock.advance(moment);
        let live = store.contains(&session);
        let still_live = store.peek(&session).is_some();
        let touched = toucher.join().unwrap();

        let answers = [live, still_live, store.contains(&session)];
        assert_eq!(answers, [touched; 3], "the first answer is the last");
    });
}
