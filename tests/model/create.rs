//! Owns the creating operations of a run: whether a session is admitted, under which id, and who had
//! to make room.

use cloakroom::{Cause, CreateError, Rejected, Session, SessionId};

use super::handle::Handle;
use super::key::{Key, by};
use super::op::{MAX_BYTES, PER_SUBJECT, TEXTS, Target};
use super::reference::{Heard, Verdict};
use super::room::Room;
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
        let counted = &self.reference.counts.creates_refused;
        self.config.may_refuse() && self.store.stats().creates_refused > *counted
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
            Answer::Refused(error @ CreateError::TooLarge { .. }) => {
                self.refused(None, value, Some(&error))
            }
            Answer::Refused(CreateError::Taken) if taken => self.settle(Vec::new()),
            Answer::Refused(error) if !taken => self.refused(wanted.flatten(), value, Some(&error)),
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
        let stored = !self.was_refused();
        let verdict =
            if stored { self.admitted(id, value) } else { self.refused(None, value, None) };
        let base = self.reference.sessions.get(&id).map_or(0, |stored| stored.version);
        self.hold(Handle { session, value, base, draft: None, copy: None });
        verdict
    }

    /// Judges a refusal, for a reason if one was given. It changes nothing, but that the dead may be gone.
    fn refused(
        &mut self,
        wanted: Option<SessionId>,
        value: u32,
        error: Option<&CreateError>,
    ) -> Verdict {
        self.reference.counts.creates_refused += 1;
        let want = self.reference.new_session(wanted, value);
        let displaced = self.reference.displaced_by(None, value);
        let limited = displaced.is_err();
        let room = self.reference.room(&want, displaced.ok().flatten().as_ref());
        let full = matches!(room, Room::None | Room::Perhaps);
        let too_large = self.reference.is_too_large(value);
        let (sessions, weighs) = (self.config.max_sessions(), self.config.weighs);
        let right = match error {
            None => full || limited || too_large,
            Some(CreateError::AtCapacity { max_sessions }) => {
                full && Some(*max_sessions) == sessions
            }
            Some(CreateError::AtByteLimit { max_bytes }) => {
                full && weighs && *max_bytes == MAX_BYTES
            }
            Some(CreateError::TooLarge { max_bytes }) => too_large && *max_bytes == MAX_BYTES,
            Some(CreateError::SubjectLimit { max_per_subject }) => {
                limited && *max_per_subject == PER_SUBJECT
            }
            Some(_) => false,
        };
        if !right {
            return Err(format!("refused with {error:?}: {room:?}, the limit: {limited}"));
        }
        let heard = self.take_heard();
        let unswept = self.reference.may_be_unswept(room, &[], value);
        self.settle_heard(heard, Vec::new(), None, unswept)
    }

    fn admitted(&mut self, id: SessionId, value: u32) -> Verdict {
        let want = self.reference.new_session(Some(id), value);
        let displaced = self.reference.displaced_by(None, value);
        let displaced = displaced.map_err(|_| "a session was admitted beyond the limit")?;
        let room = self.reference.room(&want, displaced.as_ref());
        let heard = self.take_heard();
        let made_room = |end: &Heard| matches!(end.cause, Cause::Evicted | Cause::Expired);
        match (room, heard.iter().any(made_room)) {
            (Room::None, _) => return Err("a session was admitted to a full store".into()),
            (Room::ByVictim | Room::Perhaps, false) => return Err("nobody made room".into()),
            _ if self.reference.is_too_large(value) => return Err("it is too large".into()),
            _ => {}
        }
        let mut due = self.reference.evictions(&want, displaced.as_ref(), &heard)?;
        let unswept = self.reference.may_be_unswept(room, &due, value);
        due.extend(displaced);
        let new = self.reference.begin(value);
        self.reference.counts.created += 1;
        self.settle_heard(heard, due, Some((id, new)), unswept)
    }
}
