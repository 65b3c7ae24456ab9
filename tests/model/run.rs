//! Owns a run: a store on a manual clock, the reference beside it, and every operation done to both.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloakroom::{Cause, Expiry, ManualClock, Session, SessionId, SessionStore, Subject};

use super::handle::Handle;
use super::key::{Key, by};
use super::op::{CANONICAL, Config, MALFORMED, MAX_BYTES, Op, PER_SUBJECT, Span, TEXTS, Target};
use super::op::{Until, Whose, bytes, subject};
use super::reference::{Heard, Reference, Stored, Verdict};

/// A session's data: on the heap, so that a use after it was freed shows under a sanitizer.
#[derive(Clone, Default)]
pub(crate) struct Data(pub(super) Box<u32>);

impl Data {
    pub(super) fn new(value: u32) -> Self {
        Self(Box::new(value))
    }

    pub(super) fn get(&self) -> u32 {
        *self.0
    }

    pub(super) fn set(&mut self, value: u32) {
        *self.0 = value;
    }
}

pub(crate) struct Run {
    pub(super) config: Config,
    pub(super) store: SessionStore<Data>,
    clock: ManualClock,
    pub(super) reference: Reference,
    pub(super) handles: Vec<Handle>,
    /// Every id that was ever handed out, in that order.
    pub(super) names: Vec<SessionId>,
    /// The same, to look one up.
    pub(super) known: BTreeSet<SessionId>,
    /// The ids that `TEXTS` stand for, as far as is known.
    pub(super) texts: [Option<SessionId>; TEXTS.len()],
    heard: Arc<Mutex<Vec<Heard>>>,
    /// What saves have stored: the next save of the same data is a new version.
    pub(super) taken: BTreeSet<u64>,
    values: u32,
    steps: usize,
}

/// Compares an answer with the reference's.
#[expect(clippy::needless_pass_by_value, reason = "the callers read better")]
pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, want: T) -> Verdict {
    if got == want { Ok(()) } else { Err(format!("{what}: the store says {got:?}, not {want:?}")) }
}

/// Makes the store, and the list that its listener writes to.
fn open(config: Config, clock: &ManualClock) -> (SessionStore<Data>, Arc<Mutex<Vec<Heard>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    let mut builder = SessionStore::builder()
        .shards(config.shards())
        .sweep_budget(config.sweep_budget())
        .on_full(config.on_full())
        .clock(clock.clone())
        .on_end(move |end: cloakroom::End<'_, Data>| {
            let end = Heard { id: end.id, data: end.data.get(), cause: end.cause };
            log.lock().unwrap_or_else(PoisonError::into_inner).push(end);
        });
    if config.whose != Whose::Nobodys {
        let whose = |data: &Data| Some(subject(data.get())).filter(|it| *it != 0);
        builder = builder.index_by(move |data| whose(data).map(Subject::from));
    }
    if let Some(then) = config.on_limit() {
        builder = builder.max_per_subject(PER_SUBJECT, then);
    }
    if config.weighs {
        builder = builder.max_bytes(MAX_BYTES, |data: &Data| bytes(data.get()) as usize);
    }
    if let Some(max) = config.max_sessions() {
        builder = builder.max_sessions(max);
    }
    if let Some(ttl) = config.ttl() {
        builder = builder.ttl(ttl);
    }
    if let Some(idle) = config.idle() {
        builder = builder.idle_timeout(idle);
    }
    (builder.build().unwrap_or_else(|error| panic!("{error}")), heard)
}

impl Run {
    pub(crate) fn new(config: Config) -> Self {
        let clock = ManualClock::new();
        let (store, heard) = open(config, &clock);
        let mut texts = [None; TEXTS.len()];
        for (text, id) in TEXTS.iter().zip(&mut texts).skip(CANONICAL) {
            *id = SessionId::parse(text);
        }
        Self {
            config,
            store,
            clock,
            reference: Reference::new(config),
            handles: Vec::new(),
            names: Vec::new(),
            known: BTreeSet::new(),
            texts,
            heard,
            taken: BTreeSet::new(),
            values: 0,
            steps: 0,
        }
    }

    /// Returns the store, so that something can be done behind the reference's back.
    #[allow(dead_code, reason = "only the driver that tests the reference itself needs it")]
    pub(crate) fn store(&self) -> &SessionStore<Data> {
        &self.store
    }

    /// Returns the id that was handed out last.
    #[allow(dead_code, reason = "as for `store`")]
    pub(crate) fn newest(&self) -> Option<SessionId> {
        self.names.last().copied()
    }

    /// Does one operation to both, and compares what they answer and what they then hold.
    pub(crate) fn step(&mut self, op: Op) -> Verdict {
        self.steps += 1;
        match op {
            Op::Create => self.create(),
            Op::CreateWith => self.create_with(),
            Op::CreateMany(many) => self.create_many(many),
            Op::CreateWithId(text) => self.create_with_id(text),
            Op::TryCreate => self.try_create(),
            Op::TryCreateWith => self.try_create_with(),
            Op::TryCreateWithId(target) => self.try_create_with_id(target),
            Op::Load(target) => self.on(target, Self::load),
            Op::Peek(target) => self.on(target, Self::peek),
            Op::Contains(target) => self.on(target, Self::contains),
            Op::Touch(target) => self.on(target, Self::touch),
            Op::Update(target) => self.on(target, Self::update),
            Op::TryUpdate(target) => self.on(target, Self::try_update),
            Op::Destroy(target) => self.on(target, Self::destroy),
            Op::ExpiresIn(target) => self.on(target, Self::expires_in),
            Op::SetExpiry(target, until) => {
                self.on(target, |run, key, id| run.set_expiry(key, id, until))
            }
            Op::Mutate(handle) => self.with(handle, Self::mutate),
            Op::Save(handle) => self.with(handle, Self::save),
            Op::TrySave(handle) => self.with(handle, Self::try_save),
            Op::CloneHandle(handle) => self.clone_handle(handle),
            Op::DropHandle(handle) => self.drop_handle(handle),
            Op::Rotate(handle) => self.with(handle, Self::rotate),
            Op::Advance(span) => self.advance(span),
            Op::Purge => self.purge(),
            Op::Retain(residue) => self.retain(residue),
            Op::Clear => self.clear(),
            Op::ForEach => self.for_each(),
            Op::Malformed(text) => self.malformed(text),
            Op::SessionsOf(subject) => self.sessions_of(subject),
            Op::CountOf(subject) => self.count_of(subject),
            Op::RevokeAll(subject) => self.revoke_all(subject),
            Op::RevokeOthers(subject, keep) => self.revoke_others(subject, keep),
            Op::Reauthenticate(handle) => self.with(handle, Self::reauthenticate),
            Op::Authenticated(target, age) => {
                self.on(target, |run, key, id| run.authenticated(key, id, age))
            }
        }?;
        self.compare()
    }

    /// Compares what the two hold and have counted.
    fn compare(&self) -> Verdict {
        same("len", self.store.len(), self.reference.sessions.len())?;
        same("is_empty", self.store.is_empty(), self.reference.sessions.is_empty())?;
        same("stats", self.store.stats(), self.reference.stats())?;
        let (stored, bytes) = (self.store.len(), self.reference.stats().bytes);
        let max = self.config.max_sessions().unwrap_or(usize::MAX);
        same("the bounds hold", stored <= max && bytes <= MAX_BYTES, true)?;
        for handle in &self.handles {
            same("a handle's data", handle.session.get(), handle.value)?;
        }
        Ok(())
    }

    /// Returns a target's id in one of its forms, and the id if it is known; `None` if there is no
    /// such target yet.
    pub(super) fn key(&self, target: Target) -> Option<(Key, Option<SessionId>)> {
        match target {
            Target::Back(back) => {
                let back = usize::from(back).checked_rem(self.names.len())?;
                let id = self.names[self.names.len() - 1 - back];
                Some((Key::form(id, self.steps), Some(id)))
            }
            Target::Text(text) => {
                let text = usize::from(text) % TEXTS.len();
                Some((Key::Text(TEXTS[text].to_owned()), self.texts[text]))
            }
        }
    }

    fn on(
        &mut self,
        target: Target,
        operation: impl FnOnce(&mut Self, &Key, Option<SessionId>) -> Verdict,
    ) -> Verdict {
        match self.key(target) {
            Some((key, id)) => operation(self, &key, id),
            None => Ok(()),
        }
    }

    pub(super) fn remember(&mut self, id: SessionId) {
        if self.known.insert(id) {
            self.names.push(id);
        }
    }

    pub(super) fn fresh_value(&mut self) -> u32 {
        self.values += 1;
        self.values
    }

    pub(super) fn take_heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in what the listener was told: the ends that are due, and what was swept.
    pub(super) fn settle(&mut self, due: Vec<Heard>) -> Verdict {
        let heard = self.take_heard();
        self.settle_heard(heard, due, None, 0)
    }

    /// Takes in what the listener was told, in an operation that also removes the expired without sweeping, so
    /// many of them at the most: whether it found them or a sweep is the store's business.
    pub(super) fn settle_heard(
        &mut self,
        heard: Vec<Heard>,
        due: Vec<Heard>,
        new: Option<(SessionId, Stored)>,
        unswept: u64,
    ) -> Verdict {
        let expired = self.reference.settle(heard, due, new)?;
        let swept = &mut self.reference.counts.swept;
        let least = *swept + expired.saturating_sub(unswept);
        *swept += expired;
        if least < *swept {
            *swept = self.store.stats().swept.clamp(least, *swept);
        }
        Ok(())
    }

    fn load(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let loaded = by!(key, key => self.store.load(key));
        let want = self.reference.active(id).map(|stored| (stored.data, stored.version));
        self.viewed(loaded, id, want)
    }

    fn peek(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let peeked = by!(key, key => self.store.peek(key));
        let want = self.reference.live(id).map(|stored| (stored.data, stored.version));
        self.viewed(peeked, id, want)
    }

    fn viewed(
        &mut self,
        got: Option<Session<Data>>,
        id: Option<SessionId>,
        want: Option<(u32, u64)>,
    ) -> Verdict {
        let seen = got.as_ref().map(|session| session.get());
        same("the session's data", seen, want.map(|(data, _)| data))?;
        match (got, want) {
            (Some(session), Some((value, base))) => {
                same("the session's id", Some(*session.id()), id)?;
                self.reference.counts.loaded += 1;
                self.hold(Handle { session, value, base, draft: None, copy: None });
            }
            _ => self.reference.counts.missed += 1,
        }
        self.settle(Vec::new())
    }

    fn contains(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let contained = by!(key, key => self.store.contains(key));
        same("contains", contained, self.reference.live(id).is_some())?;
        self.settle(Vec::new())
    }

    fn touch(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let touched = by!(key, key => self.store.touch(key));
        same("touch", touched, self.reference.active(id).is_some())?;
        self.settle(Vec::new())
    }

    fn expires_in(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let left = by!(key, key => self.store.expires_in(key));
        same("expires_in", left, self.reference.expires_in(id))?;
        self.settle(Vec::new())
    }

    fn destroy(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let end = self.end_of(id, Cause::Destroyed);
        let destroyed = by!(key, key => self.store.destroy(key));
        same("destroy", destroyed, end.is_some())?;
        self.settle(end.into_iter().collect())
    }

    /// Returns what the listener has to be told if a session is ended now: nothing if it is dead.
    pub(super) fn end_of(&self, id: Option<SessionId>, cause: Cause) -> Option<Heard> {
        let data = self.reference.live(id)?.data;
        Some(Heard { id: id?, data, cause })
    }

    fn set_expiry(&mut self, key: &Key, id: Option<SessionId>, until: Until) -> Verdict {
        let expiry = match until {
            Until::AtOnce => Expiry::After(Duration::ZERO),
            Until::Nanoseconds(count) => Expiry::After(Duration::from_nanos(count.into())),
            Until::Seconds(count) => Expiry::After(Duration::from_secs(count.into())),
            Until::Eternity => Expiry::After(Duration::MAX),
            Until::Never => Expiry::Never,
            Until::Policy => Expiry::Policy,
        };
        let set = by!(key, key => self.store.set_expiry(key, expiry));
        same("set_expiry", set, self.reference.set_expiry(id, expiry))?;
        self.settle(Vec::new())
    }

    fn advance(&mut self, span: Span) -> Verdict {
        let until = |target, short: u64| {
            let left = self.key(target).and_then(|(_, id)| self.reference.expires_in(id));
            let left = left.filter(|left| *left != Duration::MAX).unwrap_or_default();
            left.saturating_sub(Duration::from_nanos(short))
        };
        let by = match span {
            Span::Zero => Duration::ZERO,
            Span::Nanosecond => Duration::from_nanos(1),
            Span::Seconds(count) => Duration::from_secs(count.into()),
            Span::ToDeadline(target) => until(target, 0),
            Span::ShortOfDeadline(target) => until(target, 1),
            Span::Century => cloakroom::MAX_LIFETIME,
            Span::ShortOfEnd(seconds) => {
                let short = Duration::from_secs(seconds.into());
                self.reference.rest_of_time().saturating_sub(short)
            }
        };
        self.clock.advance(by);
        self.reference.advance(by);
        same("the clock", self.clock.elapsed(), self.reference.elapsed())
    }

    fn malformed(&mut self, text: u8) -> Verdict {
        let text = MALFORMED[usize::from(text) % MALFORMED.len()].to_owned();
        let key = Key::Text(text);
        self.load(&key, None)?;
        self.peek(&key, None)?;
        self.contains(&key, None)?;
        self.touch(&key, None)?;
        self.expires_in(&key, None)?;
        self.update(&key, None)?;
        self.try_update(&key, None)?;
        self.authenticated(&key, None, u8::MAX)?;
        self.destroy(&key, None)?;
        self.set_expiry(&key, None, Until::Never)
    }
}
