//! A touch of the session that a full store is about to evict.

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{Told, exhaustive, id, seconds, settle, store};

#[test]
fn touched_session_is_not_evicted_while_another_is_idle_for_longer() {
    exhaustive(|| {
        let clock = ManualClock::new();
        let told = Told::new();
        let store = store::<u32>(&clock, [id(0, 0, 1), id(1, 0, 2), id(0, 1, 3)]);
        let store = store.max_sessions(2).idle_timeout(seconds(10));
        let store = told.listen(store).build().unwrap();
        let oldest = *store.create().id();
        clock.advance(seconds(1));
        let younger = *store.create().id();
        clock.advance(seconds(1));
        settle(&store, &oldest);

        let toucher = thread::spawn({
            let store = store.clone();
            move || store.touch(&oldest)
        });
        let new = store.try_create().unwrap();
        let touched = toucher.join().unwrap();

        let (kept, evicted) = if touched { (oldest, younger) } else { (younger, oldest) };
        assert_eq!(told.ends(), [(evicted, Cause::Evicted, 0)]);
        assert!(store.contains(&kept) && store.contains(new.id()));
        assert_eq!(store.len(), 2);
    });
}
