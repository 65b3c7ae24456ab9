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
    /// A mark that was set while there was no other: nearly always the only one.
    only: Cell<usize>,
    few: Cell<[usize; FEW]>,
    more: ManuallyDrop<RefCell<Vec<usize>>>,
    /// How many marks there are beside `only`.
    others: Cell<usize>,
}

impl Marks {
    pub(crate) const fn new() -> Self {
        let more = ManuallyDrop::new(RefCell::new(Vec::new()));
        Self { only: Cell::new(FREE), few: Cell::new([FREE; FEW]), more, others: Cell::new(0) }
    }

    /// Marks a store, unless it is marked already. Tells whether it was not.
    #[inline]
    pub(crate) fn add(&self, store: usize) -> bool {
        if self.only.get() == FREE && self.others.get() == 0 {
            self.only.set(store);
            return true;
        }
        self.add_beside(store)
    }

    /// Takes a store's mark away.
    #[inline]
    pub(crate) fn remove(&self, store: usize) {
        if self.only.get() == store {
            self.only.set(FREE);
        } else {
            self.remove_beside(store);
        }
    }

    fn has(&self, store: usize) -> bool {
        self.only.get() == store
            || self.few.get().contains(&store)
            || self.more.borrow().contains(&store)
    }

    #[cold]
    fn add_beside(&self, store: usize) -> bool {
        if self.has(store) {
            return false;
        }
        let mut few = self.few.get();
        match few.iter_mut().find(|mark| **mark == FREE) {
            Some(free) => *free = store,
            None => self.more.borrow_mut().push(store),
        }
        self.few.set(few);
        self.others.set(self.others.get() + 1);
        true
    }

    #[cold]
    fn remove_beside(&self, store: usize) {
        let mut more = self.more.borrow_mut();
        let mut few = self.few.get();
        if let Some(mark) = few.iter_mut().find(|mark| **mark == store) {
            *mark = FREE;
        } else if let Some(at) = more.iter().position(|mark| *mark == store) {
            more.swap_remove(at);
            if more.is_empty() {
                *more = Vec::new();
            }
        } else {
            return;
        }
        self.few.set(few);
        self.others.set(self.others.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_is_kept_until_it_is_removed() {
        let marks = Marks::new();
        let stores = 1..=3 * FEW;
        // From the first, and from the last: what was the only mark goes first, and last.
        for backwards in [false, true] {
            assert!(stores.clone().all(|store| marks.add(store)));
            assert!(!stores.clone().any(|store| marks.add(store)));
            let mut left: Vec<usize> = stores.clone().collect();
            if backwards {
                left.reverse();
            }
            while let Some(store) = left.pop() {
                marks.remove(store);
                assert!(!marks.has(store));
                assert!(left.iter().all(|other| marks.has(*other)));
                assert!(marks.add(store), "once more");
                marks.remove(store);
            }
            assert_eq!((marks.more.borrow().capacity(), marks.others.get()), (0, 0));
        }
    }
}
