//! Creates until the size is reached, in a new store, whose growth is part of it. One thread, and
//! up to 2 M sessions.

use std::time::{Duration, Instant};

use crate::crew::Crew;
use crate::filled::Filled;
use crate::peer::{Payload, Peer, Settings};

/// Sessions at the most: beside the filled store, larger ones might not fit into memory.
const LARGEST: usize = 2_000_000;

pub fn run<P: Peer>(filled: &Filled<P>, crew: &Crew) -> Option<f64> {
    let sessions = filled.ids.len();
    if crew.threads > 1 || sessions > LARGEST {
        return None;
    }
    let (mut created, mut spent) = (0, Duration::ZERO);
    while spent < crew.duration {
        let store = P::open(&Settings::lasting(sessions));
        let begin = Instant::now();
        for next in 0..sessions {
            std::hint::black_box(store.create(Payload::naming(next)));
        }
        spent += begin.elapsed();
        created += sessions;
    }
    Some(created as f64 / spent.as_secs_f64())
}
