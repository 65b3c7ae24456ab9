//! Owns the guests of one shard of the index: the sessions without a subject, in a ring with a hand.
//!
//! The hand passes over those that are looked at and spared, so that each comes up once a round; what is new comes up
//! last. However few guests there are among a million sessions of subjects, the next is at the hand.

use super::lists::Lists;
use super::slab::NIL;
use crate::id::SessionId;

impl Lists {
    /// Puts a node behind the hand.
    pub(super) fn welcome(&mut self, node: u32) {
        if self.hand == NIL {
            self.hand = node;
            self.nodes.set_next(node, node);
            self.nodes.set_prev(node, node);
            return;
        }
        let last = self.nodes.prev(self.hand);
        self.nodes.set_next(last, node);
        self.nodes.set_prev(node, last);
        self.nodes.set_next(node, self.hand);
        self.nodes.set_prev(self.hand, node);
    }

    /// Takes a node out of the ring.
    pub(super) fn part(&mut self, node: u32) {
        let (next, prev) = (self.nodes.next(node), self.nodes.prev(node));
        if next == node {
            self.hand = NIL;
            return;
        }
        self.nodes.set_next(prev, next);
        self.nodes.set_prev(next, prev);
        if self.hand == node {
            self.hand = next;
        }
    }

    /// Shows up to `most` guests, each once, and moves the hand past them.
    pub(super) fn pass(&mut self, most: usize, mut show: impl FnMut(u32, SessionId)) {
        let begin = self.hand;
        for _ in 0..most {
            let Some(node) = self.nodes.get(self.hand) else { return };
            show(self.hand, node.id);
            self.hand = self.nodes.next(self.hand);
            if self.hand == begin {
                return;
            }
        }
    }
}
