//! Owns the operations and the settings a run is made of, small enough to read in a failure report.

use std::time::Duration;

use cloakroom::{OnFull, OnLimit};

/// Callers' ids: foreign texts first, canonical ones last. The third is a second spelling of an id,
/// and so a foreign text.
pub(crate) const TEXTS: [&str; 6] = [
    "",
    "alice@example.org",
    "AAAAAAAAAAAAAAAAAAAAAB",
    "\0nul\0",
    "AAAAAAAAAAAAAAAAAAAAAA",
    "-_-_-_-_-_-_-_-_-_-_-Q",
];

/// Where in [`TEXTS`] the canonical ids begin.
pub(crate) const CANONICAL: usize = 4;

/// Texts under which no session is ever created.
pub(crate) const MALFORMED: [&str; 7] = [
    "A",
    "AAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAAA",
    "AAAAAAAAAAAAAAAAAAAAAA==",
    "AAAAAAAAAAAAAAAAAAAAA+",
    "AAAAAAAAAAAAAAAAAAAA\u{e9}",
    "AAAAAAAAAAAAAAAAAAAAAC",
];

/// A store's settings.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) struct Config {
    pub(crate) many_shards: bool,
    pub(crate) bound: Bound,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) small_budget: bool,
    pub(crate) refuse: bool,
    pub(crate) whose: Whose,
    pub(crate) weighs: bool,
}

/// Whether the store knows whose its sessions are, and what a subject may have.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Whose {
    /// Nobody asks.
    Nobodys,
    Listed,
    /// No more than [`PER_SUBJECT`], or one of them makes room.
    Reject,
    RevokeOldest,
    RevokeIdlest,
}

/// How many sessions a store may hold.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Bound {
    None,
    One,
    /// Fewer than an eviction samples, so that its victim is the one soonest to expire of all.
    Eight,
    /// More than an eviction samples.
    Forty,
}

/// Which deadlines the store gives its sessions.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Lifetimes {
    None,
    Idle,
    Ttl,
    Both,
    /// Both, of one length: a session begins at its absolute limit.
    Same,
}

/// Not a multiple of any step, so that touches reach the absolute limit at odd moments, and short
/// enough for the second touch to reach it.
pub(crate) const TTL: Duration = Duration::from_nanos(15_000_000_001);
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// Sessions that a subject may have, where that is limited.
pub(crate) const PER_SUBJECT: usize = 2;

/// What all data may weigh, where it is weighed.
pub(crate) const MAX_BYTES: u64 = 30;

/// Returns whose a session with this data is: one of three subjects', or, for 0, a guest's. Three values in a row
/// are the same subject's.
pub(crate) fn subject(data: u32) -> u32 {
    data / 3 % 4
}

/// Returns what the weigher says of this data: little, or now and then all that the whole store may weigh, or more.
pub(crate) fn bytes(data: u32) -> u64 {
    match data % 16 {
        7 => MAX_BYTES,
        15 => MAX_BYTES + 1,
        little => u64::from(little % 8),
    }
}

impl Config {
    pub(crate) fn shards(self) -> usize {
        if self.many_shards { 16 } else { 2 }
    }

    pub(crate) fn max_sessions(self) -> Option<usize> {
        match self.bound {
            Bound::None => None,
            Bound::One => Some(1),
            Bound::Eight => Some(8),
            Bound::Forty => Some(40),
        }
    }

    pub(crate) fn ttl(self) -> Option<Duration> {
        match self.lifetimes {
            Lifetimes::Ttl | Lifetimes::Both | Lifetimes::Same => Some(TTL),
            Lifetimes::None | Lifetimes::Idle => None,
        }
    }

    pub(crate) fn idle(self) -> Option<Duration> {
        match self.lifetimes {
            Lifetimes::Idle | Lifetimes::Both => Some(IDLE),
            Lifetimes::Same => Some(TTL),
            Lifetimes::None | Lifetimes::Ttl => None,
        }
    }

    pub(crate) fn sweep_budget(self) -> usize {
        if self.small_budget { 1 } else { 32 }
    }

    pub(crate) fn on_full(self) -> OnFull {
        if self.refuse { OnFull::Refuse } else { OnFull::Evict }
    }

    pub(crate) fn on_limit(self) -> Option<OnLimit> {
        match self.whose {
            Whose::Nobodys | Whose::Listed => None,
            Whose::Reject => Some(OnLimit::Reject),
            Whose::RevokeOldest => Some(OnLimit::RevokeOldest),
            Whose::RevokeIdlest => Some(OnLimit::RevokeIdlest),
        }
    }

    /// Tells whether a create that does not say why may not have stored its session.
    pub(crate) fn may_refuse(self) -> bool {
        self.max_sessions().is_some() || self.on_limit().is_some() || self.weighs
    }
}

/// Whom an operation is about.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Target {
    /// An id handed out so far, live or dead, counted back from the newest.
    Back(u8),
    /// One of [`TEXTS`].
    Text(u8),
}

/// How far time moves.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Span {
    Zero,
    Nanosecond,
    Seconds(u8),
    /// Up to the deadline of a session, if it has one to come.
    ToDeadline(Target),
    /// To one nanosecond before it.
    ShortOfDeadline(Target),
    /// Beyond every lifetime that a store may be given.
    Century,
    /// To so many seconds before the end of time.
    ShortOfEnd(u8),
}

/// What an expiry is set to.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Until {
    AtOnce,
    Nanoseconds(u8),
    Seconds(u8),
    Eternity,
    Never,
    Policy,
}

/// One operation. Handles are counted back from the newest, like ids.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(fuzzing, derive(arbitrary::Arbitrary))]
pub(crate) enum Op {
    Create,
    CreateWith,
    CreateMany(u8),
    CreateWithId(u8),
    TryCreate,
    TryCreateWith,
    TryCreateWithId(Target),
    Load(Target),
    Peek(Target),
    Contains(Target),
    Touch(Target),
    Update(Target),
    TryUpdate(Target),
    Destroy(Target),
    ExpiresIn(Target),
    SetExpiry(Target, Until),
    Mutate(u8),
    Save(u8),
    TrySave(u8),
    CloneHandle(u8),
    DropHandle(u8),
    Rotate(u8),
    Advance(Span),
    Purge,
    Retain(u8),
    Clear,
    ForEach,
    Malformed(u8),
    SessionsOf(u8),
    CountOf(u8),
    RevokeAll(u8),
    RevokeOthers(u8, Target),
    Reauthenticate(u8),
    /// When a session's user authenticated, and whether within so many seconds.
    Authenticated(Target, u8),
}
