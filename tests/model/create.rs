//! Owns the creating operations of a run: whether a session is admitted, under which id, and who had
//! to make room.

use cloakroom::{Cause, CreateError, Rejected, Session, SessionId};

use super::handle::Handle;
use super::key::{Key, by};
use super::op::{TEXTS, Target};
use super::reference::{Heard, Room, Verdict};
use super::run::{Data, Run, same};

/// What a store answered to a creation: the session, stored or not, or the reason.
enum Answer {
    Session(Session<Data>),
    Refused(CreateError),
}

impl From<Result<Session<Data>, CreateError>> for Answer {
    fn from(result: Result<Session<Data>, CreateError>) -> Self {
        result.map_or_else(Self::Refused, Self::Session)
    }
}

impl Run {
    pub(super) fn create(&mut self) -> Verdict {
        let session = self.store.create();
        self.created(Answer::Session(session), 0, None)
    }

    pub(super) fn create_with(&mut self) -> Verdict {
        let value = self.fresh_value();
        let session = self.store.create_with(Data::new(value));
        self.created(Answer::Session(session), value, None)
    }

    /// Creates without keeping handles: for tables that grow.
    pub(super) fn create_many(&mut self, many: u8) -> Verdict {
        for _ in 0..many {
            self.create_with()?;
            self.handles.pop();
        }
        Ok(())
    }

    pub(super) fn try_create(&mut self) -> Verdict {
        let result = self.store.try_create();
        self.created(result.into(), 0, None)
    }

    pub(super) fn try_create_with(&mut self) -> Verdict {
        let value = self.fresh_value();
        let result = self.store.try_create_with(Data::new(value));
        self.try_created(result, value, None)
    }

    pub(super) fn try_create_with_id(&mut self, target: Target) -> Verdict {
        let Some((key, id)) = self.key(target) else {
            return Ok(());
        };
        let value = self.fresh_value();
        let result = by!(&key, key => self.store.try_create_with_id(key, Data::new(value)));
        let admitted = result.as_ref().ok().map(|session| *session.id());
        if let (Some(id), Some(admitted)) = (id, admitted) {
            same("the id of a session created under a known name", admitted, id)?;
        }
        if let (Target::Text(text), Some(admitted)) = (target, admitted) {
            self.learn(text, admitted)?;
        }
        self.try_created(result, value, Some(id.or(admitted)))
    }

    pub(super) fn create_with_id(&mut self, text: u8) -> Verdict {
        let text_id = self.texts[usize::from(text) % TEXTS.len()];
        let taken = self.reference.live(text_id).is_some();
        let session = self.store.create_with_id(TEXTS[usize::from(text) % TEXTS.len()].to_owned());
        let id = *session.id();
        if taken || self.was_refused() {
            // A session with an id of its own, stored or not.
            return self.created(Answer::Session(session), 0, None);
        }
        self.learn(text, id)?;
        self.created(Answer::Session(session), 0, Some(Some(id)))
    }

    /// Takes note of the id that a text stands for, which never changes.
    fn learn(&mut self, text: u8, id: SessionId) -> Verdict {
        let slot = usize::from(text) % TEXTS.len();
        same("the id that a text stands for", id, self.texts[slot].unwrap_or(id))?;
        let others = self.texts.iter().enumerate();
        if others.into_iter().any(|(other, known)| other != slot && *known == Some(id)) {
            return Err(format!("two texts stand for {id:?}"));
        }
        self.texts[slot] = Some(id);
        Ok(())
    }

    fn try_created(
        &mut self,
        result: Result<Session<Data>, Rejected<Data>>,
        value: u32,
        wanted: Option<Option<SessionId>>,
    ) -> Verdict {
        if let Err(rejected) = &result {
            same("the rejected value", rejected.value.get(), value)?;
        }
        self.created(result.map_err(|rejected| rejected.error).into(), value, wanted)
    }

    fn was_refused(&self) -> bool {
        self.config.max_sessions().is_some()
            && self.store.stats().creates_refused > self.reference.counts.creates_refused
    }

    /// Judges a creation. `wanted` is the caller's id, if there was one, and what it stands for as far
    /// as is known.
    fn created(
        &mut self,
        answer: Answer,
        value: u32,
        wanted: Option<Option<SessionId>>,
    ) -> Verdict {
        let taken = self.reference.live(wanted.flatten()).is_some();
        match answer {
            Answer::Refused(CreateError::Taken) if taken => self.settle(Vec::new()),
            Answer::Refused(CreateError::AtCapacity { max_sessions }) if !taken => {
                same("the bound in the error", Some(max_sessions), self.config.max_sessions())?;
                self.refused()
            }
            Answer::Session(session) if !taken => {
                let fresh = wanted.is_some() || !self.known.contains(session.id());
                same("a drawn id is a new one", fresh, true)?;
                self.returned(session, value)
            }
            Answer::Refused(error) => Err(format!("refused with {error:?}, taken is {taken}")),
            Answer::Session(_) => Err("created under a taken id".into()),
        }
    }

    /// Judges a session that was returned, stored or not, and keeps it as a handle.
    fn returned(&mut self, session: Session<Data>, value: u32) -> Verdict {
        let id = *session.id();
        self.remember(id);
        let verdict = if self.was_refused() { self.refused() } else { self.admitted(id, value) };
        let base = self.reference.sessions.get(&id).map_or(0, |stored| stored.version);
        self.hold(Handle { session, value, base, draft: None, copy: None });
        verdict
    }

    fn refused(&mut self) -> Verdict {
        self.reference.counts.creates_refused += 1;
        match self.reference.room() {
            Room::None | Room::Perhaps => self.settle(Vec::new()),
            room => Err(format!("a session was refused though there was room: {room:?}")),
        }
    }

    fn admitted(&mut self, id: SessionId, value: u32) -> Verdict {
        let room = self.reference.room();
        let heard = self.take_heard();
        let victim = heard.iter().find(|end| matches!(end.cause, Cause::Evicted | Cause::Expired));
        match (room, victim) {
            (Room::None, _) => return Err("a session was admitted to a full store".into()),
            (Room::ByVictim | Room::Perhaps, None) => return Err("nobody made room".into()),
            (Room::ByVictim | Room::Perhaps, Some(victim)) => {
                self.reference.judge_victim(victim)?;
            }
            (Room::Free, _) => {}
        }
        let evicted = |end: &&Heard| room != Room::Free && end.cause == Cause::Evicted;
        let due: Vec<Heard> = heard.iter().find(evicted).copied().into_iter().collect();
        let unswept = u64::from(room != Room::Free && due.is_empty());
        let new = self.reference.begin(value);
        let expired = self.reference.settle(heard, due, Some((id, new)))?;
        self.reference.counts.created += 1;
        self.reference.counts.swept += expired - unswept;
        if unswept == 1 {
            // Whether the sample or the sweep found the expired one is the store's business.
            let swept = self.store.stats().swept;
            self.reference.counts.swept =
                swept.clamp(self.reference.counts.swept, self.reference.counts.swept + 1);
        }
        Ok(())
    }
}
