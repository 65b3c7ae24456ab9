//! Owns the lists of one shard of the index: for each subject its sessions, the newest first.
//!
//! A list is linked both ways, so that any of a million nodes leaves it at once. The first node of each list
//! has no node before it; its `prev` leads to the next list in the same bucket instead, so that a subject
//! with one session costs a node and its part of the buckets.

use super::slab::{Key, MARKER, NIL, Node, STRUCK, Slab};

/// Set in the `prev` of a list's first node.
const FIRST: u32 = 1 << 31;

/// Subjects to a bucket, on average and at the most: a look-up compares half as many.
const CROWDED: usize = 3;

/// Places for buckets that are kept although none is there yet, at the least.
const SPARE: usize = 64;

#[derive(Default)]
pub(super) struct Lists {
    pub(super) nodes: Slab,
    /// The first nodes of each bucket. For every third list that comes one bucket is split, and joined again as lists go,
    /// so that no session waits for all of them to be distributed anew (linear hashing: Litwin, VLDB 1980).
    heads: Vec<u32>,
    /// One less than the power of two that holds the buckets.
    mask: usize,
    /// How many lists there are.
    lists: usize,
    /// How many sessions are in lists.
    pub(super) sessions: usize,
    /// The guest to be looked at next, or `NIL`: see `guests.rs`.
    pub(super) hand: u32,
}

impl Lists {
    /// There is a bucket.
    fn bucket(&self, key: Key) -> usize {
        let bucket = key.bits() & self.mask;
        // What is to be split yet stands for both halves.
        if bucket < self.heads.len() { bucket } else { bucket & (self.mask >> 1) }
    }

    fn key(&self, node: u32) -> Option<Key> {
        self.nodes.get(node).map(|node| node.key)
    }

    /// Returns the first node of a subject's list, or `NIL`.
    pub(super) fn first(&self, key: Key) -> u32 {
        if self.heads.is_empty() {
            return NIL;
        }
        let mut head = self.heads[self.bucket(key)];
        while head != NIL && self.key(head) != Some(key) {
            head = self.nodes.prev(head) & !FIRST;
        }
        head
    }

    /// Tells whether a list holds at least so many sessions.
    pub(super) fn holds(&self, key: Key, many: usize) -> bool {
        self.from(self.first(key)).filter(|(_, node)| node.is_session()).nth(many - 1).is_some()
    }

    /// Returns the nodes from `node` on.
    pub(super) fn from(&self, node: u32) -> impl Iterator<Item = (u32, Node)> {
        let mut at = node;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at)?;
            let this = at;
            at = self.nodes.next(at);
            Some((this, node))
        })
    }

    /// Puts a node first in its subject's list.
    pub(super) fn push(&mut self, node: u32, key: Key) {
        let head = self.first(key);
        if head == NIL {
            self.lists += 1;
            self.grow();
            let bucket = self.bucket(key);
            self.nodes.set_prev(node, FIRST | self.heads[bucket]);
            self.heads[bucket] = node;
        } else {
            self.replace(key, head, node);
            self.nodes.set_prev(node, self.nodes.prev(head));
            self.nodes.set_prev(head, node);
        }
        self.nodes.set_next(node, head);
    }

    /// Puts a node behind another of the same list.
    pub(super) fn put_behind(&mut self, node: u32, other: u32) {
        let next = self.nodes.next(other);
        self.nodes.set_next(other, node);
        self.nodes.set_prev(node, other);
        self.nodes.set_next(node, next);
        if next != NIL {
            self.nodes.set_prev(next, node);
        }
    }

    /// Takes a node out of its list.
    pub(super) fn unlink(&mut self, node: u32, key: Key) {
        let (next, prev) = (self.nodes.next(node), self.nodes.prev(node));
        if prev & FIRST == 0 {
            self.nodes.set_next(prev, next);
            if next != NIL {
                self.nodes.set_prev(next, prev);
            }
        } else if next != NIL {
            self.replace(key, node, next);
            self.nodes.set_prev(next, prev);
        } else {
            self.replace(key, node, prev & !FIRST);
            self.lists -= 1;
            self.shrink();
        }
    }

    /// Puts a session first in its subject's list, or among the guests.
    pub(super) fn enlist(&mut self, node: u32, key: Key) {
        if key == Key::GUEST {
            self.welcome(node);
        } else {
            self.push(node, key);
            self.sessions += 1;
        }
    }

    /// Takes a session out of wherever it is in.
    pub(super) fn dismiss(&mut self, number: u32, node: &Node) {
        debug_assert_ne!(node.born, MARKER);
        if node.born == STRUCK {
            return;
        }
        if node.key == Key::GUEST {
            self.part(number);
        } else {
            self.unlink(number, node.key);
            self.sessions -= 1;
        }
    }

    /// Puts a list's other first node, or the next list in the bucket, where `old` was.
    fn replace(&mut self, key: Key, old: u32, new: u32) {
        let bucket = self.bucket(key);
        let mut head = self.heads[bucket];
        if head == old {
            self.heads[bucket] = new;
            return;
        }
        loop {
            let next = self.nodes.prev(head) & !FIRST;
            if next == old {
                self.nodes.set_prev(head, FIRST | new);
                return;
            }
            head = next;
        }
    }

    /// Splits the next bucket if the lists are worth one more.
    fn grow(&mut self) {
        let buckets = self.heads.len();
        if self.heads.capacity() > 4 * buckets.max(SPARE) {
            self.heads.shrink_to(2 * buckets);
        }
        if self.lists > buckets * CROWDED {
            if buckets == self.heads.capacity() {
                self.heads.reserve_exact(buckets / 16 + 4);
            }
            self.heads.push(NIL);
            self.mask = self.heads.len().next_power_of_two() - 1;
            if let Some(level) = buckets.checked_ilog2() {
                let split = buckets - (1 << level);
                let head = std::mem::replace(&mut self.heads[split], NIL);
                self.distribute(head);
            }
        }
    }

    /// Joins the last bucket with the one that it was split from, if the lists are not worth it; without them there is
    /// no memory. Allocates nothing.
    fn shrink(&mut self) {
        if self.lists == 0 {
            self.heads = Vec::new();
        } else if self.lists < self.heads.len() {
            let head = self.heads.pop().unwrap_or(NIL);
            self.mask = self.heads.len().next_power_of_two() - 1;
            self.distribute(head);
        }
    }

    /// Puts the lists of a bucket into those where they belong now.
    fn distribute(&mut self, mut head: u32) {
        while head != NIL {
            let next = self.nodes.prev(head) & !FIRST;
            if let Some(key) = self.key(head) {
                let bucket = self.bucket(key);
                self.nodes.set_prev(head, FIRST | self.heads[bucket]);
                self.heads[bucket] = head;
            }
            head = next;
        }
    }

    /// Returns the memory that is in use, the allocator's own share left out.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.heads.capacity() * size_of::<u32>() + self.nodes.bytes()
    }

    /// Tells whether there is no list and no memory for one.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let none = self.lists == 0 && self.sessions == 0 && self.hand == NIL;
        none && self.heads.capacity() == 0 && self.nodes.is_bare()
    }
}
