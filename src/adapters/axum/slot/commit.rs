//! Owns how what a handle of a request holds comes into the store, and what becomes of a conflict.

use std::mem;

use super::{Says, Slot};
use crate::adapters::axum::held::Held;
use crate::adapters::axum::refused::Refused;
use crate::adapters::axum::settings::OnConflict;
use crate::error::{Rejected, SaveError};
use crate::id::SessionId;
use crate::session::Session as Handle;
use crate::stats::Event;

impl<T: Clone + Default> Slot<T> {
    /// Saves what a handle holds. `base` is what its changes begin with, if that is saved apart from them and not what
    /// it loaded. A layer that merges then saves the changes alone: whoever has the base saves that, and at once maybe.
    pub(super) fn commit(
        &self,
        held: &mut Held<T>,
        base: Option<&T>,
        epoch: u32,
        how: OnConflict<T>,
    ) -> Result<(), Refused> {
        let (mut id, mut version) = self.with_of(epoch, |state| (state.id(), state.version))?;
        if let Held::New { data, .. } = held {
            if id.is_none() {
                let mut changes = self.changes(base, data, T::default);
                match self.create(changes.as_mut().unwrap_or(data), epoch) {
                    Err(Refused::Conflict) => {}
                    created => {
                        *held = Held::found(created?);
                        return Ok(());
                    }
                }
                (id, version) = self.with_of(epoch, |state| (state.id(), state.version))?;
            }
            // Two handles of one request, and the other was faster.
            *held = self.commit_second(data, base, id.ok_or(Refused::Gone)?, how)?;
        }
        let Held::Stored { session, changed } = held else { unreachable!("a new one was created") };
        session.set_id(id.ok_or(Refused::Gone)?);
        if *changed {
            self.commit_stored(session, base, how)?;
            *changed = false;
        }
        if self.note(session, epoch, version).is_none() {
            self.look_again(epoch);
        }
        Ok(())
    }

    /// Returns what comes of changes alone, if that is what is to be saved, on what was there before.
    fn changes(&self, base: Option<&T>, changed: &T, before: impl FnOnce() -> T) -> Option<T> {
        let (base, merge) = base.zip(self.settings.on_conflict.merge())?;
        let mut value = before();
        merge(base, changed, &mut value);
        Some(value)
    }

    /// Puts a visitor's first changes to those of another handle, which has begun the session.
    fn commit_second(
        &self,
        data: &T,
        base: Option<&T>,
        id: SessionId,
        how: OnConflict<T>,
    ) -> Result<Held<T>, Refused> {
        let stored = match how {
            OnConflict::Refuse => Err(Refused::Conflict),
            OnConflict::LastWins => {
                self.merge(&id, data, data, |_, changed, stored| stored.clone_from(changed))
            }
            OnConflict::Merge(merge) => {
                let blank = T::default();
                self.merge(&id, base.unwrap_or(&blank), data, merge)
            }
        };
        stored.map(Held::found)
    }

    fn commit_stored(
        &self,
        session: &mut Handle<T>,
        base: Option<&T>,
        how: OnConflict<T>,
    ) -> Result<(), Refused> {
        let store = &self.settings.store;
        match how {
            OnConflict::LastWins => Ok(store.save_or_say(session)?),
            OnConflict::Refuse => self.save_if_unchanged(session, base),
            OnConflict::Merge(merge) => {
                if base.is_none() {
                    match store.try_save(session) {
                        Err(SaveError::Conflict) => {}
                        saved => return Ok(saved?),
                    }
                }
                // As it was before the first change that is not saved.
                let (loaded, _) = session.versions();
                let loaded = base.unwrap_or(&loaded.value);
                *session = self.merge(session.id(), loaded, session, merge)?;
                Ok(())
            }
        }
    }

    fn save_if_unchanged(&self, session: &mut Handle<T>, base: Option<&T>) -> Result<(), Refused> {
        let store = &self.settings.store;
        let (loaded, _) = session.versions();
        let Some(changes) = self.changes(base, session, || loaded.value.clone()) else {
            return Ok(store.try_save(session)?);
        };
        // Another handle, because this one shows what it holds if that is refused.
        let mut other = session.clone();
        *other = changes;
        store.try_save(&mut other)?;
        *session = other;
        Ok(())
    }

    /// Puts changes to what is stored, and returns that. Where the session has ended, it counts as a refused save.
    fn merge(
        &self,
        id: &SessionId,
        loaded: &T,
        changed: &T,
        merge: fn(&T, &T, &mut T),
    ) -> Result<Handle<T>, Refused> {
        let store = &self.settings.store;
        let change = |stored: &mut T| merge(loaded, changed, stored);
        store.update_or_count(id, change, Event::SavedGone)?;
        store.peek(id).ok_or(Refused::Gone)
    }

    /// Creates the request's session; or gives the data back, with the reason.
    pub(super) fn create(&self, data: &mut T, epoch: u32) -> Result<Handle<T>, Refused> {
        let store = &self.settings.store;
        let session = match store.try_create_with(mem::take(data)) {
            Ok(session) => session,
            Err(Rejected { value, error }) => {
                *data = value;
                return Err(error.into());
            }
        };
        let installed = self.with(|state| {
            if state.sealed {
                return Err(Refused::ResponseSent);
            }
            if state.epoch != epoch {
                return Err(Refused::Gone);
            }
            if state.found.is_some() {
                return Err(Refused::Conflict);
            }
            state.found = Some(session.clone());
            state.says = Says::Keep;
            state.version += 1;
            Ok(())
        });
        if installed.is_err() {
            // Nobody will ever know its id.
            store.destroy(session.id());
            data.clone_from(&session);
        }
        installed.map(|()| session)
    }
}
