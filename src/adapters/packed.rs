//! Owns how the adapters keep data that they have to copy anyway: in one piece, where a map takes an
//! allocation for its table and one for each key and each value. That is fewer of them to make and to
//! free with each save, and fewer cache lines to wait for with each load.
//!
//! What was written is read by what is here only, in the same order.

use std::cell::RefCell;

/// Bits in a digit of a number. The next one says whether another digit follows.
const DIGIT: u32 = 6;

/// What is longer is written into memory of its own, so that a thread holds no more than this.
const SCRATCH: usize = 4096;

/// Bytes that lie where they are kept, without an allocation: with their length and a tag, a cache line.
const SHORT: usize = 62;

thread_local! {
    /// Where a thread writes, so that each piece is allocated once, when its length is known.
    static SCRATCH_BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Data in one piece.
#[derive(Clone)]
pub(super) enum Packed {
    Short { len: u8, bytes: [u8; SHORT] },
    Long(Box<[u8]>),
}

impl Packed {
    /// Keeps what `write` writes.
    pub(super) fn new<E>(write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<Self, E> {
        // New ones, if this is while the thread ends.
        let mut bytes = SCRATCH_BYTES.try_with(RefCell::take).unwrap_or_default();
        bytes.clear();
        write(&mut bytes)?;
        let packed = Self::from(bytes.as_slice());
        if bytes.capacity() <= SCRATCH {
            let _ = SCRATCH_BYTES.try_with(|scratch| scratch.replace(bytes));
        }
        Ok(packed)
    }

    #[inline]
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader(match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(bytes) => bytes,
        })
    }
}

impl From<&[u8]> for Packed {
    #[inline]
    fn from(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                Self::Short { len: bytes.len() as u8, bytes: short }
            }
            None => Self::Long(bytes.into()),
        }
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.reader().0 == other.reader().0
    }
}

impl Eq for Packed {}

#[inline]
pub(super) fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >> DIGIT != 0 {
        bytes.push((number & 63) as u8 | 64);
        number >>= DIGIT;
    }
    bytes.push(number as u8);
}

#[inline]
pub(super) fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads what was written, from the front.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn mark(&mut self) -> u8 {
        let (mark, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *mark
    }

    #[inline]
    pub(super) fn number(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let digit = self.mark();
            number |= u64::from(digit & 63) << shift;
            shift += DIGIT;
            if digit & 64 == 0 {
                return number;
            }
        }
    }

    #[inline]
    fn bytes(&mut self) -> &'a [u8] {
        let len = self.number() as usize;
        let (bytes, rest) = self.0.split_at_checked(len).unwrap_or_default();
        self.0 = rest;
        bytes
    }

    pub(super) fn text(&mut self) -> &'a str {
        // It was text when it was written.
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Like [`text`](Self::text): the copy is looked at, which is aligned.
    #[inline]
    pub(super) fn string(&mut self) -> String {
        String::from_utf8(self.bytes().to_vec()).unwrap_or_default()
    }
}
