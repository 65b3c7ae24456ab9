//! Owns what a session weighs: user code's answer, as the store counts it.

use crate::error::SaveError;

/// Says how many bytes a session's data takes.
pub(crate) type Weigher<T> = Box<dyn Fn(&T) -> usize + Send + Sync>;

/// A bound in bytes, and who says how many a session takes.
pub(crate) struct Scales<T> {
    pub(crate) max_bytes: u64,
    pub(crate) weigher: Weigher<T>,
}

/// A session's data is larger than the whole store may be, or than a session may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl From<TooLarge> for SaveError {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

impl<T> Scales<T> {
    /// Weighs data. Runs user code. Everything weighs something, so that making room comes to an end.
    pub(crate) fn weigh(&self, data: &T) -> Result<u32, TooLarge> {
        let bytes = (self.weigher)(data).max(1);
        let weight = u32::try_from(bytes).map_err(|_| TooLarge)?;
        if u64::from(weight) <= self.max_bytes { Ok(weight) } else { Err(TooLarge) }
    }
}
