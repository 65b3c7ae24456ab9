//! Owns one thread's part of a history: what it does next, and what it writes down about it.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cloakroom::{ManualClock, SaveError, Session, SessionId};

use super::check::{Effect, Needs, Op, State};
use super::subject::{Subject, Value};

/// What all threads share: the counter that orders calls and returns, the time, and which ids are
/// worth trying.
pub(crate) struct Field {
    stamps: AtomicU64,
    pub(crate) clock: ManualClock,
    /// Nanoseconds, `u64::MAX` for none.
    pub(crate) idle: u64,
    /// For each family: the id that callers choose, the last that a rotation made, and the one
    /// before.
    known: Vec<Mutex<[SessionId; 3]>>,
}

/// The two ends of an operation.
pub(crate) struct Span {
    call: u64,
    ret: u64,
    before: u64,
    after: u64,
}

impl Span {
    pub(crate) fn op(self, what: &'static str, id: SessionId, needs: Needs, effect: Effect) -> Op {
        let Self { call, ret, before, after } = self;
        Op { what, id, needs, effect, call, ret, before, after }
    }
}

impl Field {
    pub(crate) fn new(families: usize, clock: ManualClock, idle: Option<u64>) -> Self {
        let known = (0..families).map(|family| Mutex::new([named(family); 3])).collect();
        Self { stamps: AtomicU64::new(0), clock, idle: idle.unwrap_or(u64::MAX), known }
    }

    /// Runs one operation and notes its two ends.
    ///
    /// The counter is read and moved in one step, in the one order of all `SeqCst` operations: an
    /// operation that returned before another was called has the smaller stamp, always. A pause of
    /// the thread between stamp and call makes the interval longer, which only allows more orders.
    pub(crate) fn time<R>(&self, operation: impl FnOnce() -> R) -> (R, Span) {
        let call = self.stamps.fetch_add(1, Ordering::SeqCst);
        let before = self.now();
        let result = operation();
        let after = self.now();
        let ret = self.stamps.fetch_add(1, Ordering::SeqCst);
        (result, Span { call, ret, before, after })
    }

    fn now(&self) -> u64 {
        if self.idle == u64::MAX { 0 } else { self.clock.elapsed().as_nanos() as u64 }
    }

    pub(crate) fn known(&self, family: usize) -> [SessionId; 3] {
        *self.known[family].lock().unwrap()
    }

    fn publish(&self, family: usize, rotated_to: SessionId) {
        let mut known = self.known[family].lock().unwrap();
        *known = [known[0], rotated_to, known[1]];
    }
}

/// Returns the id that callers choose in a family.
pub(crate) fn named(family: usize) -> SessionId {
    SessionId::parse(&format!("linear-family-{family:07}A")).unwrap()
}

/// Operations after which a thread turns to the next family.
const TURN: usize = 8;

struct Handle {
    session: Session<Value>,
    /// The write that the handle's data was derived from.
    base: u64,
}

pub(crate) struct Worker<S> {
    subject: Arc<S>,
    field: Arc<Field>,
    turns_the_clock: bool,
    random: u64,
    last_value: u64,
    handles: Vec<Option<Handle>>,
    /// For each family, this thread's operations since the last window ended.
    pub(crate) log: Vec<Vec<Op>>,
}

impl<S: Subject> Worker<S> {
    pub(crate) fn new(subject: Arc<S>, field: Arc<Field>, thread: usize) -> Self {
        let families = field.known.len();
        Self {
            subject,
            turns_the_clock: thread == 0 && field.idle != u64::MAX,
            field,
            random: 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(thread as u64 + 1),
            last_value: (thread as u64 + 1) << 48,
            handles: (0..families).map(|_| None).collect(),
            log: vec![Vec::new(); families],
        }
    }

    /// Does one operation, of a kind and on an id that are drawn by lot.
    pub(crate) fn act(&mut self) {
        if self.turns_the_clock && self.draw(12) == 0 {
            let quarters = 1 + self.draw(5) as u64;
            self.field.clock.advance(Duration::from_nanos(self.field.idle / 4 * quarters));
        }
        let family = self.choose_family();
        let known = self.field.known(family);
        let held = self.handles[family].as_ref().map_or(known[0], |held| *held.session.id());
        let id = [known[0], known[0], known[1], known[2], held][self.draw(5)];
        let op = match self.draw(100) {
            0..16 => self.create(family, id),
            16..30 => self.load(family, id),
            30..36 => self.peek(id),
            36..44 => self.touch(id),
            44..48 => self.contains(id),
            48..60 => self.save(family),
            60..72 => self.try_save(family),
            72..86 => self.update(id),
            86..93 => self.destroy(id),
            _ => self.rotate(family),
        };
        self.log[family].push(op);
    }

    /// Returns the family that it is the turn of, or now and then any. All threads set off together
    /// and take the same turns, so that they meet.
    fn choose_family(&mut self) -> usize {
        let families = self.log.len();
        let done = self.log.iter().map(Vec::len).sum::<usize>();
        if self.draw(8) == 0 { self.draw(families) } else { done / TURN % families }
    }

    fn draw(&mut self, below: usize) -> usize {
        // Xorshift: what is drawn only has to vary.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 33) as usize % below
    }

    fn new_value(&mut self) -> u64 {
        self.last_value += 1;
        self.last_value
    }

    fn create(&mut self, family: usize, id: SessionId) -> Op {
        let value = self.new_value();
        let create = || self.subject.store().try_create_with_id(&id, Value(value));
        let (created, span) = self.field.time(create);
        let stored = created.is_ok();
        if let Ok(session) = created {
            self.handles[family] = Some(Handle { session, base: value });
        }
        if stored {
            span.op("create", id, Needs::Gone, Effect::Put(value))
        } else {
            span.op("create", id, Needs::Live, Effect::Nothing)
        }
    }

    fn load(&mut self, family: usize, id: SessionId) -> Op {
        let (loaded, span) = self.field.time(|| self.subject.store().load(&id));
        let Some(session) = loaded else {
            return span.op("load", id, Needs::Gone, Effect::Nothing);
        };
        let base = session.0;
        self.handles[family] = Some(Handle { session, base });
        span.op("load", id, Needs::Holds(base), Effect::Touch)
    }

    fn peek(&self, id: SessionId) -> Op {
        let (seen, span) = self.field.time(|| self.subject.store().peek(&id));
        let needs = seen.map_or(Needs::Gone, |session| Needs::Holds(session.0));
        span.op("peek", id, needs, Effect::Nothing)
    }

    fn touch(&self, id: SessionId) -> Op {
        let (live, span) = self.field.time(|| self.subject.store().touch(&id));
        if live {
            span.op("touch", id, Needs::Live, Effect::Touch)
        } else {
            span.op("touch", id, Needs::Gone, Effect::Nothing)
        }
    }

    fn contains(&self, id: SessionId) -> Op {
        let (live, span) = self.field.time(|| self.subject.store().contains(&id));
        let needs = if live { Needs::Live } else { Needs::Gone };
        span.op("contains", id, needs, Effect::Nothing)
    }

    /// Takes the handle of a family, with a new value written in it. Makes one if there is none: a
    /// handle may be of a session that ended long ago.
    fn take_changed(&mut self, family: usize) -> (Handle, u64) {
        let value = self.new_value();
        let mut held = self.handles[family].take().unwrap_or_else(|| {
            let unstored = self.subject.store().create_with(Value(value));
            self.subject.store().destroy(unstored.id());
            Handle { session: unstored, base: value }
        });
        held.session.0 = value;
        (held, value)
    }

    fn save(&mut self, family: usize) -> Op {
        let (held, value) = self.take_changed(family);
        let id = *held.session.id();
        let (stored, span) = self.field.time(|| self.subject.save(&held.session));
        // What a handle tried to save is its base from then on, in vain or not.
        self.handles[family] = Some(Handle { base: value, ..held });
        if stored {
            span.op("save", id, Needs::Live, Effect::Put(value))
        } else {
            span.op("save", id, Needs::Gone, Effect::Nothing)
        }
    }

    fn try_save(&mut self, family: usize) -> Op {
        let (mut held, value) = self.take_changed(family);
        let (id, base) = (*held.session.id(), held.base);
        let try_save = || self.subject.store().try_save(&mut held.session);
        let (saved, span) = self.field.time(try_save);
        self.handles[family] = Some(Handle { base: value, ..held });
        match saved {
            Ok(()) => span.op("try_save", id, Needs::Holds(base), Effect::Put(value)),
            Err(SaveError::Conflict) => {
                span.op("try_save", id, Needs::HoldsNot(base), Effect::Nothing)
            }
            Err(_) => span.op("try_save", id, Needs::Gone, Effect::Nothing),
        }
    }

    fn update(&mut self, id: SessionId) -> Op {
        let value = self.new_value();
        let (replaced, span) = self.field.time(|| self.subject.update(&id, value));
        match replaced {
            Some(seen) => span.op("update", id, Needs::Holds(seen), Effect::Put(value)),
            None => span.op("update", id, Needs::Gone, Effect::Nothing),
        }
    }

    fn destroy(&self, id: SessionId) -> Op {
        let (ended, span) = self.field.time(|| self.subject.destroy(&id));
        if ended {
            span.op("destroy", id, Needs::Live, Effect::End)
        } else {
            span.op("destroy", id, Needs::Gone, Effect::Nothing)
        }
    }

    fn rotate(&mut self, family: usize) -> Op {
        let (mut held, _) = self.take_changed(family);
        let old = *held.session.id();
        let (rotated, span) = self.field.time(|| self.subject.rotate(&mut held.session));
        let new = *held.session.id();
        self.handles[family] = Some(held);
        if rotated {
            self.field.publish(family, new);
            span.op("rotate", old, Needs::Live, Effect::Move(new))
        } else {
            span.op("rotate", old, Needs::Gone, Effect::Nothing)
        }
    }

    /// Looks at every id that a window's operations named or that may have been live before it, while
    /// all is quiet, and ends the sessions that nobody could name any more.
    pub(crate) fn audit(&self, family: usize, window: &[Op], before: &[State]) -> Vec<Op> {
        let [chosen, last, _] = self.field.known(family);
        let rotated = window.iter().filter_map(|op| match op.effect {
            Effect::Move(to) => Some(to),
            _ => None,
        });
        let mut ids: Vec<_> = window.iter().map(|op| op.id).chain(rotated).collect();
        ids.extend(before.iter().flatten().map(|(id, _)| *id));
        ids.extend([chosen, last]);
        ids.sort_unstable();
        ids.dedup();
        let seen = ids.iter().map(|id| self.peek(*id)).collect::<Vec<_>>();
        let spare = ids.iter().filter(|id| ![chosen, last].contains(id));
        seen.into_iter().chain(spare.map(|id| self.destroy(*id))).collect()
    }
}
