//! Two saves and a destroy of one session.

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{Told, bounded, id, store};

#[test]
fn no_save_brings_a_destroyed_session_back() {
    bounded(|| {
        let told = Told::new();
        let store = told.listen(store::<u32>(&ManualClock::new(), [id(0, 0, 1)])).build().unwrap();
        let session = store.create_with(7);
        let id = *session.id();

        let savers = [8, 9].map(|data| {
            let (store, mut session) = (store.clone(), session.clone());
            thread::spawn(move || {
                *session = data;
                store.save(&session)
            })
        });
        assert!(store.destroy(&id), "it was live, and nobody else destroys it");
        let saved = savers.map(|saver| saver.join().unwrap());

        assert!(store.load(&id).is_none());
        assert_eq!(store.len(), 0);
        let last: &[u32] = match saved {
            [false, false] => &[7],
            [true, false] => &[8],
            [false, true] => &[9],
            [true, true] => &[8, 9],
        };
        let [(ended, Cause::Destroyed, data)] = told.ends()[..] else {
            panic!("one end, of a destroyed session: {:?}", told.ends());
        };
        assert_eq!(ended, id);
        assert!(last.contains(&data), "the last data saved is told: {data} of {last:?}");
    });
}
