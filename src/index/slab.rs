//! Owns the nodes of one shard of the index: where they lie, and that their memory comes back.
//!
//! Nodes lie in chunks, field beside field, so that a node has no padding; a chunk that is empty is freed, and no
//! node ever moves. Node 0 is nobody's: it stands for the end of a list.

use crate::id::SessionId;

/// The end of a list, and the node that is never given out.
pub(super) const NIL: u32 = 0;

/// Nodes to a chunk: one word of bits says which are in use.
const CHUNK: usize = u64::BITS as usize;

/// `Node::born` of a walk's marker.
pub(super) const MARKER: u32 = u32::MAX;

/// `Node::born` of a node whose session was found gone before whoever ended it said so.
pub(super) const STRUCK: u32 = u32::MAX - 1;

/// The last second that `Node::born` can say: 136 years after the clock's origin.
pub(super) const LAST_BORN: u32 = u32::MAX - 2;

/// Whose list a node is in: 79 bits of a keyed hash of the subject.
///
/// Among a hundred million subjects two meet with a chance of 1 in 10^8, and nobody can aim at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    high: u64,
    low: u16,
}

impl Key {
    /// The guests': no subject's, whose low half has 15 bits.
    pub(super) const GUEST: Self = Self { high: 0, low: u16::MAX };

    pub(super) fn new(high: u64, low: u16) -> Self {
        Self { high, low: low >> 1 }
    }

    /// Returns the bits to choose a bucket by.
    pub(super) fn bits(self) -> usize {
        self.high as usize
    }
}

struct Chunk {
    used: u64,
    ids: [SessionId; CHUNK],
    high: [u64; CHUNK],
    next: [u32; CHUNK],
    prev: [u32; CHUNK],
    born: [u32; CHUNK],
    low: [u16; CHUNK],
}

// A session's share of the index, but for its subject's place in the heads.
const _: () = assert!(size_of::<Chunk>() / CHUNK <= 38);

/// One node, for whoever reads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: SessionId,
    pub(super) key: Key,
    /// When the session was created, in seconds of the clock; or what else the node is.
    pub(super) born: u32,
}

impl Node {
    pub(super) fn is_session(&self) -> bool {
        self.born <= LAST_BORN
    }
}

#[derive(Default)]
pub(super) struct Slab {
    /// An empty chunk has no memory.
    chunks: Vec<Option<Box<Chunk>>>,
    /// The chunks with room; the last is used first.
    roomy: Vec<u32>,
    /// What the sessions of each chunk weigh, in a store that asks: apart, because most do not.
    weights: Vec<Option<Box<[u32; CHUNK]>>>,
    /// What all guests weigh together.
    guests_weigh: u64,
}

impl Slab {
    /// Returns a node for a session, or `None` if there are as many as `limit`.
    pub(super) fn take(&mut self, node: Node, limit: u32) -> Option<u32> {
        if self.roomy.is_empty() {
            let chunk = u32::try_from(self.chunks.len()).ok()?;
            if chunk >= limit / CHUNK as u32 {
                return None;
            }
            self.chunks.push(None);
            // For all chunks: a load may give nodes back, and must not allocate.
            self.roomy.reserve(self.chunks.len());
            self.roomy.push(chunk);
        }
        let at = *self.roomy.last()?;
        let chunk = self.chunks[at as usize].get_or_insert_with(|| Chunk::new(at, node.id));
        let free = chunk.used.trailing_ones() as usize;
        chunk.used |= 1 << free;
        if chunk.used == u64::MAX {
            self.roomy.pop();
        }
        chunk.ids[free] = node.id;
        (chunk.high[free], chunk.low[free]) = (node.key.high, node.key.low);
        chunk.born[free] = node.born;
        (chunk.next[free], chunk.prev[free]) = (NIL, NIL);
        Some(at * CHUNK as u32 + free as u32)
    }

    /// Gives a node back.
    pub(super) fn give_back(&mut self, node: u32) {
        let (at, place) = split(node);
        let chunk = self.chunk_mut(node);
        let was_full = chunk.used == u64::MAX;
        chunk.used &= !(1 << place);
        // Of the first chunk, node 0 is never free.
        if chunk.used == Chunk::reserved(at as u32) {
            self.chunks[at] = None;
            if let Some(weights) = self.weights.get_mut(at) {
                *weights = None;
            }
        }
        if was_full {
            self.roomy.push(at as u32);
        }
    }

    /// Returns what a node's session weighs: 0 until that was set.
    pub(super) fn weight(&self, node: u32) -> u32 {
        let (at, place) = split(node);
        let weights = self.weights.get(at).and_then(Option::as_ref);
        weights.map_or(0, |weights| weights[place])
    }

    pub(super) fn set_weight(&mut self, node: u32, weight: u32) {
        let (at, place) = split(node);
        if self.weights.len() <= at {
            self.weights.resize_with(at + 1, || None);
        }
        let weights = self.weights[at].get_or_insert_with(|| Box::new([0; CHUNK]));
        let weighed = std::mem::replace(&mut weights[place], weight);
        if self.get(node).is_some_and(|node| node.key == Key::GUEST) {
            self.guests_weigh = self.guests_weigh - u64::from(weighed) + u64::from(weight);
        }
    }

    /// Takes off what a node's session weighs, and returns that.
    pub(super) fn lighten(&mut self, node: u32) -> u32 {
        let weight = self.weight(node);
        if weight > 0 {
            self.set_weight(node, 0);
        }
        weight
    }

    /// Returns what all guests weigh together, with those that have just left the table.
    pub(super) fn guests_weigh(&self) -> u64 {
        self.guests_weigh
    }

    /// Returns a node, or `None` if there is none of that number.
    pub(super) fn get(&self, node: u32) -> Option<Node> {
        let (at, place) = split(node);
        let chunk = self.chunks.get(at)?.as_ref().filter(|chunk| chunk.used >> place & 1 == 1)?;
        let key = Key { high: chunk.high[place], low: chunk.low[place] };
        (node != NIL).then(|| Node { id: chunk.ids[place], key, born: chunk.born[place] })
    }

    fn chunk(&self, node: u32) -> &Chunk {
        match &self.chunks[split(node).0] {
            Some(chunk) => chunk,
            None => unreachable!("a node in a list is in use"),
        }
    }

    fn chunk_mut(&mut self, node: u32) -> &mut Chunk {
        match &mut self.chunks[split(node).0] {
            Some(chunk) => chunk,
            None => unreachable!("a node in a list is in use"),
        }
    }

    pub(super) fn next(&self, node: u32) -> u32 {
        self.chunk(node).next[split(node).1]
    }

    pub(super) fn prev(&self, node: u32) -> u32 {
        self.chunk(node).prev[split(node).1]
    }

    pub(super) fn set_next(&mut self, node: u32, next: u32) {
        self.chunk_mut(node).next[split(node).1] = next;
    }

    pub(super) fn set_prev(&mut self, node: u32, prev: u32) {
        self.chunk_mut(node).prev[split(node).1] = prev;
    }

    pub(super) fn set_id(&mut self, node: u32, id: SessionId) {
        self.chunk_mut(node).ids[split(node).1] = id;
    }

    pub(super) fn set_born(&mut self, node: u32, born: u32) {
        self.chunk_mut(node).born[split(node).1] = born;
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count() * size_of::<Chunk>();
        let weights = self.weights.capacity() * size_of::<usize>();
        chunks + weights + self.chunks.capacity() * size_of::<usize>() + self.roomy.capacity() * 4
    }

    /// Tells whether no chunk has memory.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        let none = self.guests_weigh == 0 && self.chunks.iter().all(Option::is_none);
        none && self.weights.iter().all(Option::is_none)
    }
}

impl Chunk {
    fn new(at: u32, id: SessionId) -> Box<Self> {
        Box::new(Self {
            used: Self::reserved(at),
            ids: [id; CHUNK],
            high: [0; CHUNK],
            next: [NIL; CHUNK],
            prev: [NIL; CHUNK],
            born: [0; CHUNK],
            low: [0; CHUNK],
        })
    }

    /// Returns the nodes of a chunk that are never given out: node 0.
    fn reserved(at: u32) -> u64 {
        u64::from(at == 0)
    }
}

fn split(node: u32) -> (usize, usize) {
    (node as usize / CHUNK, node as usize % CHUNK)
}
