//! Owns what a handle of a request holds, and what handles leave to be saved with the response.

use std::mem;
use std::sync::Arc;

use crate::session::Session as Handle;

/// What a request holds of a session. Small, whatever `T` is: handlers are moved more than once.
pub(super) enum Held<T> {
    /// A session of the store.
    Stored { session: Handle<T>, changed: bool },
    /// The data of a visitor without a session.
    New { data: Box<T>, changed: bool },
}

impl<T> Held<T> {
    pub(super) fn found(session: Handle<T>) -> Self {
        Self::Stored { session, changed: false }
    }

    pub(super) fn is_unsaved(&self) -> bool {
        let (Self::Stored { changed, .. } | Self::New { changed, .. }) = self;
        *changed
    }

    pub(super) fn data(&self) -> &T {
        match self {
            Self::Stored { session, .. } => session,
            Self::New { data, .. } => data,
        }
    }
}

impl<T: Default> Held<T> {
    pub(super) fn blank() -> Self {
        Self::New { data: Box::default(), changed: false }
    }
}

impl<T: Clone> Clone for Held<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Stored { session, changed } => {
                Self::Stored { session: session.clone(), changed: *changed }
            }
            Self::New { data, changed } => Self::New { data: data.clone(), changed: *changed },
        }
    }
}

/// What one handle sees, and since when.
pub(super) struct View<T> {
    pub(super) held: Held<T>,
    /// What was left before and is part of what the handle holds.
    pub(super) seen: Option<Draft<T>>,
    /// Whether this very handle changed it since it was saved, or refused.
    pub(super) changed: bool,
    /// Whether it holds changes of its own that are not saved, be they refused.
    pub(super) own: bool,
    pub(super) version: u32,
    pub(super) epoch: u32,
}

impl<T> View<T> {
    /// Shows what is stored.
    pub(super) fn show(&mut self, session: Handle<T>, version: u32) {
        (self.held, self.seen) = (Held::found(session), None);
        (self.changed, self.own, self.version) = (false, false, version);
    }
}

/// What a handle left: shared, because it is cloned outside the lock.
pub(super) type Draft<T> = Arc<Held<T>>;

/// A draft that is yet to be saved.
pub(super) struct Unsaved<T> {
    pub(super) draft: Draft<T>,
    /// What its changes begin with, where that is saved apart from it.
    pub(super) base: Option<Draft<T>>,
}

/// What handles left to be saved: one draft, unless several were changed at once.
pub(super) struct Drafts<T>(Vec<Unsaved<T>>);

impl<T> Drafts<T> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn last(&self) -> Option<&Draft<T>> {
        self.0.last().map(|unsaved| &unsaved.draft)
    }

    pub(super) fn take_first(&mut self) -> Option<Unsaved<T>> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    pub(super) fn take_all(&mut self) -> Vec<Unsaved<T>> {
        mem::take(&mut self.0)
    }

    /// Takes out the draft that a handle has seen, which is part of what the handle holds; or says that it is saved
    /// apart, by itself or as part of another one, and so is what the handle's changes begin with.
    ///
    /// Of both, no last reference is dropped here.
    pub(super) fn supersede(
        &mut self,
        seen: Option<Draft<T>>,
    ) -> (Option<Unsaved<T>>, Option<Draft<T>>) {
        let is_seen =
            |it: &Unsaved<T>| seen.as_ref().is_some_and(|seen| Arc::ptr_eq(&it.draft, seen));
        let Some(at) = self.0.iter().position(is_seen) else { return (None, seen) };
        let replaced = self.0.remove(at);
        let base = replaced.base.clone();
        (Some(replaced), base)
    }

    /// Leaves what a handle holds, and returns the draft that this replaces.
    pub(super) fn leave(&mut self, held: Held<T>, seen: Option<Draft<T>>) -> Option<Unsaved<T>> {
        let (replaced, base) = self.supersede(seen);
        self.0.push(Unsaved { draft: Arc::new(held), base });
        replaced
    }

    /// Takes back what was taken out, before all others.
    pub(super) fn give_back(&mut self, unsaved: Unsaved<T>) {
        self.0.insert(0, unsaved);
    }
}
