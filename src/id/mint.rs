//! Owns the drawing of new ids: the only caller of the random number generator.
//!
//! Every bit of an id comes straight from the operating system. A failure there is an error, never
//! a weaker id.

use super::SessionId;
use crate::error::EntropyError;

/// Where a store's ids come from.
pub(crate) enum Mint {
    /// One call to the operating system for each id: right after a fork and after a virtual machine
    /// is restored from a snapshot, because nothing random is kept in memory.
    Os,
    /// Ids drawn many at a time and kept for the thread: see [`buffer`].
    Buffered,
    /// A caller's bits, for tests of collisions and of failing entropy.
    #[cfg(any(test, cloakroom_loom))]
    Scripted(Box<dyn Fn() -> Result<u128, getrandom::Error> + Send + Sync>),
}

impl Mint {
    pub(crate) fn draw(&self) -> Result<SessionId, EntropyError> {
        let bits = match self {
            Self::Os => from_os()?,
            Self::Buffered => buffer::draw()?,
            #[cfg(any(test, cloakroom_loom))]
            Self::Scripted(next) => next()?,
        };
        Ok(SessionId::from_bits(bits))
    }
}

fn from_os() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(u128::from_ne_bytes(bytes))
}

#[expect(clippy::disallowed_methods, reason = "the one place that draws random bytes")]
fn fill(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    getrandom::fill(bytes)
}

/// A thread's store of bytes that were drawn and not yet used.
///
/// Each belongs to the process that drew it: after a fork the child sees another process number and
/// throws the copy away. A used id is wiped from it, so that a memory dump shows no id that was
/// handed out.
mod buffer {
    use std::cell::RefCell;

    /// Ids in one draw: 1 KiB, where the cost of the call is spread thin.
    const IDS: usize = 64;

    struct Buffer {
        process: u32,
        left: usize,
        ids: [u128; IDS],
    }

    std::thread_local! {
        static BUFFER: RefCell<Buffer> =
            const { RefCell::new(Buffer { process: 0, left: 0, ids: [0; IDS] }) };
    }

    pub(super) fn draw() -> Result<u128, getrandom::Error> {
        // A thread that is being torn down has no buffer any more.
        BUFFER
            .try_with(|buffer| buffer.borrow_mut().next(std::process::id()))
            .unwrap_or_else(|_| super::from_os())
    }

    impl Buffer {
        fn next(&mut self, process: u32) -> Result<u128, getrandom::Error> {
            if self.process != process || self.left == 0 {
                self.refill(process)?;
            }
            self.left -= 1;
            Ok(std::mem::take(&mut self.ids[self.left]))
        }

        fn refill(&mut self, process: u32) -> Result<(), getrandom::Error> {
            // Nothing of an unfinished draw may be handed out.
            self.left = 0;
            let mut bytes = [0; 16 * IDS];
            super::fill(&mut bytes)?;
            for (id, bytes) in self.ids.iter_mut().zip(bytes.chunks_exact(16)) {
                *id = u128::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
            self.process = process;
            self.left = IDS;
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn buffer_is_thrown_away_when_the_process_number_changes() {
            let mut parent = Buffer { process: 0, left: 0, ids: [0; IDS] };
            parent.next(1).unwrap();
            let unused = parent.ids;
            let child_id = parent.next(2).unwrap();
            assert!(!unused.contains(&child_id));
            assert!(parent.ids.iter().all(|id| *id == 0 || !unused.contains(id)));
        }

        #[test]
        fn used_ids_are_wiped_from_the_buffer() {
            let mut buffer = Buffer { process: 0, left: 0, ids: [0; IDS] };
            for _ in 0..IDS {
                let id = buffer.next(1).unwrap();
                assert_ne!(id, 0);
                assert!(!buffer.ids.contains(&id));
            }
        }
    }
}
