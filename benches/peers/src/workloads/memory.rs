//! Heap bytes per session: what was requested and is held once a store is full, the store itself
//! included, without the payload's 56 bytes taken off.

use super::Figures;
use crate::allocator;
use crate::peer::{Cleanup, Payload, Peer, Settings};
use crate::report::{Column, Unit};

pub const COLUMNS: &[Column] =
    &[Column::new("heap per session", Unit::Bytes), Column::new("beyond the payload", Unit::Bytes)];

pub fn run<P: Peer>(sessions: usize) -> Figures {
    let (store, bytes) = allocator::growth(|| {
        let store = P::open(&Settings::lasting(sessions));
        for next in 0..sessions {
            drop(store.create(Payload::naming(next)));
        }
        if P::CLEANUP == Cleanup::ByUseAndPurge {
            // What it has put off.
            store.purge();
        }
        store
    });
    drop(store);
    let each = bytes as f64 / sessions as f64;
    vec![Some(each), Some(each - size_of::<Payload>() as f64)]
}
