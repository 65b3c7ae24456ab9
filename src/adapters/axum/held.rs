//! Owns what a handle of a request holds, and what handles leave to be saved with the response.

use std::iter;
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
pub(super) type Draft<T> = Arc<Left<T>>;

pub(super) struct Left<T> {
    pub(super) held: Held<T>,
    /// What its changes begin with, where that was not in its place when it was left.
    base: Option<Draft<T>>,
    /// Which drafts took the place of one another: each is part of those after it.
    line: u32,
}

/// A draft that is yet to be saved, the last of its line.
pub(super) struct Unsaved<T> {
    pub(super) draft: Draft<T>,
    /// What its changes begin with, where that is saved apart from it.
    pub(super) base: Option<Draft<T>>,
}

/// What handles left to be saved: one draft, unless several were changed at once.
pub(super) struct Drafts<T> {
    unsaved: Vec<Unsaved<T>>,
    /// How many have begun.
    lines: u32,
}

impl<T> Drafts<T> {
    pub(super) const fn new() -> Self {
        Self { unsaved: Vec::new(), lines: 0 }
    }

    pub(super) fn last(&self) -> Option<&Draft<T>> {
        self.unsaved.last().map(|unsaved| &unsaved.draft)
    }

    pub(super) fn take_first(&mut self) -> Option<Unsaved<T>> {
        (!self.unsaved.is_empty()).then(|| self.unsaved.remove(0))
    }

    pub(super) fn take_all(&mut self) -> Vec<Unsaved<T>> {
        mem::take(&mut self.unsaved)
    }

    /// Takes out the draft that a handle has seen, which is part of what the handle holds; or says that it has been
    /// saved apart, or is part of another one by now, and so is what the handle's changes begin with.
    ///
    /// Of both, no last reference is dropped here.
    pub(super) fn supersede(
        &mut self,
        seen: Option<Draft<T>>,
    ) -> (Option<Unsaved<T>>, Option<Draft<T>>) {
        let is_seen =
            |it: &Unsaved<T>| seen.as_ref().is_some_and(|seen| Arc::ptr_eq(&it.draft, seen));
        let Some(at) = self.unsaved.iter().position(is_seen) else { return (None, seen) };
        let replaced = self.unsaved.remove(at);
        let base = replaced.base.clone();
        (Some(replaced), base)
    }

    /// Leaves what a handle holds, and returns the draft that this replaces.
    pub(super) fn leave(&mut self, held: Held<T>, seen: Option<Draft<T>>) -> Option<Unsaved<T>> {
        let (replaced, base) = self.supersede(seen);
        let line = replaced.as_ref().map_or_else(|| self.next_line(), |it| it.draft.line);
        let draft = Arc::new(Left { held, base: base.clone(), line });
        self.unsaved.push(Unsaved { draft, base });
        replaced
    }

    fn next_line(&mut self) -> u32 {
        self.lines += 1;
        self.lines
    }

    /// Takes back what was taken out, before all others.
    pub(super) fn give_back(&mut self, unsaved: Unsaved<T>) {
        self.unsaved.insert(0, unsaved);
    }

    /// Takes note that what began with `base` was stored with it: it is not to be stored again, by itself or as
    /// part of another draft. Returns what nobody needs any more.
    pub(super) fn note_saved(&mut self, base: &Draft<T>) -> Vec<Draft<T>> {
        let mut left = Vec::new();
        // And so was what that had begun with. The oldest first: of a line, the latest counts.
        let all: Vec<_> = iter::successors(Some(base), |saved| saved.base.as_ref()).collect();
        for saved in all.into_iter().rev() {
            let of_its_line = |it: &Unsaved<T>| it.draft.line == saved.line;
            let Some(at) = self.unsaved.iter().position(of_its_line) else { continue };
            if Arc::ptr_eq(&self.unsaved[at].draft, saved) {
                let Unsaved { draft, base } = self.unsaved.remove(at);
                left.extend(base.into_iter().chain([draft]));
            } else {
                left.extend(self.unsaved[at].base.replace(Arc::clone(saved)));
            }
        }
        left
    }
}
