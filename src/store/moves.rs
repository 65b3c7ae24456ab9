//! Owns which sessions changed their id while a walk was under way, so that no walk misses one.
//!
//! A walk goes from shard to shard; a session that is rotated meanwhile may go from where the walk has yet
//! to come to where it has been. While any walk is under way, rotations are therefore noted, and each walk
//! ends by looking at those.

use std::collections::HashSet;

use crate::id::SessionId;
use crate::sync::{AtomicUsize, Mutex, Ordering};

/// The rotations that walks under way have to know of.
pub(super) struct Moves {
    /// How many walks are under way: `Log::walks`, to be read without the lock.
    walks: AtomicUsize,
    log: Mutex<Log>,
}

#[derive(Default)]
struct Log {
    walks: usize,
    /// Old and new ids, in the order of the rotations.
    moved: Vec<(SessionId, SessionId)>,
}

/// Whether a walk is done with a session that it was to look at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    Yes,
    /// It was not there: ended, or rotated again.
    No,
}

impl Moves {
    pub(super) fn new() -> Self {
        Self { walks: AtomicUsize::new(0), log: Mutex::default() }
    }

    /// Notes a rotation. Called under the locks of both shards, so that whoever finds the old id gone
    /// finds the rotation noted.
    pub(super) fn note(&self, old: SessionId, new: SessionId) {
        // Relaxed: a walk raises it before its first lock, so it is seen under the lock of any shard
        // that a walk has been in.
        if self.walks.load(Ordering::Relaxed) > 0 {
            let mut log = self.log.lock();
            if log.walks > 0 {
                log.moved.push((old, new));
            }
        }
    }

    /// Begins a walk.
    pub(super) fn follow(&self) -> Walk<'_> {
        let mut log = self.log.lock();
        log.walks += 1;
        // Relaxed, here and in `drop`: see `note`.
        self.walks.fetch_add(1, Ordering::Relaxed);
        Walk { moves: self, read: log.moved.len() }
    }
}

/// A walk under way.
pub(super) struct Walk<'a> {
    moves: &'a Moves,
    /// How much of the log this walk has read.
    read: usize,
}

impl Walk<'_> {
    /// Calls `meet` with the id of every session that was rotated since the walk began, until each was
    /// met once or has ended.
    pub(super) fn catch_up(mut self, mut meet: impl FnMut(SessionId) -> Met) {
        let mut missed: Option<HashSet<SessionId>> = None;
        loop {
            let mut ids = HashSet::new();
            for (old, new) in self.unread() {
                // At first all that moved; then those that had moved on when they were to be met.
                let follows = missed.as_mut().is_none_or(|missed| missed.remove(&old));
                if ids.remove(&old) || follows {
                    ids.insert(new);
                }
            }
            if ids.is_empty() {
                return;
            }
            missed = Some(ids.into_iter().filter(|id| meet(*id) == Met::No).collect());
        }
    }

    fn unread(&mut self) -> Vec<(SessionId, SessionId)> {
        let log = self.moves.log.lock();
        let unread = log.moved[self.read..].to_vec();
        self.read = log.moved.len();
        unread
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        let mut log = self.moves.log.lock();
        log.walks -= 1;
        self.moves.walks.fetch_sub(1, Ordering::Relaxed);
        if log.walks == 0 {
            log.moved = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_kept_as_long_as_any_walk_is_under_way_and_no_longer() {
        let moves = Moves::new();
        let id = |number| SessionId::from_bits(number);
        moves.note(id(1), id(2));
        let (first, mut second) = (moves.follow(), moves.follow());
        moves.note(id(3), id(4));
        drop(first);
        assert_eq!(second.unread(), [(id(3), id(4))]);
        moves.note(id(4), id(5));
        assert_eq!(second.unread(), [(id(4), id(5))]);
        let mut late = moves.follow();
        assert!(late.unread().is_empty(), "what was before it began is not its business");
        drop((second, late));
        assert_eq!(moves.log.lock().moved.capacity(), 0);
        moves.note(id(5), id(6));
        assert!(moves.follow().unread().is_empty());
    }
}
