//! Two touches of one session, of which one read the clock later.

use cloakroom::ManualClock;
use loom::thread;

use crate::setup::{exhaustive, id, seconds, settle, store};

#[test]
fn session_lives_as_long_as_the_later_of_two_touches_says() {
    exhaustive(|| {
        let clock = ManualClock::new();
        let store = store::<u32>(&clock, [id(0, 0, 1)]).idle_timeout(seconds(10)).build().unwrap();
        let session = *store.create().id();
        clock.advance(seconds(1));
        settle(&store, &session);

        let early = thread::spawn({
            let store = store.clone();
            move || store.touch(&session)
        });
        clock.advance(seconds(1));
        assert!(store.touch(&session));
        assert!(early.join().unwrap());

        assert_eq!(store.expires_in(&session), Some(seconds(10)));
    });
}
