//! Owns what handlers hold, and the operations of a run that are done with it: change, save, rotate.

use cloakroom::{Cause, SaveError, Session};

use super::reference::{Heard, Stored, Verdict};
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

    /// Returns the version that a save of this handle stores: its draft, if no save has stored that and no clone
    /// of the handle shares it, and otherwise one of its own.
    fn version_of(&mut self, handle: &Handle) -> u64 {
        let is_shared = self.handles.iter().any(|other| other.draft == handle.draft);
        let own = handle.draft.filter(|draft| !is_shared && !self.taken.contains(draft));
        own.unwrap_or_else(|| self.reference.next_version())
    }

    pub(super) fn save(&mut self, handle: &mut Handle) -> Verdict {
        let saved = self.store.save(&handle.session);
        let version = self.version_of(handle);
        let id = Some(*handle.session.id());
        // It does not say why not.
        let allowed = self.reference.outcomes(id, handle.value);
        let Some(result) = allowed.iter().find(|result| result.is_ok() == saved).copied() else {
            return Err(format!("save: the store says {saved}, not {allowed:?}"));
        };
        if saved {
            self.taken.insert(version);
            if handle.draft != Some(version) {
                handle.copy = Some(version);
            }
        }
        self.count_save(result);
        self.committed(id, handle.value, version, result)
    }

    pub(super) fn try_save(&mut self, handle: &mut Handle) -> Verdict {
        let result = self.store.try_save(&mut handle.session);
        let version = self.version_of(handle);
        let id = Some(*handle.session.id());
        // What it loaded, or saved itself.
        let own = [Some(handle.base), handle.draft, handle.copy];
        let stored = self.reference.live(id).map(|stored| stored.version);
        let met = stored.is_some_and(|stored| !own.contains(&Some(stored)));
        self.count_save(result);
        if met && !self.reference.is_too_large(handle.value) {
            // No activity: the deadline stays. Nobody ends.
            same("try_save", result, Err(SaveError::Conflict))?;
            return self.settle(Vec::new());
        }
        if result.is_ok() {
            self.taken.insert(version);
            (handle.base, handle.draft, handle.copy) = (version, None, None);
        }
        self.committed(id, handle.value, version, result)
    }

    fn count_save(&mut self, result: Result<(), SaveError>) {
        let counts = &mut self.reference.counts;
        *match result {
            Ok(()) => &mut counts.saved,
            Err(SaveError::Conflict) => &mut counts.conflicts,
            Err(SaveError::Gone) => &mut counts.saves_refused,
            Err(_) => return,
        } += 1;
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
        let end = self.end_of(Some(*handle.session.id()), Cause::Rotated);
        let rotated = self.store.rotate(&mut handle.session);
        self.renamed(handle, rotated, end, |_| ())
    }

    /// Judges a rotation, which was to end the session's old id in this way, if it lives.
    pub(super) fn renamed(
        &mut self,
        handle: &Handle,
        rotated: bool,
        end: Option<Heard>,
        renew: impl FnOnce(&mut Stored),
    ) -> Verdict {
        same("rotate", rotated, end.is_some())?;
        let new = *handle.session.id();
        if let Some(old) = end.map(|end| end.id) {
            same("the new id was seen before", self.known.contains(&new), false)?;
            self.remember(new);
            let moved = self.reference.active(Some(old)).cloned();
            let mut moved = moved.ok_or("a dead session was rotated")?;
            renew(&mut moved);
            self.reference.sessions.insert(new, moved);
        }
        self.settle(end.into_iter().collect())
    }
}
