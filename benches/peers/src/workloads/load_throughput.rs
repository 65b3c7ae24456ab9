//! Loads of random sessions: the processor can overlap the waits of one load with the next one's.

use std::hint::black_box;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

use crate::random::Random;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|thread| {
        let mut random = Random::new(thread);
        move || {
            black_box(filled.follow(random.below(filled.ids.len())));
        }
    })
}
