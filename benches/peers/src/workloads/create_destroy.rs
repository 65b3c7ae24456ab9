//! Destroys a session that was created a while ago, and creates another.

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::Peer;

use crate::filled::Ring;

/// Sessions that one thread destroys and creates.
const RING: usize = 256;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> f64 {
    crew.rate(|_| {
        let mut ring = Ring::new(filled, RING, crew.threads);
        move || ring.turn()
    })
}
