//! Loads of one session by all threads: what they share is one lock and one reference count.

use std::hint::black_box;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|_| {
        move || {
            black_box(filled.follow(0));
        }
    })
}
