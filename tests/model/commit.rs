//! Owns what must come of a commit: whether the data is stored, and who ends for it.

use cloakroom::{SaveError, SessionId};

use super::key::{Key, by};
use super::reference::{Reference, Verdict};
use super::room::Room;
use super::run::{Data, Run, same};

impl Reference {
    /// Returns what a store may answer to a commit: one thing, unless it depends on what a sweep finds.
    pub(super) fn outcomes(&self, id: Option<SessionId>, data: u32) -> Vec<Result<(), SaveError>> {
        if self.live(id).is_none() {
            return vec![Err(SaveError::Gone)];
        }
        if self.is_too_large(data) {
            return vec![Err(SaveError::TooLarge)];
        }
        let displaced = self.displaced_by(id, data);
        let stored = displaced.as_ref().map(|_| ()).map_err(|_| SaveError::SubjectLimit);
        match self.room(&self.growth(id, data), displaced.ok().flatten().as_ref()) {
            Room::Free | Room::ByVictim => vec![stored],
            Room::Perhaps => vec![Err(SaveError::AtByteLimit), stored],
            // Of two reasons either is true.
            Room::None if stored.is_err() => vec![Err(SaveError::AtByteLimit), stored],
            Room::None => vec![Err(SaveError::AtByteLimit)],
        }
    }

    /// Stores data in a live session, which counts as activity.
    fn put(&mut self, id: Option<SessionId>, data: u32, version: u64) {
        let (from, to) = (self.live(id).map(|stored| stored.data), self.subject_of(data));
        let (from, came) = (from.and_then(|data| self.subject_of(data)), self.next_version());
        let Some(stored) = self.active(id) else { return };
        (stored.data, stored.version) = (data, version);
        if from != to {
            stored.came = came;
            // Whoever has authenticated was somebody else, unless nobody had said who it was.
            stored.authenticated = stored.authenticated.filter(|_| from.is_none());
        }
    }
}

impl Run {
    /// Judges a commit and takes in what came of it.
    pub(super) fn committed(
        &mut self,
        id: Option<SessionId>,
        data: u32,
        version: u64,
        result: Result<(), SaveError>,
    ) -> Verdict {
        let allowed = self.reference.outcomes(id, data);
        if !allowed.contains(&result) {
            return Err(format!("a commit: the store says {result:?}, not {allowed:?}"));
        }
        let heard = self.take_heard();
        let want = self.reference.growth(id, data);
        let displaced = self.reference.displaced_by(id, data).ok().flatten();
        let room = self.reference.room(&want, displaced.as_ref());
        // What is refused ends nobody.
        let mut due = Vec::new();
        if result.is_ok() {
            due = self.reference.evictions(&want, displaced.as_ref(), &heard)?;
        }
        let unswept = self.reference.may_be_unswept(room, &due, data);
        if result.is_ok() {
            due.extend(displaced);
            self.reference.put(id, data, version);
        }
        self.settle_heard(heard, due, None, unswept)
    }

    pub(super) fn update(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let value = self.fresh_value();
        let change = |data: &mut Data| std::mem::replace(&mut *data.0, value);
        let before = by!(key, key => self.store.update(key, change));
        // It does not say why not.
        let result = before.ok_or_else(|| match self.reference.live(id) {
            None => SaveError::Gone,
            Some(_) => {
                let refused = self.reference.outcomes(id, value).into_iter();
                refused.filter_map(Result::err).next().unwrap_or(SaveError::Conflict)
            }
        });
        self.updated(id, value, result)
    }

    pub(super) fn try_update(&mut self, key: &Key, id: Option<SessionId>) -> Verdict {
        let value = self.fresh_value();
        let change = |data: &mut Data| std::mem::replace(&mut *data.0, value);
        let result = by!(key, key => self.store.try_update(key, change));
        self.updated(id, value, result)
    }

    fn updated(
        &mut self,
        id: Option<SessionId>,
        value: u32,
        result: Result<u32, SaveError>,
    ) -> Verdict {
        let live = self.reference.live(id).map(|stored| stored.data);
        if let Ok(before) = result {
            same("what update saw", Some(before), live)?;
            self.reference.counts.saved += 1;
        }
        let version = self.reference.next_version();
        if live.is_none() {
            // Whatever the data would have been: there was nothing to change.
            same("an update of what has ended", result, Err(SaveError::Gone))?;
            self.reference.counts.missed += 1;
            return self.settle(Vec::new());
        }
        self.committed(id, value, version, result.map(|_| ()))
    }
}
