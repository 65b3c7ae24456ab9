//! Owns what handlers hold, and the operations of a run that are done with it: change, save, rotate.

use cloakroom::{Cause, SaveError, Session};

use super::reference::Verdict;
use super::run::{Data, Run, same};

/// Handles kept at a time; the oldest makes way.
const HANDLES: usize = 6;

/// A handle, and what it should hold.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) session: Session<Data>,
    pub(super) value: u32,
    /// The stored version its data comes from.
    pub(super) base: u64,
    /// The version that its next save stores, once changed.
    pub(super) draft: Option<u64>,
    /// The version that its last save of what was not its draft has stored.
    pub(super) copy: Option<u64>,
}

impl Run {
    /// Does an operation with a handle, counted back from the newest, if there is any.
    pub(super) fn with(
        &mut self,
        back: u8,
        operation: impl FnOnce(&mut Self, &mut Handle) -> Verdict,
    ) -> Verdict {
        let Some(back) = usize::from(back).checked_rem(self.handles.len()) else {
            return Ok(());
        };
        let at = self.handles.len() - 1 - back;
        let mut handle = self.handles.remove(at);
        let verdict = operation(self, &mut handle);
        self.handles.insert(at, handle);
        verdict
    }

    pub(super) fn hold(&mut self, handle: Handle) {
        self.handles.push(handle);
        if self.handles.len() > HANDLES {
            self.handles.remove(0);
        }
    }

    pub(super) fn mutate(&mut self, handle: &mut Handle) -> Verdict {
        handle.value = self.fresh_value();
        handle.session.set(handle.value);
        if let Some(draft) = handle.draft.filter(|draft| self.taken.contains(draft)) {
            handle.base = draft;
        }
        handle.draft = Some(self.reference.next_version());
        Ok(())
    }

    /// Returns the version that a save of this handle stores: its draft, if no save has stored that.
    fn version_of(&mut self, handle: &Handle) -> u64 {
        match handle.draft {
            Some(draft) if !self.taken.contains(&draft) => draft,
            _ => self.reference.next_version(),
        }
    }

    pub(super) fn save(&mut self, handle: &mut Handle) -> Verdict {
        let saved = self.store.save(&handle.session);
        let version = self.version_of(handle);
        let stored = self.reference.active(Some(*handle.session.id()));
        same("save", saved, stored.is_some())?;
        if let Some(stored) = stored {
            (stored.data, stored.version) = (handle.value, version);
            self.taken.insert(version);
            if handle.draft != Some(version) {
                handle.copy = Some(version);
            }
            self.reference.counts.saved += 1;
        } else {
            self.reference.counts.saves_refused += 1;
        }
        self.settle(Vec::new())
    }

    pub(super) fn try_save(&mut self, handle: &mut Handle) -> Verdict {
        let result = self.store.try_save(&mut handle.session);
        let version = self.version_of(handle);
        let id = Some(*handle.session.id());
        let stored = self.reference.live(id).map(|stored| stored.version);
        // What it loaded, or saved itself.
        let own = [Some(handle.base), handle.draft, handle.copy];
        let want = match stored {
            None => Err(SaveError::Gone),
            Some(stored) if !own.contains(&Some(stored)) => {
                // No activity: the deadline stays.
                Err(SaveError::Conflict)
            }
            Some(_) => {
                if let Some(stored) = self.reference.active(id) {
                    (stored.data, stored.version) = (handle.value, version);
                }
                self.taken.insert(version);
                (handle.base, handle.draft, handle.copy) = (version, None, None);
                Ok(())
            }
        };
        same("try_save", result, want)?;
        let counts = &mut self.reference.counts;
        *match want {
            Ok(()) => &mut counts.saved,
            Err(SaveError::Conflict) => &mut counts.conflicts,
            Err(_) => &mut counts.saves_refused,
        } += 1;
        self.settle(Vec::new())
    }

    pub(super) fn clone_handle(&mut self, back: u8) -> Verdict {
        let mut copy = None;
        self.with(back, |_, handle| {
            copy = Some(handle.clone());
            Ok(())
        })?;
        copy.into_iter().for_each(|copy| self.hold(copy));
        Ok(())
    }

    pub(super) fn drop_handle(&mut self, back: u8) -> Verdict {
        if let Some(back) = usize::from(back).checked_rem(self.handles.len()) {
            self.handles.remove(self.handles.len() - 1 - back);
        }
        Ok(())
    }

    pub(super) fn rotate(&mut self, handle: &mut Handle) -> Verdict {
        let old = *handle.session.id();
        let end = self.end_of(Some(old), Cause::Rotated);
        let rotated = self.store.rotate(&mut handle.session);
        same("rotate", rotated, end.is_some())?;
        let new = *handle.session.id();
        let moved = self.reference.active(Some(old)).cloned();
        same("rotate gave a new id", new != old, rotated)?;
        if let Some(moved) = moved {
            same("the new id was seen before", self.known.contains(&new), false)?;
            self.remember(new);
            self.reference.sessions.insert(new, moved);
        }
        self.settle(end.into_iter().collect())
    }
}
