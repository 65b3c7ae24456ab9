//! Owns the index: which sessions are whose.
//!
//! Each session of a subject has a node in that subject's list, from before it enters the table until after it has
//! left it, and the session's record holds the node's number, so that whoever ends a session finds its node
//! without a search and without asking user code again. A node that is found without its session, because
//! whoever ended that has yet to say so here, is struck out by whoever finds it.
//!
//! # Locks
//!
//! Each shard of the index has a lock of its own, and a subject's list is in one shard. A thread that holds one of
//! these may hold one of the table's, taken before, and takes no other lock while it holds it. Nodes enter lists,
//! change them and change their ids under the table's lock for that id: so whoever holds that lock and finds the
//! session missing knows that its node is of the past.

mod guests;
mod lists;
mod slab;

use crossbeam_utils::CachePadded;

use self::lists::Lists;
use self::slab::{Key, LAST_BORN, MARKER, NIL, Node, STRUCK};
use crate::clock::Tick;
use crate::id::SessionId;
use crate::subject::Subject;
use crate::sync::{AtomicUsize, Mutex, Ordering, RandomState};

/// Shards at the most: some for each core.
const MAX_SHARDS: usize = 64;

/// Nodes that one step of a walk passes under the lock: some microseconds if none is in a cache.
pub(crate) const STEP: usize = 64;

/// Nodes of a shard that no session takes.
const MARKERS: u32 = 64;

/// Nanoseconds of a second.
const SECOND: u64 = 1_000_000_000;

/// The number of a node: its shard in the lowest bits, less than 2^31 and never 0.
pub(crate) type Slot = u32;

/// The sessions of all subjects.
pub(crate) struct Index {
    shards: Box<[CachePadded<Mutex<Lists>>]>,
    keys: [RandomState; 2],
    /// Counts the looks for guests, each of which begins in the next shard.
    looks: CachePadded<AtomicUsize>,
}

/// Where a subject's list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    shard: u32,
    key: Key,
}

/// A subject has as many sessions as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// What became of a node that was in a list under an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is there.
    Here,
    /// Its session was rotated.
    Renamed(SessionId),
    /// It is in no list, or in another's.
    Gone,
}

impl Index {
    /// `table_shards` is a power of two.
    pub(crate) fn new(table_shards: usize) -> Self {
        let lists = || CachePadded::new(Mutex::new(Lists::default()));
        let shards = (0..table_shards.min(MAX_SHARDS)).map(|_| lists()).collect();
        let looks = CachePadded::new(AtomicUsize::new(0));
        Self { shards, keys: Default::default(), looks }
    }

    /// Returns where a subject's list is.
    pub(crate) fn locate(&self, subject: &Subject) -> Located {
        let [high, low] = subject.spread(&self.keys);
        let shard = (low >> 32) as u32 & (self.shards.len() as u32 - 1);
        Located { shard, key: Key::new(high, low as u16) }
    }

    fn split(&self, slot: Slot) -> (usize, u32) {
        (slot as usize & (self.shards.len() - 1), slot >> self.shards.len().trailing_zeros())
    }

    fn slot(&self, shard: u32, node: u32) -> Slot {
        node << self.shards.len().trailing_zeros() | shard
    }

    fn lists(&self, shard: u32) -> impl std::ops::DerefMut<Target = Lists> {
        self.shards[shard as usize].lock()
    }

    /// Puts a session into a subject's list, unless that holds `limit` already.
    pub(crate) fn add(
        &self,
        at: &Located,
        id: SessionId,
        born: u32,
        limit: usize,
    ) -> Result<Slot, Full> {
        let mut lists = self.lists(at.shard);
        let limited = limit != usize::MAX && at.key != Key::GUEST;
        if limited && lists.holds(at.key, limit) {
            return Err(Full);
        }
        let node = self.take(&mut lists, Node { id, key: at.key, born }).ok_or(Full)?;
        lists.enlist(node, at.key);
        Ok(self.slot(at.shard, node))
    }

    /// Tells whether a subject has as many sessions as `limit`, the dead that are still listed among them.
    pub(crate) fn is_full(&self, at: &Located, limit: usize) -> bool {
        self.lists(at.shard).holds(at.key, limit)
    }

    /// Returns where a guest is kept: anywhere, so that guests do not all meet at one lock.
    pub(crate) fn among_guests(&self, id: SessionId) -> Located {
        let shard = id.low_bits() & (self.shards.len() - 1);
        Located { shard: shard as u32, key: Key::GUEST }
    }

    /// Looks for guests that may make room, up to `most`, in another shard each time, and passes them to `sample`.
    /// Returns how many sessions have a subject, if it found fewer.
    pub(crate) fn sample_guests(
        &self,
        most: usize,
        sample: &mut Vec<(Slot, SessionId)>,
    ) -> Option<usize> {
        // Relaxed: the word stands alone.
        let (begin, mut sessions) = (self.looks.fetch_add(1, Ordering::Relaxed), 0);
        for step in 0..self.shards.len() {
            let shard = begin.wrapping_add(step) & (self.shards.len() - 1);
            let mut lists = self.lists(shard as u32);
            lists.pass(most - sample.len(), |node, id| {
                sample.push((self.slot(shard as u32, node), id));
            });
            sessions += lists.sessions;
            if sample.len() == most {
                return None;
            }
        }
        Some(sessions)
    }

    fn take(&self, lists: &mut Lists, node: Node) -> Option<u32> {
        // The last ones are left for markers, so that a shard full of sessions can be walked through.
        let spare = if node.is_session() { MARKERS } else { 0 };
        lists.nodes.take(node, (1 << 31 >> self.shards.len().trailing_zeros()) - spare)
    }

    /// Returns when a session was created, in seconds of the clock, if it is not where it is to be.
    pub(crate) fn born_elsewhere(&self, slot: Slot, to: &Located) -> Option<u32> {
        self.node(slot).filter(|node| node.key != to.key).map(|node| node.born)
    }

    fn node(&self, slot: Slot) -> Option<Node> {
        let (shard, node) = self.split(slot);
        self.lists(shard as u32).nodes.get(node)
    }

    /// Returns what a session weighs.
    pub(crate) fn weight(&self, slot: Slot) -> u32 {
        let (shard, node) = self.split(slot);
        self.lists(shard as u32).nodes.weight(node)
    }

    /// Returns what all guests weigh together: what they could give back.
    pub(crate) fn guests_weigh(&self) -> u64 {
        let guests =
            (0..self.shards.len()).map(|shard| self.lists(shard as u32).nodes.guests_weigh());
        guests.sum()
    }

    /// Returns what a session weighs, if it is a guest.
    pub(crate) fn guest_weight(&self, slot: Slot) -> u32 {
        if self.has_subject(slot) { 0 } else { self.weight(slot) }
    }

    /// Takes note of what a session weighs now.
    pub(crate) fn set_weight(&self, slot: Slot, weight: u32) {
        let (shard, node) = self.split(slot);
        self.lists(shard as u32).nodes.set_weight(node, weight);
    }

    /// Takes off what a session weighs that has left the table, and returns that.
    pub(crate) fn lighten(&self, slot: Slot) -> u32 {
        let (shard, node) = self.split(slot);
        self.lists(shard as u32).nodes.lighten(node)
    }

    /// Takes a session that has left the table out of its list, and returns what it weighed.
    pub(crate) fn remove(&self, slot: Slot) -> u32 {
        let (shard, number) = self.split(slot);
        let mut lists = self.lists(shard as u32);
        let Some(node) = lists.nodes.get(number) else { return 0 };
        let weight = lists.nodes.lighten(number);
        lists.dismiss(number, &node);
        lists.nodes.give_back(number);
        weight
    }

    /// Gives a session's node its new id, in the same place of the list. Called under the table's locks for
    /// both ids.
    pub(crate) fn rename(&self, slot: Slot, id: SessionId) {
        let (shard, node) = self.split(slot);
        self.lists(shard as u32).nodes.set_id(node, id);
    }

    /// Returns what became of a node that was in a list under an id. Called under the table's lock for that id.
    pub(crate) fn standing(&self, slot: Slot, at: &Located, id: SessionId) -> Standing {
        match self.node(slot).filter(|node| node.is_session() && node.key == at.key) {
            Some(node) if node.id == id => Standing::Here,
            Some(node) => Standing::Renamed(node.id),
            None => Standing::Gone,
        }
    }

    /// Like [`standing`](Self::standing), of a session that is not in the table: its node is struck out, and
    /// waits for whoever took the session out of the table.
    pub(crate) fn strike(&self, slot: Slot, at: &Located, id: SessionId) -> Standing {
        let (shard, number) = self.split(slot);
        let mut lists = self.lists(shard as u32);
        match lists.nodes.get(number).filter(|node| node.is_session() && node.key == at.key) {
            Some(node) if node.id == id => {
                lists.dismiss(number, &node);
                lists.nodes.set_born(number, STRUCK);
                Standing::Gone
            }
            Some(node) => Standing::Renamed(node.id),
            None => Standing::Gone,
        }
    }

    /// Tells whether a node is in a subject's list.
    pub(crate) fn has_subject(&self, slot: Slot) -> bool {
        self.node(slot).is_some_and(|node| node.key != Key::GUEST)
    }

    /// Returns when a session was created, in seconds of the clock.
    pub(crate) fn born(&self, slot: Slot) -> Option<u32> {
        self.node(slot).map(|node| node.born)
    }

    /// Returns a subject's sessions, the newest first: for lists whose length is limited.
    pub(crate) fn sessions(&self, at: &Located) -> Vec<(Slot, SessionId)> {
        let lists = self.lists(at.shard);
        let nodes = lists.from(lists.first(at.key)).filter(|(_, node)| node.is_session());
        nodes.map(|(number, node)| (self.slot(at.shard, number), node.id)).collect()
    }

    /// Begins to walk through a subject's sessions, the newest first; `None` if it has none.
    pub(crate) fn walk(&self, at: &Located) -> Option<Walk<'_>> {
        let mut lists = self.lists(at.shard);
        let (_, first) = lists.from(lists.first(at.key)).next()?;
        let marker = self.take(&mut lists, Node { born: MARKER, ..first })?;
        lists.push(marker, at.key);
        Some(Walk { index: self, at: *at, marker })
    }

    /// Tells whether no node and no memory is left.
    #[cfg(test)]
    pub(crate) fn is_bare(&self) -> bool {
        self.shards.iter().all(|lists| lists.lock().is_bare())
    }
}

/// A walk through a subject's list: a node of its own says how far it has come, so that a step takes no longer
/// in a long list than in a short one, whatever enters and leaves it meanwhile.
pub(crate) struct Walk<'a> {
    index: &'a Index,
    at: Located,
    marker: u32,
}

impl Walk<'_> {
    /// Adds the next sessions to the list, each with its node. Returns `false` at the end.
    ///
    /// What was in the list when the walk began, and still is, is met once; what entered it since is not met.
    pub(crate) fn step(&mut self, sessions: &mut Vec<(Slot, SessionId)>) -> bool {
        let mut lists = self.index.lists(self.at.shard);
        let next = lists.nodes.next(self.marker);
        let mut last = NIL;
        for (number, node) in lists.from(next).take(STEP) {
            last = number;
            if node.is_session() {
                sessions.push((self.index.slot(self.at.shard, number), node.id));
            }
        }
        if last != NIL {
            lists.unlink(self.marker, self.at.key);
            lists.put_behind(self.marker, last);
        }
        last != NIL
    }
}

impl Drop for Walk<'_> {
    fn drop(&mut self) {
        let mut lists = self.index.lists(self.at.shard);
        lists.unlink(self.marker, self.at.key);
        lists.nodes.give_back(self.marker);
    }
}

/// Returns a time in the seconds that nodes keep.
pub(crate) fn seconds(now: Tick) -> u32 {
    u32::try_from(now / SECOND).map_or(LAST_BORN, |seconds| seconds.min(LAST_BORN))
}

/// Returns the time that nodes keep as so many seconds.
pub(crate) fn tick(seconds: u32) -> Tick {
    u64::from(seconds) * SECOND
}

#[cfg(test)]
mod tests;
