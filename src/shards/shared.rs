//! Owns the looks at a shard under its shared lock: over a stretch of its buckets, or round from anywhere.
#![deny(unsafe_code)]

use std::ops::ControlFlow;

use super::{RwLockReadGuard, Table, full_bucket};
use crate::entry::Entry;
use crate::id::SessionId;
use crate::sync::{AtomicU64, Ordering};

/// Where a look over a stretch of buckets ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// Buckets looked at, full or not.
    pub(crate) looked: usize,
    /// The bucket to go on from, or `None` at the end of the table.
    pub(crate) next: Option<usize>,
}

/// A shard under its shared lock.
pub(crate) struct Shared<'a, T> {
    table: RwLockReadGuard<'a, Table<T>>,
    layout: &'a AtomicU64,
}

impl<'a, T> Shared<'a, T> {
    pub(super) fn new(table: RwLockReadGuard<'a, Table<T>>, layout: &'a AtomicU64) -> Self {
        Self { table, layout }
    }

    /// Changes whenever entries have moved to other buckets.
    pub(crate) fn layout(&self) -> u64 {
        // Relaxed: written under the exclusive lock, read under the shared one.
        self.layout.load(Ordering::Relaxed)
    }

    /// Shows the entries in up to `most` buckets from `from` on, until told to stop.
    pub(crate) fn look(
        &self,
        from: usize,
        most: usize,
        mut show: impl FnMut(SessionId, &Entry<T>) -> ControlFlow<()>,
    ) -> Stretch {
        let buckets = self.table.buckets();
        let end = buckets.min(from.saturating_add(most));
        let mut at = from;
        while at < end {
            let bucket = full_bucket(&self.table, at);
            at += 1;
            if bucket.is_some_and(|bucket| show(bucket.0, bucket.1.get()).is_break()) {
                break;
            }
        }
        Stretch { looked: at.saturating_sub(from), next: (at < buckets).then_some(at) }
    }

    /// Shows the entries in up to `most` buckets, each once, beginning anywhere and going round, until
    /// told to stop. Returns at how many buckets it looked.
    pub(crate) fn look_around(
        &self,
        seed: usize,
        most: usize,
        mut show: impl FnMut(SessionId, &Entry<T>) -> ControlFlow<()>,
    ) -> usize {
        let buckets = self.table.buckets();
        let most = most.min(buckets);
        for looked in 0..most {
            let bucket = full_bucket(&self.table, seed.wrapping_add(looked) % buckets);
            if bucket.is_some_and(|bucket| show(bucket.0, bucket.1.get()).is_break()) {
                return looked + 1;
            }
        }
        most
    }
}
