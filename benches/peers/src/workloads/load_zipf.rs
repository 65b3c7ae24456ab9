//! Loads by a zipf distribution: a few sessions are asked for most of the time.

use std::hint::black_box;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

use crate::random::zipf;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|thread| {
        let mut drawn = zipf(filled.ids.len(), thread).into_iter().cycle();
        move || {
            let at = drawn.next().unwrap_or_default();
            black_box(filled.follow(at as usize));
        }
    })
}
