//! Owns the reference: a map of sessions and a virtual time, with every promise written out plainly.
//!
//! Sequential and exact. What a store may choose freely, when to sweep an expired session and whom to
//! evict among many, it is told by the listener and checks that the choice was allowed.

use std::collections::BTreeMap;
use std::time::Duration;

use cloakroom::{Cause, Expiry, MAX_LIFETIME, OnFull, SessionId, StoreStats};

use super::op::Config;

/// What a comparison says: nothing, or how the store differs.
pub(crate) type Verdict = Result<(), String>;

/// Nanoseconds since the clock's origin at which it stops: 2^64 - 6 on a clock that begins at 1 s.
const END_OF_TIME: u64 = u64::MAX - 5 - 1_000_000_000;

/// The deadline of what never expires.
const NEVER: u64 = u64::MAX;

/// Sessions that an eviction compares.
const SAMPLE: usize = 16;

/// One session in the table, live or expired.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) data: u32,
    pub(crate) version: u64,
    deadline: u64,
    limit: u64,
    slides: bool,
}

/// The end of a session, as the listener was told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heard {
    pub(crate) id: SessionId,
    pub(crate) data: u32,
    pub(crate) cause: Cause,
}

/// Whether a store has room for one more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Room {
    Free,
    /// Exactly one session makes room.
    ByVictim,
    /// An expired one makes room if the sample finds it.
    Perhaps,
    None,
}

pub(crate) struct Reference {
    idle: Option<Duration>,
    ttl: Option<Duration>,
    max: usize,
    on_full: OnFull,
    now: u64,
    pub(crate) sessions: BTreeMap<SessionId, Stored>,
    /// The counters; what the table holds is filled in by `stats`.
    pub(crate) counts: StoreStats,
    versions: u64,
}

impl Reference {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            idle: config.idle(),
            ttl: config.ttl(),
            max: config.max_sessions().unwrap_or(usize::MAX),
            on_full: config.on_full(),
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
        let limit = self.ttl.map_or(NEVER, |ttl| self.after(ttl));
        let deadline = self.idle.map_or(limit, |idle| self.after(idle).min(limit));
        let version = self.next_version();
        Stored { data, version, deadline, limit, slides: self.idle.is_some() }
    }

    fn lives(&self, session: &Stored) -> bool {
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
        let target = self.idle.map(|idle| self.after(idle));
        let session = self.sessions.get_mut(&id?)?;
        if let (Some(target), true) = (target, session.slides) {
            // A sliding session's limit is kept to four nanoseconds.
            session.deadline = session.deadline.max(target.min(session.limit & !3));
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
        let (limit, deadline, slides) = match expiry {
            Expiry::After(lifetime) => (self.after(lifetime), self.after(lifetime), false),
            Expiry::Never => (NEVER, NEVER, false),
            _ => (new.limit, new.deadline, new.slides),
        };
        let Some(session) = id.and_then(|id| self.sessions.get_mut(&id)) else {
            return false;
        };
        (session.limit, session.deadline, session.slides) = (limit, deadline, slides);
        true
    }

    pub(crate) fn room(&self) -> Room {
        let stored = self.sessions.len();
        if stored < self.max {
            return Room::Free;
        }
        let dead = self.dead();
        if self.on_full == OnFull::Evict {
            Room::ByVictim
        } else if dead == 0 {
            Room::None
        } else if stored <= SAMPLE {
            Room::ByVictim
        } else {
            Room::Perhaps
        }
    }

    /// Checks that a session may have been chosen to make room: an expired one if the sample holds
    /// one, else the one soonest to expire of the sample. A sample of a small store is all of it.
    pub(crate) fn judge_victim(&self, victim: &Heard) -> Verdict {
        let Some(chosen) = self.sessions.get(&victim.id) else {
            return Err(format!("the victim {victim:?} was not stored"));
        };
        let sooner =
            self.sessions.values().filter(|other| other.deadline < chosen.deadline).count();
        let rest = self.sessions.len() - sooner;
        let sampled = SAMPLE.min(self.sessions.len());
        match victim.cause {
            Cause::Expired => Ok(()),
            Cause::Evicted if self.on_full == OnFull::Refuse => Err("evicted a live one".into()),
            Cause::Evicted if rest < sampled => {
                Err(format!("evicted {victim:?}, but {sooner} of the sample expire sooner"))
            }
            _ => Ok(()),
        }
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
            _ => return,
        } += 1;
    }

    pub(crate) fn stats(&self) -> StoreStats {
        let mut stats = self.counts.clone();
        stats.stored = self.sessions.len() as u64;
        stats.expired_unswept = self.dead() as u64;
        stats.live = stats.stored - stats.expired_unswept;
        stats
    }
}
