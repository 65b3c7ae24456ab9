//! Loads of well-formed ids that no session has.

use std::hint::black_box;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    let unknown = filled.unknown_ids();
    crew.rate(|thread| {
        let mut at = thread * unknown.len() / crew.threads;
        move || {
            let missed = filled.store.load(black_box(&unknown[at])).is_none();
            assert!(missed, "an unknown id was found");
            at += 1;
            if at == unknown.len() {
                at = 0;
            }
        }
    })
}
