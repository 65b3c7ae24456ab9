//! 90 % loads, 8 % saves of a session loaded for it, as a request does, and 2 % times a session
//! destroyed and another created.

use std::hint::black_box;

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

use crate::filled::Ring;
use crate::peer::Payload;
use crate::random::Random;

/// Sessions that one thread destroys and creates.
const RING: usize = 64;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|thread| {
        let mut random = Random::new(thread);
        let mut ring = Ring::new(filled, RING, crew.threads);
        move || match random.below(100) {
            0..90 => {
                black_box(filled.follow(random.below(filled.ids.len())));
            }
            90..98 => {
                let mut handle = filled.load(random.below(filled.ids.len()));
                let payload = Payload::naming(P::next(&handle));
                filled.store.save(&mut handle, payload);
            }
            _ => ring.turn(),
        }
    })
}
