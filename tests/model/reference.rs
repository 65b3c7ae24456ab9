//! Owns the reference: a map of sessions and a virtual time, with every promise written out plainly.
//!
//! Sequential and exact. What a store may choose freely, when to sweep an expired session and whom to
//! evict among many, it is told by the listener and checks that the choice was allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::{Cause, Expiry, MAX_LIFETIME, SessionId, StoreStats};

use super::op::{Config, Whose};

/// What a comparison says: nothing, or how the store differs.
pub(crate) type Verdict = Result<(), String>;

/// Nanoseconds since the clock's origin at which it stops: 2^64 - 6 on a clock that begins at 1 s.
const END_OF_TIME: u64 = u64::MAX - 5 - SECOND;

/// The deadline of what never expires.
pub(super) const NEVER: u64 = u64::MAX;

const SECOND: u64 = 1_000_000_000;

/// The last second that a session's creation, or its user's authentication, is noted as: some 136 years
/// after the clock's origin, of which the first second is the clock's own.
const LAST_SECOND: u64 = u32::MAX as u64 - 3;

/// One session in the table, live or expired.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) data: u32,
    pub(crate) version: u64,
    pub(super) deadline: u64,
    limit: u64,
    slides: bool,
    /// When it was created, in whole seconds.
    pub(super) born: u64,
    /// When its user authenticated, if they did, in whole seconds.
    pub(super) authenticated: Option<u64>,
    /// What became its subject's later has a higher number.
    pub(super) came: u64,
}

impl Stored {
    /// Takes over the deadlines of a session that begins now.
    pub(super) fn renew(&mut self, new: &Self) {
        (self.limit, self.deadline, self.slides) = (new.limit, new.deadline, new.slides);
    }
}

/// The end of a session, as the listener was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) id: SessionId,
    pub(crate) data: u32,
    pub(crate) cause: Cause,
}

pub(crate) struct Reference {
    pub(super) config: Config,
    pub(super) now: u64,
    pub(crate) sessions: BTreeMap<SessionId, Stored>,
    /// The counters; what the table holds is filled in by `stats`.
    pub(crate) counts: StoreStats,
    versions: u64,
}

impl Reference {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            now: 0,
            sessions: BTreeMap::new(),
            counts: StoreStats::default(),
            versions: 0,
        }
    }

    pub(crate) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now = self.now.saturating_add(by).min(END_OF_TIME);
    }

    pub(crate) fn rest_of_time(&self) -> Duration {
        Duration::from_nanos(END_OF_TIME - self.now)
    }

    fn after(&self, lifetime: Duration) -> u64 {
        let lifetime = lifetime.min(MAX_LIFETIME).as_nanos() as u64;
        self.now.saturating_add(lifetime).min(END_OF_TIME)
    }

    /// Returns a session that begins now.
    pub(crate) fn begin(&mut self, data: u32) -> Stored {
        let idle = self.config.idle();
        let limit = self.config.ttl().map_or(NEVER, |ttl| self.after(ttl));
        let deadline = idle.map_or(limit, |idle| self.after(idle).min(limit));
        let (limit, slides, born) = (self.kept(limit, deadline), idle.is_some(), self.second());
        let (version, came) = (self.next_version(), self.next_version());
        Stored { data, version, deadline, limit, slides, born, authenticated: None, came }
    }

    /// Returns a sliding session's limit as it is kept: to four nanoseconds; beside an index to a part in 2^24
    /// of what lies between it and the deadline, but never before that.
    fn kept(&self, limit: u64, deadline: u64) -> u64 {
        let indexed = self.config.whose != Whose::Nobodys || self.config.weighs;
        if limit == NEVER || !indexed {
            return limit & !3;
        }
        let limit = (limit & !3).max(deadline);
        let part = (limit - deadline) >> 23;
        // Rounded to a power of two, of which one second is a multiple.
        limit & !(part.checked_ilog2().map_or(1, |power| 1 << power) - 1)
    }

    /// Returns the time as it is noted to the second.
    pub(super) fn second(&self) -> u64 {
        (self.now / SECOND).min(LAST_SECOND)
    }

    /// Returns when a session was last used, if its deadline tells.
    pub(super) fn last_seen(&self, session: &Stored) -> Option<u64> {
        let idle = self.config.idle().filter(|_| session.slides)?;
        Some(session.deadline - idle.as_nanos() as u64)
    }

    pub(super) fn lives(&self, session: &Stored) -> bool {
        session.deadline > self.now
    }

    pub(crate) fn live(&self, id: Option<SessionId>) -> Option<&Stored> {
        self.sessions.get(&id?).filter(|session| self.lives(session))
    }

    pub(crate) fn live_ids(&self) -> Vec<SessionId> {
        let live = self.sessions.iter().filter(|(_, session)| self.lives(session));
        live.map(|(id, _)| *id).collect()
    }

    pub(crate) fn dead(&self) -> usize {
        self.sessions.values().filter(|session| !self.lives(session)).count()
    }

    /// Returns a live session after counting the call as activity.
    pub(crate) fn active(&mut self, id: Option<SessionId>) -> Option<&mut Stored> {
        self.live(id)?;
        let target = self.config.idle().map(|idle| self.after(idle));
        let session = self.sessions.get_mut(&id?)?;
        if let (Some(target), true) = (target, session.slides) {
            session.deadline = session.deadline.max(target.min(session.limit));
        }
        Some(session)
    }

    pub(crate) fn expires_in(&self, id: Option<SessionId>) -> Option<Duration> {
        self.live(id).map(|session| match session.deadline {
            NEVER => Duration::MAX,
            deadline => Duration::from_nanos(deadline - self.now),
        })
    }

    pub(crate) fn set_expiry(&mut self, id: Option<SessionId>, expiry: Expiry) -> bool {
        if self.live(id).is_none() {
            return false;
        }
        let new = self.begin(0);
        let end = match expiry {
            Expiry::After(lifetime) => self.after(lifetime),
            _ => NEVER,
        };
        let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) else {
            return false;
        };
        match expiry {
            Expiry::Policy => session.renew(&new),
            _ => (session.limit, session.deadline, session.slides) = (end, end, false),
        }
        true
    }

    /// Takes in what the listener was told during an operation: exactly the ends that are `due`, in
    /// any order, and expired sessions, each once, with their last data. Returns how many expired.
    /// `new` is a session created by the operation, which may expire in the same instant.
    pub(crate) fn settle(
        &mut self,
        heard: Vec<Heard>,
        mut due: Vec<Heard>,
        mut new: Option<(SessionId, Stored)>,
    ) -> Result<u64, String> {
        let mut expired = 0;
        for end in heard {
            if let Some(at) = due.iter().position(|due| *due == end) {
                due.swap_remove(at);
                self.sessions.remove(&end.id);
            } else {
                self.settle_expired(end, &mut new)?;
                expired += 1;
            }
            self.count(end.cause);
        }
        if let Some(unheard) = due.first() {
            return Err(format!("the listener was not told of {unheard:?}"));
        }
        if let Some((id, session)) = new {
            if self.sessions.insert(id, session).is_some() {
                return Err(format!("{id:?} was created over another, whose end nobody heard"));
            }
        }
        Ok(expired)
    }

    fn settle_expired(&mut self, end: Heard, new: &mut Option<(SessionId, Stored)>) -> Verdict {
        let session = match self.sessions.remove(&end.id) {
            Some(session) => session,
            None => match new.take_if(|(id, _)| *id == end.id) {
                Some((_, session)) => session,
                None => return Err(format!("heard {end:?}, which was not stored")),
            },
        };
        let right = end.cause == Cause::Expired && !self.lives(&session);
        if right && session.data == end.data {
            return Ok(());
        }
        Err(format!("heard {end:?} of {session:?} at {}", self.now))
    }

    fn count(&mut self, cause: Cause) {
        let counts = &mut self.counts;
        *match cause {
            Cause::Destroyed => &mut counts.destroyed,
            Cause::Expired => &mut counts.expired,
            Cause::Evicted => &mut counts.evicted,
            Cause::Rotated => &mut counts.rotated,
            Cause::Cleared => &mut counts.cleared,
            Cause::Revoked => &mut counts.revoked,
            Cause::Displaced => &mut counts.displaced,
            _ => return,
        } += 1;
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let mut stats = self.counts.clone();
        stats.stored = self.sessions.len() as u64;
        stats.expired_unswept = self.dead() as u64;
        stats.live = stats.stored - stats.expired_unswept;
        stats.bytes = self.weight_of(self.sessions.values());
        stats
    }
}
