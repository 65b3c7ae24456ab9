//! Loads, each of the session that the one before named: the processor cannot begin a load before
//! the last one has ended.

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|thread| {
        // Spread over the tour; a thread that follows another finds nothing in its own caches.
        let mut at = thread * filled.ids.len() / crew.threads;
        move || at = filled.follow(at)
    })
}
