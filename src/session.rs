//! Owns [`Session`]: what a handler holds. Never calls the store.

use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use triomphe::{Arc, UniqueArc};

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
    /// The version this handle's data was derived from: there until the handle is dropped.
    base: Held<T>,
    /// This handle's changes: a copy of `base` to begin with.
    draft: Held<T>,
    /// The copy that this handle saved last, where `save` had to make one. A lock of its own,
    /// because `save` takes the handle shared; never held while user code runs.
    copy: Mutex<Held<T>>,
}

/// What a handle holds, until the handle is dropped, which lets go of it. The compiler would do so after that once
/// more, and where it does not inline the drop it would have to look whether anything is left.
type Held<T> = ManuallyDrop<Option<Arc<Record<T>>>>;

const fn none<T>() -> Held<T> {
    ManuallyDrop::new(None)
}

impl<T> Drop for Session<T> {
    /// Lets go of all by value: the address of a handle's own field, given to what frees a record, would force
    /// the whole handle into memory, where one that is loaded, read and dropped in one function needs none.
    #[inline]
    fn drop(&mut self) {
        let copy = self.copy.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let (base, draft) = (self.base.take(), self.draft.take());
        if draft.is_some() || copy.is_some() {
            let_go(base, draft, copy);
        } else if let Some(last) = base.and_then(Arc::into_unique) {
            free(last);
        }
    }
}

#[inline(never)]
fn let_go<T>(
    base: Option<Arc<Record<T>>>,
    draft: Option<Arc<Record<T>>>,
    copy: Option<Arc<Record<T>>>,
) {
    [base, draft, copy].into_iter().flatten().for_each(Record::release);
}

#[cold]
#[inline(never)]
fn free<T>(last: UniqueArc<Record<T>>) {
    Record::release_last(last);
}

/// Returns the record of a handle's base.
#[inline]
fn always<T>(base: &Held<T>) -> &Arc<Record<T>> {
    match &**base {
        Some(base) => base,
        None => unreachable!("a handle has a base until it is dropped"),
    }
}

impl<T> Session<T> {
    pub(crate) fn new(id: SessionId, record: Arc<Record<T>>) -> Self {
        Self { id, base: ManuallyDrop::new(Some(record)), draft: none(), copy: Mutex::new(none()) }
    }

    /// Returns the session's id, to load it by or to make a cookie's text of.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn set_id(&mut self, id: SessionId) {
        self.id = id;
    }

    /// Returns the version that this handle's data was derived from, and its changes.
    pub(crate) fn versions(&self) -> (&Arc<Record<T>>, Option<&Arc<Record<T>>>) {
        (always(&self.base), self.draft.as_ref())
    }

    #[inline]
    fn record(&self) -> &Arc<Record<T>> {
        self.draft.as_ref().unwrap_or_else(|| always(&self.base))
    }

    /// Tells whether this handle's data was derived from `stored`, with nothing saved in between.
    pub(crate) fn is_based_on(&self, stored: &Arc<Record<T>>) -> bool {
        let (base, draft) = self.versions();
        // A draft that is stored is this handle's own save.
        Arc::ptr_eq(stored, base)
            || draft.is_some_and(|draft| Arc::ptr_eq(stored, draft))
            || self.copied().is_some_and(|copy| Arc::ptr_eq(stored, &copy))
    }

    fn copied(&self) -> Option<Arc<Record<T>>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).as_ref().cloned()
    }

    /// Takes note of a copy that was saved of this handle's data. Returns the one noted before, for the
    /// caller to drop.
    pub(crate) fn note_copy(&self, copy: Arc<Record<T>>) -> Option<Arc<Record<T>>> {
        self.copy.lock().unwrap_or_else(PoisonError::into_inner).replace(copy)
    }

    /// Makes what was saved, the given copy or else the draft, the version that this handle's data was
    /// derived from. Returns what the handle held before, to be dropped where a panic is caught.
    pub(crate) fn rebase(
        &mut self,
        copy: Option<Arc<Record<T>>>,
    ) -> impl Iterator<Item = Arc<Record<T>>> + use<T> {
        let draft = self.draft.take();
        let (saved, left) = if copy.is_some() { (copy, draft) } else { (draft, None) };
        let base = saved.and_then(|saved| self.base.replace(saved));
        let noted = self.copy.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        base.into_iter().chain(left).chain(noted)
    }

    /// Returns the draft, if there is one: see [`is_storable`](Self::is_storable).
    pub(crate) fn draft(&self) -> Option<Arc<Record<T>>> {
        self.draft.as_ref().cloned()
    }

    /// Tells whether a draft of this handle, to which the caller holds a reference of its own, was never stored, as
    /// each commit is another record, and can be stored by nobody else as long as the caller has it.
    #[inline]
    pub(crate) fn is_storable(draft: &Arc<Record<T>>) -> bool {
        // The handle's reference and the caller's: so no clone of the handle shares it, and whoever asks from now on,
        // by a look at this handle from another thread, counts three. Whoever asked before and has let go of it again
        // has not stored it, or it shows: the count is read by an Acquire, which pairs with the Release by which a
        // reference is let go of.
        Arc::count(draft) == 2 && draft.is_fresh()
    }

    /// Returns a copy of this handle's data that is stored by nobody else.
    pub(crate) fn to_copy(&self) -> Arc<Record<T>>
    where
        T: Clone,
    {
        Record::fresh(self.record().value.clone())
    }
}

impl<T> Clone for Session<T> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            base: self.base.clone(),
            draft: self.draft.clone(),
            copy: Mutex::new(ManuallyDrop::new(self.copied())),
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
    /// By `Clone::clone`, or by `Clone::clone_from` into data that nobody needs any more, of which a string or a
    /// vector keeps the capacity.
    fn deref_mut(&mut self) -> &mut T {
        // A draft that was stored is the base of what comes now, and the record it was made from has served: if
        // nobody else holds that one, it is the next draft.
        if let Some(stored) = self.draft.take_if(|draft| !draft.is_fresh()) {
            let served = self.base.replace(stored);
            let value = &always(&self.base).value;
            *self.draft = served.and_then(|served| Record::again(served, value));
        }
        let base = always(&self.base);
        let draft = self.draft.get_or_insert_with(|| Record::fresh(base.value.clone()));
        // One shared with a clone of this handle stays as it is for the clone.
        if !draft.is_unique() {
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
