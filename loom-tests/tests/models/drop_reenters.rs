//! A value whose `Drop` uses the store, while another thread works on the same shard.

use std::sync::{Arc, Mutex};

use cloakroom::{ManualClock, SessionId, SessionStore};
use loom::thread;

use crate::setup::{exhaustive, id, store_with_drawers};

/// Ends another session when it is dropped.
#[derive(Clone, Default)]
struct Parting {
    /// Emptied at the end of the model: the store would otherwise own itself.
    last_act: Option<Arc<Mutex<LastAct>>>,
}

type LastAct = Option<(SessionStore<Parting>, SessionId)>;

impl Drop for Parting {
    fn drop(&mut self) {
        let act = self.last_act.take().and_then(|act| act.lock().unwrap().take());
        if let Some((store, other)) = act {
            assert!(store.destroy(&other));
        }
    }
}

#[test]
fn drop_may_use_the_shard_that_its_session_left() {
    exhaustive(|| {
        let scripts = [vec![id(0, 0, 1), id(0, 1, 2)], vec![id(0, 2, 3)]];
        let store = store_with_drawers::<Parting, 2>(&ManualClock::new(), scripts).build().unwrap();
        let other = *store.create().id();
        let act = Arc::new(Mutex::new(Some((store.clone(), other))));
        let parting = *store.create_with(Parting { last_act: Some(act) }).id();

        let worker = thread::spawn({
            let store = store.clone();
            move || *store.create().id()
        });
        assert!(store.destroy(&parting));
        let created = worker.join().unwrap();

        assert!(!store.contains(&other), "the drop ended it");
        assert!(store.contains(&created));
        assert_eq!(store.len(), 1);
    });
}
