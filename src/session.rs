//! Owns [`Session`]: what a handler holds. Never calls the store.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use crate::attributes::Attributes;
use crate::entry::Record;
use crate::id::SessionId;

/// A session in a handler's hands: its id and a snapshot of its data.
///
/// Never a guard: it locks nothing, may be held as long as you like, across an `.await` and in
/// another thread. Reading goes straight to the data. The first change makes this handle's own copy
/// of it; nobody else sees the change until it is [saved](crate::SessionStore::save).
///
/// Cloning is cheap and shares the snapshot; a change to one clone does not show in the other.
///
/// # Examples
///
/// ```
/// use cloakroom::SessionStore;
///
/// #[derive(Clone, Default)]
/// struct Visitor { cart: Vec<u32> }
///
/// let store = SessionStore::<Visitor>::builder().build()?;
/// let mut session = store.create();
/// session.cart.push(7);
/// assert!(store.load(session.id()).is_some_and(|stored| stored.cart.is_empty()));
/// store.save(&session);
/// assert!(store.load(session.id()).is_some_and(|stored| stored.cart == [7]));
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
pub struct Session<T = Attributes> {
    id: SessionId,
    /// The version this handle's data was derived from.
    base: Arc<Record<T>>,
    /// This handle's changes: a copy of `base` to begin with.
    draft: Option<Arc<Record<T>>>,
    /// The copy that this handle saved last, where `save` had to make one. A lock of its own,
    /// because `save` takes the handle shared; never held while user code runs.
    copy: Mutex<Option<Arc<Record<T>>>>,
}

impl<T> Session<T> {
    pub(crate) fn new(id: SessionId, record: Arc<Record<T>>) -> Self {
        Self { id, base: record, draft: None, copy: Mutex::new(None) }
    }

    /// Returns the session's id, to load it by or to make a cookie's text of.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn set_id(&mut self, id: SessionId) {
        self.id = id;
    }

    fn record(&self) -> &Arc<Record<T>> {
        self.draft.as_ref().unwrap_or(&self.base)
    }

    /// Tells whether this handle's data was derived from `stored`, with nothing saved in between.
    pub(crate) fn is_based_on(&self, stored: &Arc<Record<T>>) -> bool {
        // A draft that is stored is this handle's own save.
        Arc::ptr_eq(stored, &self.base)
            || self.draft.as_ref().is_some_and(|draft| Arc::ptr_eq(stored, draft))
            || self.copied().is_some_and(|copy| Arc::ptr_eq(stored, &copy))
    }

    fn copied(&self) -> Option<Arc<Record<T>>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note that this handle's data was saved as `stored`. Returns what was noted before, for
    /// the caller to drop.
    pub(crate) fn note_saved(&self, stored: Arc<Record<T>>) -> Option<Arc<Record<T>>> {
        let is_draft = |draft| Arc::ptr_eq(&stored, draft);
        if self.draft.as_ref().is_some_and(is_draft) {
            return None;
        }
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).replace(stored)
    }

    /// Makes `stored` the version that this handle's data was derived from, and returns what the
    /// handle held before, to be dropped where a panic is caught.
    pub(crate) fn rebase(
        &mut self,
        stored: Arc<Record<T>>,
    ) -> impl Iterator<Item = Arc<Record<T>>> + use<T> {
        let base = std::mem::replace(&mut self.base, stored);
        let copy = std::mem::take(self.copy.get_mut().unwrap_or_else(PoisonError::into_inner));
        std::iter::once(base).chain(self.draft.take()).chain(copy)
    }
}

impl<T: Clone> Session<T> {
    /// Returns this handle's data in a record that is stored by nobody else: the draft, the first
    /// time, and then a copy, so that each commit is another record.
    pub(crate) fn to_commit(&self) -> Arc<Record<T>> {
        match &self.draft {
            Some(draft) if draft.claim() => Arc::clone(draft),
            _ => {
                let copy = Record::fresh(self.record().value.clone());
                copy.claim();
                copy
            }
        }
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            base: Arc::clone(&self.base),
            draft: self.draft.clone(),
            copy: Mutex::new(self.copied()),
        }
    }
}

impl<T> Deref for Session<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.record().value
    }
}

impl<T: Clone> DerefMut for Session<T> {
    /// Returns this handle's own copy of the data, made by the first call after a load or a save.
    fn deref_mut(&mut self) -> &mut T {
        // A draft that a commit has taken may be stored: it is the base of what comes now. A draft
        // shared with a clone of this handle stays as it is for the clone.
        if let Some(draft) = self.draft.take_if(|draft| !draft.is_fresh()) {
            self.base = draft;
        }
        let draft = self.draft.get_or_insert_with(|| Record::fresh(self.base.value.clone()));
        if Arc::get_mut(draft).is_none() {
            *draft = Record::fresh(draft.value.clone());
        }
        match Arc::get_mut(draft) {
            Some(own) => &mut own.value,
            None => unreachable!("a record made just now has one owner"),
        }
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
