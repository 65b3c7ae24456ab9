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
/// Each belongs to the process that drew it: the child of a `fork` throws the copy away. A used id is
/// wiped from it, so that a memory dump shows no id that was handed out.
mod buffer {
    use std::cell::RefCell;

    /// Counts the forks of this process, through `pthread_atfork`.
    #[cfg(unix)]
    use forkguard::atfork::Guard;
    #[cfg(not(unix))]
    use forkguard::noop::Guard;

    /// Ids in one draw: 1 KiB, where the cost of the call is spread thin.
    const IDS: usize = 64;

    struct Buffer {
        left: usize,
        ids: [u128; IDS],
    }

    /// A buffer, and whether the process has forked since it was filled. `None` until it is used.
    type Guarded = Option<(Guard, Buffer)>;

    std::thread_local! {
        static BUFFER: RefCell<Guarded> = const { RefCell::new(None) };
    }

    pub(super) fn draw() -> Result<u128, getrandom::Error> {
        // A thread that is being torn down has no buffer any more.
        let buffered = BUFFER.try_with(|buffer| {
            let mut buffer = buffer.borrow_mut();
            let (guard, buffer) = match &mut *buffer {
                Some(guarded) => guarded,
                None => buffer.insert((guard()?, Buffer::EMPTY)),
            };
            buffer.next(guard.detected_fork())
        });
        buffered.unwrap_or_else(|_| super::from_os())
    }

    /// Begins to watch for forks, before anything is drawn that they would double.
    #[cfg(unix)]
    fn guard() -> Result<Guard, getrandom::Error> {
        Guard::try_new().map_err(|_| getrandom::Error::UNEXPECTED)
    }

    #[cfg(not(unix))]
    fn guard() -> Result<Guard, getrandom::Error> {
        Ok(Guard::default())
    }

    impl Buffer {
        const EMPTY: Self = Self { left: 0, ids: [0; IDS] };

        fn next(&mut self, forked: bool) -> Result<u128, getrandom::Error> {
            if forked || self.left == 0 {
                self.refill()?;
            }
            self.left -= 1;
            Ok(std::mem::take(&mut self.ids[self.left]))
        }

        #[cold]
        fn refill(&mut self) -> Result<(), getrandom::Error> {
            // Nothing of an unfinished draw may be handed out.
            self.left = 0;
            let mut bytes = [0; 16 * IDS];
            super::fill(&mut bytes)?;
            for (id, bytes) in self.ids.iter_mut().zip(bytes.chunks_exact(16)) {
                *id = u128::from_ne_bytes(bytes.try_into().unwrap_or_default());
            }
            self.left = IDS;
            Ok(())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn buffer_is_thrown_away_after_a_fork() {
            let mut parent = Buffer::EMPTY;
            parent.next(false).unwrap();
            let unused = parent.ids;
            let child_id = parent.next(true).unwrap();
            assert!(!unused.contains(&child_id));
            assert!(parent.ids.iter().all(|id| *id == 0 || !unused.contains(id)));
        }

        #[test]
        fn used_ids_are_wiped_from_the_buffer() {
            let mut buffer = Buffer::EMPTY;
            for _ in 0..IDS {
                let id = buffer.next(false).unwrap();
                assert_ne!(id, 0);
                assert!(!buffer.ids.contains(&id));
            }
        }
    }
}
