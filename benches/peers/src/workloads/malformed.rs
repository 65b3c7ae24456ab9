//! Loads by a text that is no id, in stores that take text.

use std::hint::black_box;

use crate::check::MALFORMED;
use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> Option<f64> {
    filled.store.load_malformed(MALFORMED)?;
    Some(crew.rate(|_| {
        move || {
            let found = filled.store.load_malformed(black_box(MALFORMED));
            assert!(found == Some(false), "a malformed id was found");
        }
    }))
}
