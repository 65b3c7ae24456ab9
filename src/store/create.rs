//! Owns how a session begins: under which id, in which slot.
//!
//! An id that is taken is never handed out again, and nobody is ended for it. What makes room leaves the
//! table before the new session enters it, and is dropped after every lock is released.

use triomphe::Arc;

use super::room::{ENDS, Made, Need};
use super::{Expiry, Inner, SessionStore};
use crate::capacity::{Found, Slot};
use crate::clock::Tick;
use crate::ends::{Cause, Ended};
use crate::entry::{Entry, Record};
use crate::error::{CreateError, Rejected};
use crate::id::sealed::Named;
use crate::id::{AsSessionId, SessionId};
use crate::index::Located;
use crate::register::Register;
use crate::session::Session;
use crate::stats::Event;
use crate::sync::Ordering;
use crate::weigh::TooLarge;

/// Slices that a create runs before it finds the store full: 4096 buckets, a few microseconds each 512. In a store that
/// knows whose its sessions are, before and after each of two rounds that end guests.
const SLICES_FOR_ROOM: usize = 8;

impl<T> SessionStore<T> {
    /// Creates a session with the default data, and stores it.
    ///
    /// If there is no room for it, by whichever limit of the store, the session is returned but not stored, and
    /// counted in [`StoreStats::creates_refused`](crate::StoreStats::creates_refused);
    /// [`try_create`](Self::try_create) tells.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness for the id. `try_create` returns that as an error.
    pub fn create(&self) -> Session<T>
    where
        T: Default,
    {
        self.create_with(T::default())
    }

    /// Creates a session with the given data, and stores it, like [`create`](Self::create).
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness for the id.
    pub fn create_with(&self, data: T) -> Session<T> {
        match self.inner.create(data, Expiry::Policy) {
            Ok(session) => session,
            Err(Rejected { value, error }) => self.inner.unstored(value, error),
        }
    }

    /// Creates a session with the default data under a caller's id, any text, and stores it.
    ///
    /// An id that is taken by a live session is not handed out again: the session then gets a new
    /// one of its own, which [`Session::id`] tells. Use
    /// [`try_create_with_id`](Self::try_create_with_id) to be told instead. If there is no room for it, the
    /// session is not stored and has a new id too, as with [`create`](Self::create).
    ///
    /// # Security
    ///
    /// The session is as hard to guess as the text is. The store keeps only the text's digest
    /// (SHA-256, cut to 128 bits), unless the text is an id's canonical form; the session's
    /// [`id`](Session::id) is that digest, and finds it too. Once any foreign id exists, each lookup
    /// of a text that is not an id's form costs a digest.
    ///
    /// # Panics
    ///
    /// If the id is taken and the operating system has no randomness for another.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the shape that rust-web-server's users have"
    )]
    pub fn create_with_id(&self, id: String) -> Session<T>
    where
        T: Default,
    {
        match self.try_create_with_id(&id, T::default()) {
            Ok(session) => session,
            Err(Rejected { value, error: CreateError::Taken }) => self.create_with(value),
            Err(Rejected { value, error }) => self.inner.unstored(value, error),
        }
    }

    /// Creates a session with the default data, and stores it, or says why not.
    ///
    /// # Errors
    ///
    /// [`CreateError::AtCapacity`] if the store is full and nothing may be evicted;
    /// [`CreateError::SubjectLimit`] if the session's subject has as many as it may;
    /// [`CreateError::TooLarge`] and [`CreateError::AtByteLimit`] at
    /// [`max_bytes`](crate::Builder::max_bytes); [`CreateError::Entropy`] if there is no randomness for the id.
    pub fn try_create(&self) -> Result<Session<T>, CreateError>
    where
        T: Default,
    {
        self.try_create_with(T::default()).map_err(|rejected| rejected.error)
    }

    /// Creates a session with the given data, and stores it, or returns the data with the reason.
    ///
    /// # Errors
    ///
    /// As for [`try_create`](Self::try_create).
    pub fn try_create_with(&self, data: T) -> Result<Session<T>, Rejected<T>> {
        self.inner.create(data, Expiry::Policy)
    }

    /// Creates a session with the given data under a caller's id, and stores it, or returns the data
    /// with the reason. See [`create_with_id`](Self::create_with_id).
    ///
    /// # Errors
    ///
    /// [`CreateError::Taken`] if a live session has the id; [`CreateError::AtCapacity`] if the store
    /// is full and nothing may be evicted; [`CreateError::SubjectLimit`] if the session's subject has
    /// as many as it may; [`CreateError::TooLarge`] and [`CreateError::AtByteLimit`] at
    /// [`max_bytes`](crate::Builder::max_bytes).
    pub fn try_create_with_id(
        &self,
        id: impl AsSessionId,
        data: T,
    ) -> Result<Session<T>, Rejected<T>> {
        self.inner.create_as(self.inner.adopt(id.named()), data, Expiry::Policy)
    }
}

/// A session that is about to be stored.
struct Begun<T> {
    record: Arc<Record<T>>,
    deadline: Tick,
    /// Where it will be in the index, if it belongs to anybody.
    at: Option<Located>,
    weight: u32,
    now: Tick,
}

impl<T> Begun<T> {
    /// Gives back what was not stored.
    #[cold]
    fn reject(self, error: CreateError) -> Rejected<T> {
        let Ok(record) = Arc::try_unwrap(self.record) else { unreachable!("it was not stored") };
        Rejected { value: record.value, error }
    }

    /// Enters it into the register, if its subject may have one more.
    fn enlist(&self, register: &Register<T>, id: SessionId) -> bool {
        let slot = register.enter(self.at.as_ref(), self.weight, id, self.now);
        if let Ok(slot) = slot {
            self.record.set_word(self.record.word().with_slot(Some(slot), self.deadline));
        }
        slot.is_ok()
    }
}

impl<T> Inner<T> {
    /// Returns the id that a session is to have under a caller's name.
    pub(super) fn adopt(&self, named: Named<'_>) -> SessionId {
        if matches!(named, Named::Foreign(_)) {
            // Release: pairs with the Acquire in `Inner::resolve`; set before the session is there.
            self.foreign_ids.store(true, Ordering::Release);
        }
        named.id()
    }

    pub(super) fn create(&self, data: T, expiry: Expiry) -> Result<Session<T>, Rejected<T>> {
        let begun = self.begin(data, expiry)?;
        loop {
            let id = match self.mint.draw() {
                Ok(id) => id,
                Err(error) => return Err(begun.reject(error.into())),
            };
            match self.enter(id, &begun) {
                Ok(()) => return Ok(Session::new(id, begun.record)),
                // A taken id is redrawn.
                Err(CreateError::Taken) => {}
                Err(error) => return Err(begun.reject(error)),
            }
        }
    }

    pub(super) fn create_as(
        &self,
        id: SessionId,
        data: T,
        expiry: Expiry,
    ) -> Result<Session<T>, Rejected<T>> {
        let begun = self.begin(data, expiry)?;
        match self.enter(id, &begun) {
            Ok(()) => Ok(Session::new(id, begun.record)),
            Err(error) => Err(begun.reject(error)),
        }
    }

    /// Asks whose a new session will be, which is user code, before anything is taken: once, although its id may have
    /// to be drawn again, and before there is an id, so that data that is too large is that, entropy or not.
    fn begin(&self, data: T, expiry: Expiry) -> Result<Begun<T>, Rejected<T>> {
        let place = self.register.as_ref().map(|register| register.place(&data));
        let (at, weight) = match place.unwrap_or(Ok((None, 0))) {
            Ok(place) => place,
            Err(TooLarge) => {
                self.stats.count(Event::Refused);
                let error = CreateError::TooLarge { max_bytes: self.capacity.max_bytes() };
                return Err(Rejected { value: data, error });
            }
        };
        let now = self.clock.now();
        let (deadline, terms) = self.start(expiry, now);
        Ok(Begun { record: Record::with_terms(data, terms), deadline, at, weight, now })
    }

    /// Stores a new session under an id, if that is free and there is room.
    fn enter(&self, id: SessionId, begun: &Begun<T>) -> Result<(), CreateError> {
        let now = begun.now;
        let mut ended = Vec::new();
        let slot = match self.capacity.reserve_both(begun.weight) {
            Some(slot) => Ok(slot),
            None => self.room_for(id, begun, &mut ended),
        };
        let entered = slot.and_then(|slot| self.insert(id, begun, slot, &mut ended));
        if let Err(error) = &entered {
            self.stats.add(Event::Refused, u64::from(*error != CreateError::Taken));
        }
        // Most often nobody has ended: worth a tenth of a create.
        if !ended.is_empty() {
            self.tell(ended);
        }
        self.tend(now);
        entered
    }

    /// Returns a slot in a full store, or says why there is none. What was evicted goes to `ended`.
    fn room_for<'a>(
        &'a self,
        id: SessionId,
        begun: &Begun<T>,
        ended: &mut Vec<Ended<T>>,
    ) -> Result<Slot<'a>, CreateError> {
        // Nobody is to make room for a session that its id keeps out, least of all the id's owner, or that its
        // subject's limit refuses.
        let place = self.gate.place(id);
        match self.gate.read(&place, |entry| entry.is_live(begun.now)) {
            Some(true) => return Err(CreateError::Taken),
            // Its room is for its successor, unless somebody is faster.
            Some(false) => {
                let told = ended.len();
                ended.extend(self.take_dead(
                    &mut self.gate.exclusive(place.shard),
                    &place,
                    begun.now,
                ));
                self.count_swept(ended.len() - told);
                if let Some(slot) = self.capacity.reserve_both(begun.weight) {
                    return Ok(slot);
                }
            }
            None => {}
        }
        let need = Need { bytes: begun.weight, spare: None, now: begun.now };
        let mut found = Found::new(&self.capacity, need.bytes, 0);
        let slot = match &self.register {
            Some(register) => self.room_of_many(register, begun, &need, &mut found, ended)?,
            None => self
                .sweep_for_room(&mut found, need.now, || self.sweep.is_due(need.now))
                .or_else(|| self.capacity.make_room(&self.gate, id, need.now, ended))
                .or_else(|| self.sweep_for_room(&mut found, need.now, || self.sweep.is_needed())),
        };
        drop(found);
        slot.ok_or_else(|| self.full())
    }

    /// Returns a slot that several may have to make together: another session of the subject, what the sweep finds,
    /// and guests, each once more when the others have left what they could.
    fn room_of_many<'a>(
        &'a self,
        register: &Register<T>,
        begun: &Begun<T>,
        need: &Need,
        found: &mut Found<'a>,
        ended: &mut Vec<Ended<T>>,
    ) -> Result<Option<Slot<'a>>, CreateError> {
        for round in 0..3 {
            let at = begun.at.as_ref();
            let slot = self.room_of_own(register, at, need, found, ended)?;
            let slot = slot.or_else(|| match round {
                0 => self.sweep_for_room(found, need.now, || self.sweep.is_due(need.now)),
                _ => self
                    .end_guests(register, need, found, ended, Found::reserve)
                    .or_else(|| self.sweep_for_room(found, need.now, || self.sweep.is_needed())),
            });
            if slot.is_some() {
                return Ok(slot);
            }
        }
        Ok(None)
    }

    /// Returns a slot that is free, or that is once the limit of the session's subject has ended another one of theirs.
    fn room_of_own<'a>(
        &'a self,
        register: &Register<T>,
        at: Option<&Located>,
        need: &Need,
        found: &mut Found<'a>,
        ended: &mut Vec<Ended<T>>,
    ) -> Result<Option<Slot<'a>>, CreateError> {
        let is_full =
            |at: &&Located| register.limit.is_some() && register.index.is_full(at, register.most());
        // One is all that may end for one.
        let is_first = ended.iter().all(|it| it.cause() != Cause::Displaced);
        if let Some(at) = at.filter(is_full).filter(|_| is_first) {
            if let Made::None = self.make_room_in(register, at, need, found, ended) {
                return Err(CreateError::SubjectLimit { max_per_subject: register.most() });
            }
        }
        Ok(found.reserve())
    }

    /// Returns what the store is full of.
    fn full(&self) -> CreateError {
        let (max_sessions, max_bytes) = (self.capacity.max(), self.capacity.max_bytes());
        if self.capacity.held() >= max_sessions || max_bytes == u64::MAX {
            CreateError::AtCapacity { max_sessions }
        } else {
            CreateError::AtByteLimit { max_bytes }
        }
    }

    pub(super) fn is_taken(&self, id: SessionId, now: Tick) -> bool {
        let live = self.gate.read(&self.gate.place(id), |entry| entry.is_live(now));
        live.unwrap_or(false)
    }

    /// Stores a new session unless its id is taken, and looks a few buckets ahead for the dead.
    #[inline]
    fn insert(
        &self,
        id: SessionId,
        begun: &Begun<T>,
        slot: Slot<'_>,
        ended: &mut Vec<Ended<T>>,
    ) -> Result<(), CreateError> {
        let now = begun.now;
        let entry = Entry::new(begun.deadline, Arc::clone(&begun.record));
        let place = self.gate.place(id);
        let mut shard = self.gate.exclusive(place.shard);
        let mut ends = 0..ENDS;
        let succeeds = loop {
            let before = shard.find(&place).map(|entry| entry.is_live(now));
            if before == Some(true) {
                return Err(CreateError::Taken);
            }
            // What was noted of a caller's id concerned a session that has ended.
            self.authenticated.forget(id);
            let Some(register) = &self.register else { break before.is_some() };
            if begun.enlist(register, id) {
                break before.is_some();
            }
            drop(shard);
            let at = begun.at.as_ref().filter(|_| ends.next().is_some());
            if !at.is_some_and(|at| self.displace(register, at, now, ended)) {
                return Err(CreateError::SubjectLimit { max_per_subject: register.most() });
            }
            shard = self.gate.exclusive(place.shard);
        };
        let told = ended.len();
        if succeeds {
            ended.extend(self.take_dead(&mut shard, &place, now));
        }
        let ahead = ended.len();
        let spent = self.sweep.look_ahead(&mut shard, place.shard, now, ended);
        if ended.len() > ahead {
            self.give_back_all(ended.len() - ahead, ended[ahead..].iter());
        }
        shard.insert(&place, entry);
        shard.leave();
        drop(spent);
        slot.keep();
        self.count_swept(ended.len() - told);
        self.stats.count(Event::Created);
        Ok(())
    }

    /// Makes room at a subject's limit for a session that has all the room else. Returns whether it is worth another
    /// try.
    #[cold]
    fn displace(
        &self,
        register: &Register<T>,
        at: &Located,
        now: Tick,
        ended: &mut Vec<Ended<T>>,
    ) -> bool {
        let need = Need { bytes: 0, spare: None, now };
        let mut found = Found::new(&self.capacity, 0, 0);
        !matches!(self.make_room_in(register, at, &need, &mut found, ended), Made::None)
    }

    /// Makes the session that [`SessionStore::create`] promises where none could be stored.
    fn unstored(&self, data: T, error: CreateError) -> Session<T> {
        let id = match error {
            CreateError::Entropy(error) => Err(error),
            _ => self.mint.draw(),
        };
        match id {
            Ok(id) => Session::new(id, Record::fresh(data)),
            Err(error) => panic!("{error}"),
        }
    }

    /// Sweeps a store that is full of bytes, as for a new session, until some are given back.
    #[cold]
    pub(super) fn sweep_for_bytes(&self, now: Tick) -> bool {
        let before = self.capacity.bytes();
        let mut slices = 0..if self.sweep.is_needed() { SLICES_FOR_ROOM } else { 0 };
        slices.any(|_| {
            self.sweep_slice(now);
            self.capacity.bytes() < before
        })
    }

    /// Sweeps a full store for a slot as long as it is worth it, a few slices at the most: enough to find
    /// every expired session of a small store, and a bounded price for a flood that a large one refuses.
    #[cold]
    fn sweep_for_room<'a>(
        &'a self,
        found: &mut Found<'a>,
        now: Tick,
        worth_it: impl Fn() -> bool,
    ) -> Option<Slot<'a>> {
        for _ in 0..SLICES_FOR_ROOM {
            if !worth_it() {
                break;
            }
            self.sweep_slice(now);
            if let Some(slot) = found.reserve() {
                return Some(slot);
            }
        }
        None
    }
}
