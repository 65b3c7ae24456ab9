//! Two threads that destroy one session.

use cloakroom::{Cause, ManualClock};
use loom::thread;

use crate::setup::{Told, exhaustive, id, store};

#[test]
fn one_of_two_destroys_is_true_and_one_end_is_told() {
    exhaustive(|| {
        let told = Told::new();
        let store = told.listen(store::<u32>(&ManualClock::new(), [id(0, 0, 1)])).build().unwrap();
        let session = *store.create_with(7).id();

        let other = thread::spawn({
            let store = store.clone();
            move || store.destroy(&session)
        });
        let mine = store.destroy(&session);
        let other = other.join().unwrap();

        assert!(mine ^ other, "exactly one of them ended it");
        assert_eq!(told.ends(), [(session, Cause::Destroyed, 7)]);
        assert_eq!(store.len(), 0);
    });
}
