//! Owns what one request knows of its session: found or not, changed or not, and what the cookie is to
//! say. Shared by the layer and the handles of the request.
//!
//! The lock is the request's own. Under it nothing is loaded, saved, cloned by user code or dropped:
//! whatever leaves the slot is returned out of the lock.

mod commit;

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use axum_core::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::held::{Drafts, Held, Unsaved, View};
use super::refused::{NotSaved, Refused};
use super::settings::{CookieLifetime, OnConflict, Settings};
use crate::cookie;
use crate::error::RotateError;
use crate::id::SessionId;
use crate::session::Session as Handle;
use crate::store::SessionStore;
use crate::sync::{AtomicBool, Ordering};

/// A request's slot, shared: a count without weak references, so that asking whether it is the last one
/// takes no locked instruction.
pub(super) type Shared<T> = triomphe::Arc<Slot<T>>;

/// What the response says of the cookie.
#[derive(Clone, Copy)]
enum Says {
    Nothing,
    Keep,
    Forget,
}

struct State<T> {
    /// The request's session; its id is the one that counts, whatever the handles' are.
    found: Option<Handle<T>>,
    drafts: Drafts<T>,
    /// Counts what was left or saved, so that a handle knows whether it is behind.
    version: u32,
    /// Counts the sessions that this request ended: what a handle holds of an earlier one is void.
    epoch: u32,
    says: Says,
    /// Whether the response has its cookie, or there will be none.
    sealed: bool,
}

impl<T> State<T> {
    /// Ends the time in which the cookie can change, if nothing is left to be saved; otherwise returns
    /// what is to be saved first, and the epoch it is of.
    fn seal(&mut self) -> Result<(Says, Option<SessionId>), (Unsaved<T>, u32)> {
        if let Some(unsaved) = self.drafts.take_first() {
            return Err((unsaved, self.epoch));
        }
        self.sealed = true;
        Ok((self.says, self.id()))
    }

    fn id(&self) -> Option<SessionId> {
        self.found.as_ref().map(|session| *session.id())
    }
}

pub(super) struct Slot<T> {
    settings: Arc<Settings<T>>,
    /// Whether the store was asked for the session. Written under the lock.
    asked: AtomicBool,
    state: Mutex<State<T>>,
}

impl<T> Slot<T> {
    pub(super) fn new(settings: Arc<Settings<T>>) -> Self {
        let state = State {
            found: None,
            drafts: Drafts::new(),
            version: 0,
            epoch: 0,
            says: Says::Nothing,
            sealed: false,
        };
        Self { settings, asked: AtomicBool::new(false), state: Mutex::new(state) }
    }

    /// What the closure returns is dropped by the caller, outside the lock.
    fn with<R>(&self, look: impl FnOnce(&mut State<T>) -> R) -> R {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Like [`with`](Self::with), but for the lock where nobody else is left, as after most handlers.
    fn with_last<R>(this: &mut Shared<T>, look: impl FnOnce(&mut State<T>) -> R) -> R {
        match Shared::get_mut(this) {
            Some(slot) => look(slot.state.get_mut().unwrap_or_else(PoisonError::into_inner)),
            None => this.with(look),
        }
    }

    /// Ends the time in which the cookie can change, for there will be no response: what was left is not saved.
    fn abandon(this: &mut Shared<T>) {
        let left = Self::with_last(this, |state| {
            state.sealed = true;
            state.drafts.take_all()
        });
        drop(left);
    }

    pub(super) fn id(&self) -> Option<SessionId> {
        self.with(|state| state.id())
    }

    /// Leaves what a handle has changed to be saved with the response.
    pub(super) fn put_back(&self, view: View<T>) {
        let View { held, seen, epoch, .. } = view;
        let kept = self.with(|state| {
            if state.sealed || state.epoch != epoch {
                return Err((held, seen));
            }
            state.version += 1;
            Ok(state.drafts.leave(held, seen))
        });
        #[cfg(feature = "tracing")]
        if kept.is_err() {
            tracing::debug!(target: "cloakroom", "changes to a session came too late and are lost");
        }
        drop(kept);
    }
}

impl<T: Clone + Default> Slot<T> {
    /// Returns what the request holds by now. The first time, it asks the store for what the cookie says.
    pub(super) fn open(&self, headers: &HeaderMap) -> View<T> {
        // Relaxed, here and below: whoever sees it set waits for the lock under which it was.
        if self.asked.load(Ordering::Relaxed) {
            return self.open_again();
        }
        let sent = self.settings.cookie.read_all(headers.get_all(header::COOKIE));
        let loaded = sent.and_then(|id| self.settings.store.load(&id));
        let mine = loaded.as_ref().map(again);
        let first = self.with(|state| {
            // Somebody else of this request may have been faster.
            if self.asked.load(Ordering::Relaxed) {
                return Err(loaded);
            }
            self.asked.store(true, Ordering::Relaxed);
            state.found = loaded;
            Ok((state.version, state.epoch))
        });
        let Ok((version, epoch)) = first else { return self.open_again() };
        let held = mine.map_or_else(Held::blank, Held::found);
        View { held, seen: None, changed: false, own: false, version, epoch }
    }

    fn open_again(&self) -> View<T> {
        let (seen, found, version, epoch) = self.with(|state| {
            let draft = state.drafts.last().map(Arc::clone);
            (draft, state.found.clone(), state.version, state.epoch)
        });
        let held = match (&seen, found) {
            (Some(draft), _) => Held::clone(draft),
            (None, found) => found.map_or_else(Held::blank, Held::found),
        };
        View { held, seen, changed: false, own: false, version, epoch }
    }

    /// Gives a handle that is about to change something what others of the request left meanwhile.
    pub(super) fn catch_up(&self, view: &mut View<T>) {
        let is_behind =
            self.with(|state| state.version != view.version || state.epoch != view.epoch);
        if is_behind {
            *view = self.open_again();
        }
    }

    /// Saves what a handle shows now, unless somebody else saved the session since it was loaded.
    pub(super) fn try_save(&self, view: &mut View<T>) -> Result<(), Refused> {
        if !view.own {
            // All it holds is what others have left, and that may be part of something else by now.
            self.catch_up(view);
        }
        self.save(view, OnConflict::Refuse)
    }

    /// Saves what a handle holds now. What is refused is not saved with the response either; after a
    /// conflict the handle shows what is stored. What others have left stays left.
    fn save(&self, view: &mut View<T>, how: OnConflict<T>) -> Result<(), Refused> {
        if !view.held.is_unsaved() {
            return Ok(());
        }
        let seen = view.seen.clone();
        let taken = self.with(|state| {
            if state.epoch != view.epoch {
                return Err((Refused::Gone, seen));
            }
            state.version += 1;
            view.version = state.version;
            Ok(state.drafts.supersede(seen))
        });
        view.changed = false;
        let (replaced, base) = taken.map_err(|(refused, _)| refused)?;
        let mut replaced = Replaced { slot: self, unsaved: replaced, epoch: view.epoch };
        let base = base.as_ref().map(|base| base.data());
        let saved = self.commit(&mut view.held, base, view.epoch, how);
        if saved.is_ok() {
            drop(replaced.unsaved.take());
            (view.own, view.seen) = (false, None);
        }
        drop(replaced);
        if saved == Err(Refused::Conflict) {
            self.refresh(view);
        }
        saved
    }

    /// Changes the stored session in one step, or creates it.
    pub(super) fn update<R>(
        &self,
        view: &mut View<T>,
        mut change: impl FnMut(&mut T) -> R,
    ) -> Result<R, Refused> {
        if !view.changed {
            self.catch_up(view);
        }
        self.save(view, self.settings.on_conflict)?;
        if let Held::New { data, .. } = &view.held {
            // On a copy, so that a panic changes nothing.
            let mut value = T::clone(data);
            let result = change(&mut value);
            match self.create(&mut value, view.epoch) {
                // Another handle has begun one meanwhile: once more, on that.
                Err(Refused::Conflict) => {}
                created => {
                    view.held = Held::found(created?);
                    return Ok(result);
                }
            }
        }
        let id = self.with_of(view.epoch, State::id)?.ok_or(Refused::Gone)?;
        let result = self.settings.store.try_update(&id, change)?;
        self.refresh(view);
        Ok(result)
    }

    /// Shows a handle what the store holds, without counting as activity.
    fn refresh(&self, view: &mut View<T>) {
        if let Some((session, version)) = self.look_again(view.epoch) {
            view.show(session, version);
        }
    }

    /// Takes note of what the store holds, and returns it, unless a handle has ended the session of `epoch`.
    fn look_again(&self, epoch: u32) -> Option<(Handle<T>, u32)> {
        loop {
            let (id, version) = self.with_of(epoch, |state| (state.id(), state.version)).ok()?;
            let session = self.settings.store.peek(&id?)?;
            if let Some(version) = self.note(&session, epoch, version) {
                return Some((session, version));
            }
        }
    }

    /// Takes note of what was saved, for the handles to come, unless another one has ended that session
    /// meanwhile; and under the id that counts, for another one may have rotated it. `None` if something was noted
    /// since `version`, which may be newer.
    fn note(&self, session: &Handle<T>, epoch: u32, version: u32) -> Option<u32> {
        let mut session = session.clone();
        let (_unused, noted) = self.with(|state| {
            if state.epoch != epoch {
                return (session, Some(state.version));
            }
            if state.version != version {
                return (session, None);
            }
            state.version += 1;
            let unused = match state.found.as_mut() {
                Some(found) => {
                    session.set_id(*found.id());
                    mem::replace(found, session)
                }
                None => session,
            };
            (unused, Some(state.version))
        });
        noted
    }

    /// Like [`with`](Self::with), unless a handle has ended the session of `epoch`.
    fn with_of<R>(&self, epoch: u32, look: impl FnOnce(&State<T>) -> R) -> Result<R, Refused> {
        self.with(|state| if state.epoch == epoch { Ok(look(state)) } else { Err(Refused::Gone) })
    }

    /// Rotates the session as having authenticated; a visitor's without one is created for it.
    pub(super) fn reauthenticate(&self, view: &mut View<T>) -> Result<(), Refused> {
        if !view.changed {
            self.catch_up(view);
        }
        if let Held::New { changed, .. } = &mut view.held {
            (*changed, view.own) = (true, true);
            self.save(view, self.settings.on_conflict)?;
        }
        // Who has signed in by the handle of a session that has ended is not who has begun the next.
        self.rotate(Some(view.epoch), SessionStore::reauthenticate)
    }

    /// Gives the session a new id by `how`: that of `epoch`, if one is named.
    pub(super) fn rotate(
        &self,
        epoch: Option<u32>,
        how: impl FnOnce(&SessionStore<T>, &mut Handle<T>) -> Result<(), RotateError>,
    ) -> Result<(), Refused> {
        let found = self.with(|state| {
            if state.sealed {
                Err(Refused::ResponseSent)
            } else if epoch.is_some_and(|epoch| epoch != state.epoch) {
                Err(Refused::Gone)
            } else {
                Ok((state.found.clone(), state.epoch))
            }
        });
        let (Some(mut session), epoch) = found? else { return Ok(()) };
        how(&self.settings.store, &mut session)?;
        let id = *session.id();
        let rotated = self.with(|state| {
            let in_time = !state.sealed && state.epoch == epoch;
            let found = state.found.as_mut().filter(|_| in_time)?;
            found.set_id(id);
            state.says = Says::Keep;
            Some(())
        });
        if rotated.is_none() {
            // Another handle has ended it in between, or the response has left without the new id.
            self.settings.store.destroy(&id);
        }
        rotated.ok_or(Refused::Gone)
    }

    pub(super) fn destroy(&self, view: &mut View<T>) -> bool {
        let (found, drafts) = self.with(|state| {
            self.asked.store(true, Ordering::Relaxed);
            state.epoch += 1;
            state.version += 1;
            state.says = Says::Forget;
            (state.found.take(), state.drafts.take_all())
        });
        drop(drafts);
        let ended = found.is_some_and(|session| self.settings.store.destroy(session.id()));
        *view = self.open_again();
        ended
    }

    /// Saves what handles have left, and puts the cookie on the response.
    fn finish(this: &mut Shared<T>, response: &mut Response) {
        let status = response.status();
        // 408 is what timeouts answer, and they drop the handler in the middle of what it was doing.
        let failed = status.is_server_error()
            || status == StatusCode::REQUEST_TIMEOUT
            || response.extensions().get::<NotSaved>().is_some();
        let mut refused = None;
        let (says, id) = loop {
            match Self::with_last(this, State::seal) {
                Ok(sealed) => break sealed,
                Err((unsaved, _)) if failed => drop(unsaved),
                Err((unsaved, epoch)) => refused = this.save_last(unsaved, epoch).err().or(refused),
            }
        };
        if let Some(refused) = refused {
            let made = mem::take(response);
            *response.status_mut() = refused.status();
            response.extensions_mut().insert(NotSaved);
            // Those of layers further in tell of what has happened.
            let cookies = made.headers().get_all(header::SET_COOKIE).iter().cloned();
            cookies.for_each(|cookie| add_cookie(response, cookie));
        }
        if let Some(cookie) = this.set_cookie(says, id) {
            add_cookie(response, cookie);
        }
    }

    fn save_last(&self, unsaved: Unsaved<T>, epoch: u32) -> Result<(), Refused> {
        let Unsaved { draft, base } = unsaved;
        let mut held = Arc::unwrap_or_clone(draft);
        let base = base.as_ref().map(|base| base.data());
        let how = self.settings.on_conflict;
        match (self.commit(&mut held, base, epoch, how), how) {
            (Err(Refused::Gone), OnConflict::LastWins) => Ok(()),
            (saved, _) => saved,
        }
    }

    fn set_cookie(&self, says: Says, id: Option<SessionId>) -> Option<HeaderValue> {
        let Settings { store, cookie, lifetime, .. } = &*self.settings;
        let renewed = |id| {
            let max_age = cookie::max_age(store, &id)?;
            Some(cookie.text(&id, max_age.filter(|_| *lifetime == CookieLifetime::Session)))
        };
        let text = match (says, id) {
            (Says::Keep, Some(id)) => renewed(id).unwrap_or_else(|| cookie.removal().to_string()),
            (Says::Forget, _) => cookie.removal().to_string(),
            (Says::Nothing, Some(id)) if *lifetime == CookieLifetime::Session && store.slides() => {
                renewed(id)?
            }
            _ => return None,
        };
        // A name is a token and a value base64url, so this is always one.
        HeaderValue::try_from(text).ok()
    }
}

/// The slot of a request that is yet to be answered. Dropped before that, it is sealed, so that no handle which lives
/// on begins a session, or gives one an id, of which the browser is never told.
pub(super) struct Unanswered<T>(Option<Shared<T>>);

impl<T> Unanswered<T> {
    pub(super) fn new(slot: Shared<T>) -> Self {
        Self(Some(slot))
    }
}

impl<T: Clone + Default> Unanswered<T> {
    /// Ends the request: with its session's cookie on the response, if there is one.
    pub(super) fn answer<E>(&mut self, answer: &mut Result<Response, E>) {
        let Some(slot) = &mut self.0 else { return };
        match answer {
            Ok(response) => Slot::finish(slot, response),
            Err(_) => Slot::abandon(slot),
        }
        // Only now: user code that panics while it saves leaves a slot to be sealed.
        self.0 = None;
    }
}

impl<T> Drop for Unanswered<T> {
    fn drop(&mut self) {
        if let Some(slot) = &mut self.0 {
            Slot::abandon(slot);
        }
    }
}

/// What was left before and has become part of what is saved now: left to be saved after all where that is refused, or
/// user code panics.
struct Replaced<'a, T> {
    slot: &'a Slot<T>,
    unsaved: Option<Unsaved<T>>,
    epoch: u32,
}

impl<T> Drop for Replaced<'_, T> {
    fn drop(&mut self) {
        let Some(unsaved) = self.unsaved.take() else { return };
        let late = self.slot.with(|state| {
            if state.sealed || state.epoch != self.epoch {
                return Some(unsaved);
            }
            state.drafts.give_back(unsaved);
            None
        });
        drop(late);
    }
}

/// Puts a cookie on a response that no cache may then keep.
fn add_cookie(response: &mut Response, cookie: HeaderValue) {
    let headers = response.headers_mut();
    headers.append(header::SET_COOKIE, cookie);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Returns another handle of what was loaded just now: a clone, without asking what was saved since.
fn again<T>(loaded: &Handle<T>) -> Handle<T> {
    let (record, _) = loaded.versions();
    Handle::new(*loaded.id(), record.clone())
}

#[cfg(test)]
mod tests;
