//! Owns the targets' allocator: the system's, and a count of what this thread asks of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        // Wraps where a thread frees what another has allocated.
        HELD.set(HELD.get().wrapping_add(layout.size()));
        MOST.set(MOST.get().max(HELD.get()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often `run` allocated.
#[allow(dead_code, reason = "each target counts what it bounds")]
pub(crate) fn calls(run: impl FnOnce()) -> u64 {
    let before = CALLS.get();
    run();
    CALLS.get() - before
}

/// Bytes held by this thread, to be compared with later.
pub(crate) struct Mark(usize);

impl Mark {
    pub(crate) fn now() -> Self {
        MOST.set(HELD.get());
        Self(HELD.get())
    }

    /// Panics if more bytes were held at a time, since the mark was made, than an input of `size` bytes may
    /// cost: twice that and 64 KiB, and what `size` does not tell of.
    pub(crate) fn check(&self, size: usize, besides: usize) {
        let (most, limit) = (MOST.get() - self.0, 2 * size + 64 * 1024 + besides);
        assert!(most <= limit, "{most} bytes were held, {limit} are allowed");
    }
}
