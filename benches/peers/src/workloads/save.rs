//! Saves through handles that were loaded before, so that the load is not part of it.

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

use crate::peer::Payload;
use crate::random::Random;

/// Handles of one thread at the most: they keep what they were loaded with alive.
const HANDLES: usize = 4096;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|thread| {
        let mut random = Random::new(thread);
        let many = (filled.ids.len() / crew.threads).clamp(1, HANDLES);
        let load = |_| filled.load(random.below(filled.ids.len()));
        let mut handles: Vec<_> = (0..many).map(load).collect();
        let mut at = 0;
        move || {
            let handle = &mut handles[at];
            // Names the same session, so that the tour stays whole.
            let payload = Payload::naming(P::next(handle));
            filled.store.save(handle, payload);
            at += 1;
            if at == many {
                at = 0;
            }
        }
    })
}
