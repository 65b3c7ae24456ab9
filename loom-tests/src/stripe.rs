//! Owns the stripes of the models: a stand-in for `src/stripe.rs` with the same interface.
//!
//! A thread that ends keeps its stripe: loom has torn down what is process-wide when its main thread ends.

use std::cell::Cell;

use loom::sync::atomic::AtomicU64;

use crate::sync::Ordering;

/// More than a model has threads.
pub(crate) const OWNED: usize = 4;

pub(crate) type Stripe = usize;

loom::lazy_static! {
    static ref TAKEN: AtomicU64 = AtomicU64::new(0);
}

loom::thread_local! {
    static STRIPE: Cell<Option<Stripe>> = Cell::new(None);
}

pub(crate) fn mine() -> Option<Stripe> {
    STRIPE.with(Cell::get)
}

pub(crate) fn ask() -> bool {
    if mine().is_some() {
        return false;
    }
    let lowest_free = |taken: u64| Some(taken | (taken + 1));
    let before = TAKEN.fetch_update(Ordering::SeqCst, Ordering::Relaxed, lowest_free);
    let stripe = before.map_or(OWNED, |taken| taken.trailing_ones() as usize);
    assert!(stripe < OWNED, "a stripe for each thread");
    STRIPE.with(|mine| mine.set(Some(stripe)));
    true
}

/// All of a model's threads are few.
pub(crate) fn are_few() -> bool {
    true
}

pub(crate) fn taken() -> impl Iterator<Item = Stripe> {
    let taken = TAKEN.load(Ordering::SeqCst);
    (0..OWNED).filter(move |stripe| taken & 1 << stripe != 0)
}
