//! Owns [`Session`]: what a handler takes from its request.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::thread;

use axum_core::extract::FromRequestParts;
use http::request::Parts;
use http::{Extensions, HeaderMap, Request};

use super::held::{Held, View};
use super::refused::{MissingLayer, Refused};
use super::slot::{Shared, Slot};
use crate::id::SessionId;
use crate::store::SessionStore;

/// The session of a request, as an extractor: read it as a `&T`, change it as a `&mut T`.
///
/// Never a guard: it locks nothing between two calls and may be held across an `.await`. It shows the
/// data as it was loaded, with the handler's own changes; a visitor without a session sees
/// `T::default()`. The session is loaded when the first handle of a request is taken, which counts as
/// activity; a request that takes none does not touch it.
///
/// Changes are saved by the layer when the handler is done and has let go of its handle, before the
/// response leaves; a visitor without a session gets one. Taking the data as a `&mut T` is a change,
/// whatever is done with it.
///
/// Several handles of one request, a middleware's and a handler's, are one session: each shows what
/// was left by those before it, and catches up with the others before its first change. If two
/// hold changes at once they are like two requests: see [`OnConflict`](super::OnConflict).
///
/// A handle that lives longer than the response, in a body that streams or in a task, saves nothing
/// by itself any more: call [`update`](Self::update) or [`try_save`](Self::try_save) there. It is the same once the
/// client has gone, and there is no response.
///
/// # Examples
///
/// ```
/// use cloakroom::adapters::axum::Session;
///
/// async fn visit(mut visits: Session<u64>) -> String {
///     *visits += 1;
///     format!("{} visits", *visits)
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(visit));
/// ```
pub struct Session<T> {
    slot: Shared<T>,
    /// `None` only while it is dropped.
    view: Option<View<T>>,
}

impl<T> Session<T> {
    fn view(&self) -> &View<T> {
        let Some(view) = &self.view else { unreachable!("only `drop` takes it") };
        view
    }

    fn parts(&mut self) -> (&Slot<T>, &mut View<T>) {
        let Some(view) = &mut self.view else { unreachable!("only `drop` takes it") };
        (&self.slot, view)
    }

    /// Returns the session's id, or `None` if there is none yet, or this request has ended it.
    ///
    /// # Security
    ///
    /// Whoever knows its text *is* the session. Its `Debug` is safe to log.
    #[must_use]
    pub fn id(&self) -> Option<SessionId> {
        self.slot.id()
    }
}

impl<T: Clone + Default + Send + Sync + 'static> Session<T> {
    /// Returns the session of a request: for tower services and middleware that are not axum's.
    ///
    /// # Errors
    ///
    /// [`MissingLayer`] if no layer for this `T` is around the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::adapters::axum::{MissingLayer, Session};
    /// use http::{Request, Response};
    ///
    /// fn handle(request: Request<()>) -> Result<Response<String>, MissingLayer> {
    ///     let visits = Session::<u64>::of(&request)?;
    ///     Ok(Response::new(format!("{} visits", *visits)))
    /// }
    /// assert!(handle(Request::new(())).unwrap_err().to_string().contains("SessionLayer"));
    /// ```
    pub fn of<B>(request: &Request<B>) -> Result<Self, MissingLayer> {
        Self::open(request.headers(), request.extensions())
    }

    fn open(headers: &HeaderMap, extensions: &Extensions) -> Result<Self, MissingLayer> {
        let slot = extensions.get::<Shared<T>>().ok_or_else(MissingLayer::of::<T>)?;
        Ok(Self { slot: slot.clone(), view: Some(slot.open(headers)) })
    }
}

impl<T: Clone + Default> Session<T> {
    /// Changes the stored session at once and as one step, or creates it, and returns what the closure
    /// returned. The handle shows the result; what is refused changes nothing.
    ///
    /// The closure works on what is stored at that moment, outside every lock, and runs again if somebody else was
    /// faster, so that it overwrites no change of another request. Changes that the handle holds are saved before, as
    /// the layer's [`OnConflict`](super::OnConflict) says: these may overwrite another's, or be a conflict, and then
    /// the closure does not run. Where the last wins, a request that loaded the session before may overwrite this one
    /// too.
    ///
    /// # Errors
    ///
    /// [`Refused::Gone`] if the session has ended; [`Refused::SubjectLimit`], [`Refused::TooLarge`] or
    /// [`Refused::AtCapacity`] if the changed data is refused; [`Refused::AtCapacity`], [`Refused::Entropy`] or
    /// [`Refused::ResponseSent`] if there was no session and none could be created; what
    /// [`try_save`](Self::try_save) says if the changes before could not be saved.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::adapters::axum::{Refused, Session};
    ///
    /// async fn visit(mut visits: Session<u64>) -> Result<String, Refused> {
    ///     let visits = visits.update(|visits| { *visits += 1; *visits })?;
    ///     Ok(format!("{visits} visits"))
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(visit));
    /// ```
    pub fn update<R>(&mut self, change: impl FnMut(&mut T) -> R) -> Result<R, Refused> {
        let (slot, view) = self.parts();
        slot.update(view, change)
    }

    /// Saves what the handle shows at once, what handles before it have left included, unless somebody else saved
    /// the session since this request loaded it. Without changes it does nothing.
    ///
    /// Where the layer [merges](super::OnConflict::Merge), what was left before and has become part of another handle's
    /// changes meanwhile is saved with those, and this handle's changes without it, so that it counts once.
    ///
    /// # Errors
    ///
    /// [`Refused::Conflict`] if somebody did, whatever the layer's [`OnConflict`](super::OnConflict): the handle then
    /// shows what is stored, without its changes, and the handler may make them again. [`Refused::Gone`] if the
    /// session has ended, or why the data is refused or no session could be created, as for
    /// [`update`](Self::update): the handle then still shows its changes, and the layer does not save them, unless it
    /// is changed once more. Either way, what handles before it have left is still saved.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::adapters::axum::{Refused, Session};
    ///
    /// async fn take_seat(mut seats: Session<Vec<u32>>) -> Result<&'static str, Refused> {
    ///     seats.push(7);
    ///     match seats.try_save() {
    ///         Err(Refused::Conflict) if seats.contains(&7) => Ok("it was yours already"),
    ///         saved => saved.map(|()| "it is yours"),
    ///     }
    /// }
    /// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(take_seat));
    /// ```
    pub fn try_save(&mut self) -> Result<(), Refused> {
        let (slot, view) = self.parts();
        slot.try_save(view)
    }

    /// Gives the session a new id, at once; the response brings it to the browser. Changes stay in
    /// the handle. A visitor without a session will get a new id anyway.
    ///
    /// # Security
    ///
    /// Call it whenever a visitor signs in or gains rights, before that is stored (session fixation;
    /// ASVS 5.0 7.2.4). The old id is dead from then on: if the response is never sent, the visitor
    /// begins anew. So call it when the rest of the work is done.
    ///
    /// # Errors
    ///
    /// [`Refused::Gone`] if the session has ended, or a parallel request has given it a new id: after
    /// [`destroy`](Self::destroy) the handler may go on with a new one. [`Refused::Entropy`] if there is no
    /// randomness; [`Refused::ResponseSent`] if the browser can no longer be told.
    pub fn rotate(&mut self) -> Result<(), Refused> {
        self.slot.rotate(None, SessionStore::try_rotate)
    }

    /// Takes note that the visitor has authenticated just now, at sign-in or again later: gives the session a
    /// new id, like [`rotate`](Self::rotate), and new deadlines, as
    /// [`SessionStore::reauthenticate`] does. A visitor without a session
    /// gets one at once.
    ///
    /// # Security
    ///
    /// As for `rotate`. Call it before the session becomes the user's: what was noted of one user is forgotten when
    /// the session becomes another's.
    ///
    /// # Errors
    ///
    /// As for `rotate`, and why no session could be created, as for [`update`](Self::update).
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::extract::State;
    /// use cloakroom::SessionStore;
    /// use cloakroom::adapters::axum::{Refused, Session};
    /// use std::time::Duration;
    ///
    /// type User = Option<u64>;
    ///
    /// async fn sign_in(mut session: Session<User>) -> Result<(), Refused> {
    ///     // Once the password was checked.
    ///     session.reauthenticate()?;
    ///     session.update(|user| *user = Some(42))
    /// }
    ///
    /// async fn pay(store: State<SessionStore<User>>, session: Session<User>) -> &'static str {
    ///     let recent = Duration::from_secs(5 * 60);
    ///     let fresh = session.id().is_some_and(|id| store.authenticated_within(&id, recent));
    ///     if fresh { "paid" } else { "sign in again first" }
    /// }
    /// # use axum::{Router, routing::post};
    /// # let _: Router<SessionStore<User>> = Router::new().route("/", post(sign_in)).route("/pay", post(pay));
    /// ```
    pub fn reauthenticate(&mut self) -> Result<(), Refused> {
        let (slot, view) = self.parts();
        slot.reauthenticate(view)
    }

    /// Ends the session, at once and for every request, drops the handle's changes, and has the
    /// response remove the cookie. Returns `true` if there was a session: `false` also where a parallel request
    /// gave it a new id just before, under which it lives on. To sign out for certain, revoke a user's sessions by
    /// [`revoke_all`](crate::SessionStore::revoke_all).
    ///
    /// The handle then is a visitor's without a session: what it changes after this goes into a new
    /// one, under a new id.
    pub fn destroy(&mut self) -> bool {
        let (slot, view) = self.parts();
        slot.destroy(view)
    }
}

impl<T> Deref for Session<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.view().held.data()
    }
}

impl<T: Clone + Default> DerefMut for Session<T> {
    /// Returns this handle's own copy of the data, which is saved from now on.
    fn deref_mut(&mut self) -> &mut T {
        let (slot, view) = self.parts();
        if !view.changed {
            slot.catch_up(view);
            (view.changed, view.own) = (true, true);
        }
        match &mut view.held {
            Held::Stored { session, changed } => {
                *changed = true;
                session
            }
            Held::New { data, changed } => {
                *changed = true;
                data
            }
        }
    }
}

impl<T> Drop for Session<T> {
    fn drop(&mut self) {
        // What a panic interrupted is not what the handler wanted to leave.
        let left = self.view.take_if(|view| view.changed && !thread::panicking());
        if let Some(view) = left {
            self.slot.put_back(view);
        }
    }
}

impl<T, S> FromRequestParts<S> for Session<T>
where
    T: Clone + Default + Send + Sync + 'static,
    S: Sync,
{
    type Rejection = MissingLayer;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Self::open(&parts.headers, &parts.extensions)
    }
}

impl<T> fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.id()).finish_non_exhaustive()
    }
}
