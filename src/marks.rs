//! Owns a thread's marks: the stores, by address, that it is at work for further up its stack.
//!
//! Has no destructor, so that as a thread-local it is there as long as the thread is: user code that
//! runs while the thread ends finds its marks too. Without marks it owns no memory.

use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;

/// Marks that need no allocation: stores that call each other from their hooks are few.
const FEW: usize = 4;

/// No store has this address.
const FREE: usize = 0;

pub(crate) struct Marks {
    few: Cell<[usize; FEW]>,
    more: ManuallyDrop<RefCell<Vec<usize>>>,
}

impl Marks {
    pub(crate) const fn new() -> Self {
        let more = ManuallyDrop::new(RefCell::new(Vec::new()));
        Self { few: Cell::new([FREE; FEW]), more }
    }

    pub(crate) fn has(&self, store: usize) -> bool {
        self.few.get().contains(&store) || self.more.borrow().contains(&store)
    }

    /// Marks a store once more.
    pub(crate) fn add(&self, store: usize) {
        let mut few = self.few.get();
        match few.iter_mut().find(|mark| **mark == FREE) {
            Some(free) => *free = store,
            None => self.more.borrow_mut().push(store),
        }
        self.few.set(few);
    }

    /// Takes one of a store's marks away.
    pub(crate) fn remove(&self, store: usize) {
        let mut more = self.more.borrow_mut();
        if let Some(at) = more.iter().position(|mark| *mark == store) {
            more.swap_remove(at);
            if more.is_empty() {
                *more = Vec::new();
            }
            return;
        }
        let mut few = self.few.get();
        if let Some(mark) = few.iter_mut().find(|mark| **mark == store) {
            *mark = FREE;
        }
        self.few.set(few);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_kept_until_it_is_removed_as_often_as_it_was_added() {
        let marks = Marks::new();
        let stores = 1..=3 * FEW;
        stores.clone().for_each(|store| marks.add(store));
        stores.clone().for_each(|store| marks.add(store));
        for store in stores.clone() {
            for _ in 0..2 {
                assert!(marks.has(store));
                marks.remove(store);
            }
            assert!(!marks.has(store));
            assert!((store + 1..=*stores.end()).all(|other| marks.has(other)));
        }
        assert_eq!(marks.more.borrow().capacity(), 0);
    }
}
