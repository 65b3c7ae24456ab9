//! Owns how the adapters keep data that they have to copy anyway: in one piece, where a map takes an
//! allocation for its table and one for each key and each value. That is fewer of them to make and to
//! free with each save, and fewer cache lines to wait for with each load.
//!
//! What was written is read by what is here only, in the same order.

use std::cell::RefCell;

use crate::digits;

/// What is longer is written into memory of its own, so that a thread holds no more than this.
const SCRATCH: usize = 4096;

/// Bytes that lie where they are kept, without an allocation: as many as leave a record in the memory that it would take
/// with 62 of them, as allocators round sizes up to 16 bytes with 8 of their own.
const SHORT: usize = 70;

thread_local! {
    /// Where a thread writes what is long, so that it is allocated once, when its length is known.
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
    pub(super) fn new<E>(write: impl FnOnce(&mut Writer) -> Result<(), E>) -> Result<Self, E> {
        let mut writer = Writer { len: 0, short: [0; SHORT], long: Vec::new() };
        write(&mut writer)?;
        let Writer { len, short, long } = writer;
        if len <= SHORT {
            return Ok(Self::Short { len: len as u8, bytes: short });
        }
        let packed = Self::Long(long.as_slice().into());
        if long.capacity() <= SCRATCH {
            let _ = SCRATCH_BYTES.try_with(|scratch| scratch.replace(long));
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

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.reader().0 == other.reader().0
    }
}

impl Eq for Packed {}

/// Where a piece is written: in place, as long as it is short.
pub(super) struct Writer {
    len: usize,
    short: [u8; SHORT],
    /// All of it, once it is longer.
    long: Vec<u8>,
}

impl Writer {
    #[cfg(feature = "async-session")]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) fn mark(&mut self, mark: u8) {
        self.bytes(&[mark]);
    }

    #[inline]
    pub(super) fn number(&mut self, number: u64) {
        digits::write(number, |digit| self.mark(digit));
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        match self.short.get_mut(self.len..end) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.go_on(bytes),
        }
        self.len = end;
    }

    #[cold]
    fn go_on(&mut self, bytes: &[u8]) {
        if let Some(short) = self.short.get(..self.len) {
            // New memory, if this is while the thread ends.
            self.long = SCRATCH_BYTES.try_with(RefCell::take).unwrap_or_default();
            self.long.clear();
            self.long.extend_from_slice(short);
        }
        self.long.extend_from_slice(bytes);
    }
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
        digits::read(|| self.mark())
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn what_was_written_is_read_however_long_it_is() {
        for len in 0..3 * SHORT {
            let text = "x".repeat(len);
            for cut in 0..=len {
                let (front, back) = text.split_at(cut);
                let Ok(packed) = Packed::new(|writer| {
                    writer.text(front);
                    writer.mark(7);
                    writer.text(back);
                    writer.number(u64::MAX);
                    Ok::<_, Infallible>(())
                });
                let mut read = packed.reader();
                assert_eq!((read.text(), read.mark(), read.text()), (front, 7, back));
                assert_eq!((read.number(), read.0), (u64::MAX, &[][..]));
            }
        }
    }

    #[test]
    fn thread_keeps_the_memory_it_writes_in_unless_that_is_large() {
        let kept_after = |len: usize| {
            let Ok(_) = Packed::new(|writer| {
                writer.text(&"x".repeat(len));
                Ok::<_, Infallible>(())
            });
            SCRATCH_BYTES.with_borrow(Vec::capacity)
        };
        let kept = kept_after(1000);
        assert!((1000..=SCRATCH).contains(&kept), "{kept}");
        assert_eq!((kept_after(500), kept_after(100 * SCRATCH)), (kept, 0));
    }
}
