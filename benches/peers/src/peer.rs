//! Owns what a store must be able to do to be measured, and the data that every store holds.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

/// 56 bytes. The first word is the index of the session that a chain of loads visits next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload(pub [u64; 7]);

impl Payload {
    /// Returns the payload that names `next`; the other words are filled from it.
    pub fn naming(next: usize) -> Self {
        let mut words = [next as u64; 7];
        for (i, word) in words.iter_mut().enumerate().skip(1) {
            *word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i as u64;
        }
        Self(words)
    }

    pub fn next(&self) -> usize {
        self.0[0] as usize
    }
}

/// The payload for stores that hold text: names and values of 56 bytes together.
pub mod text {
    /// Names an attribute with the index of the next session, 8 digits.
    pub const NEXT: &str = "next";
    /// Names the attribute that fills up to 56 bytes.
    pub const USER: &str = "user";
    /// 40 bytes.
    pub const FILLING: &str = "0123456789abcdef0123456789abcdef01234567";

    pub fn digits(next: usize) -> String {
        format!("{next:08}")
    }

    pub fn parse(digits: &str) -> usize {
        digits.parse().expect("the harness wrote digits")
    }
}

/// What a workload asks of a new store.
#[derive(Clone, Copy)]
pub struct Settings {
    /// How long a session lives after its creation, in stores that have lifetimes.
    pub ttl: Duration,
    /// How many sessions will be in it, for stores that must know.
    pub sessions: usize,
    /// Shards, for stores that have such a setting; `None` is the store's default.
    pub shards: Option<usize>,
}

impl Settings {
    pub fn lasting(sessions: usize) -> Self {
        let ttl = Duration::from_secs(12 * 3600);
        Self { ttl, sessions, shards: None }
    }
}

/// What a store can be told about the end of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lifetimes {
    /// Nothing: it is no session store.
    None,
    /// One lifetime for the whole store.
    OfStore,
    /// A lifetime for each session.
    OfSession,
}

/// How expired sessions leave a store, by its documentation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Never.
    Never,
    /// By itself, as it is used.
    ByUse,
    /// When `purge` is called.
    ByPurge,
    /// By itself, as it is used; `purge` makes it prompt and may be called again and again.
    ByUseAndPurge,
}

/// A store under measurement.
pub trait Peer: Send + Sync + Sized + 'static {
    /// What a cookie would carry, in the form in which the store takes it.
    type Id: Clone + Send + Sync;
    /// What a request holds after a load.
    type Handle: Send;

    const NAME: &'static str;
    const LIFETIMES: Lifetimes;
    const CLEANUP: Cleanup;

    fn open(settings: &Settings) -> Self;

    /// Stores a new session under a new id of the store's own making.
    fn create(&self, payload: Payload) -> Self::Id;

    /// Stores a new session that ends at `deadline`. Only asked of stores whose lifetimes are
    /// [`Lifetimes::OfSession`].
    fn create_until(&self, payload: Payload, deadline: Instant) -> Self::Id {
        let _ = deadline;
        self.create(payload)
    }

    fn load(&self, id: &Self::Id) -> Option<Self::Handle>;

    /// Returns the index that a loaded session's payload names.
    fn next(handle: &Self::Handle) -> usize;

    /// Stores `payload` in place of what the handle was loaded with.
    fn save(&self, handle: &mut Self::Handle, payload: Payload);

    fn destroy(&self, id: &Self::Id);

    /// Returns a well-formed id that no store knows.
    fn unknown_id() -> Self::Id;

    /// Loads by a text that is no id and tells whether there was a session. `None`: the store takes
    /// no text.
    fn load_malformed(&self, text: &str) -> Option<bool> {
        let _ = text;
        None
    }

    /// Runs the store's own cleanup.
    fn purge(&self) {}

    /// Returns how many sessions are stored, expired ones that still take memory included. `None`:
    /// the store does not tell.
    fn stored(&self) -> Option<usize>;
}

/// A random id for the stores that have no generator: one call to the operating system, as
/// cloakroom does.
///
/// Aligned to 8 bytes, so that it makes a bucket with a pointer 24 bytes and not 32, and hashed in
/// one step: the best that a user of these maps can do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u64; 2]);

impl Key {
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let bits = u128::from_ne_bytes(bytes);
        Self([(bits >> 64) as u64, bits as u64])
    }

    pub fn bits(self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.bits());
    }
}
