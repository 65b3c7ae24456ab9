//! Owns the way of a request through the layer: a slot beside the request, and what is in it saved
//! before the response.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum_core::response::{IntoResponse, Response};
use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::settings::{CookieLifetime, OnConflict, Settings};
use super::slot::{Shared, Slot, Unanswered};
use crate::cookie::SessionCookie;
use crate::store::SessionStore;

/// Gives the requests of a service their sessions: see the [module](super).
///
/// It goes around any tower service of HTTP requests whose responses axum takes: those with any body of
/// `Bytes` that may be sent to another thread, whatever other layers have made of it. They come out with axum's own,
/// which costs nothing where it is that already.
///
/// # Examples
///
/// ```
/// use cloakroom::adapters::axum::{OnConflict, SessionLayer};
/// use cloakroom::{SessionCookie, SessionStore};
///
/// let store = SessionStore::<u32>::builder().build()?;
/// let layer = SessionLayer::new(store)
///     .cookie(SessionCookie::named("__Host-shop")?)
///     .on_conflict(OnConflict::Refuse);
/// let app: axum::Router = axum::Router::new().layer(layer);
/// # Ok::<(), cloakroom::BuildError>(())
/// ```
#[must_use = "a layer does nothing until it is put around a service"]
pub struct SessionLayer<T> {
    settings: Settings<T>,
}

impl<T> SessionLayer<T> {
    /// Returns a layer for a store's sessions, with the cookie `__Host-session` and every setting at its
    /// default. The caller keeps a clone of the store to list, count or destroy sessions.
    pub fn new(store: SessionStore<T>) -> Self {
        let (cookie, on_conflict) = (SessionCookie::new(), OnConflict::LastWins);
        let lifetime = CookieLifetime::default();
        Self { settings: Settings { store, cookie, on_conflict, lifetime } }
    }

    /// Sets the cookie, which is to say its name.
    pub fn cookie(mut self, cookie: SessionCookie) -> Self {
        self.settings.cookie = cookie;
        self
    }

    /// Chooses what happens when two requests change one session. Default: [`OnConflict::LastWins`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::adapters::axum::{OnConflict, SessionLayer};
    /// use cloakroom::SessionStore;
    ///
    /// let store = SessionStore::<u64>::builder().build()?;
    /// // Two requests that counted 1 and 2 more have counted 3 more.
    /// let merge = |loaded: &u64, changed: &u64, stored: &mut u64| *stored += changed - loaded;
    /// let layer = SessionLayer::new(store).on_conflict(OnConflict::Merge(merge));
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn on_conflict(mut self, on_conflict: OnConflict<T>) -> Self {
        self.settings.on_conflict = on_conflict;
        self
    }

    /// Chooses how long the browser keeps the cookie. Default: [`CookieLifetime::Browser`].
    pub fn cookie_lifetime(mut self, lifetime: CookieLifetime) -> Self {
        self.settings.lifetime = lifetime;
        self
    }
}

impl<S, T> Layer<S> for SessionLayer<T> {
    type Service = SessionService<S, T>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, settings: Arc::new(self.settings.clone()) }
    }
}

impl<T> Clone for SessionLayer<T> {
    fn clone(&self) -> Self {
        Self { settings: self.settings.clone() }
    }
}

impl<T> fmt::Debug for SessionLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("store", &self.settings.store)
            .field("cookie", &self.settings.cookie)
            .field("on_conflict", &self.settings.on_conflict)
            .field("cookie_lifetime", &self.settings.lifetime)
            .finish()
    }
}

/// A service whose requests have sessions. Made by [`SessionLayer`].
pub struct SessionService<S, T> {
    inner: S,
    settings: Arc<Settings<T>>,
}

impl<S, T, B> Service<Request<B>> for SessionService<S, T>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse,
    T: Clone + Default + Send + Sync + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, T>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let slot = Shared::new(Slot::new(Arc::clone(&self.settings)));
        request.extensions_mut().insert(slot.clone());
        // Before the call, which may panic.
        let slot = Unanswered::new(slot);
        ResponseFuture { slot, inner: Some(self.inner.call(request)) }
    }
}

impl<S: Clone, T> Clone for SessionService<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), settings: Arc::clone(&self.settings) }
    }
}

impl<S: fmt::Debug, T> fmt::Debug for SessionService<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The response of a [`SessionService`]: the inner one, once its session is saved.
    ///
    /// Dropped before that, it saves nothing, and no handle of its request begins a session or gives one a new id any
    /// more.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, T> {
        // Dropped before `inner`, whose handles then come too late.
        slot: Unanswered<T>,
        // `None` once it is done.
        #[pin]
        inner: Option<F>,
    }
}

impl<F, T, R, E> Future for ResponseFuture<F, T>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
    T: Clone + Default,
{
    type Output = Result<Response, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            panic!("polled after it was ready")
        };
        let answer = ready!(inner.poll(cx));
        // With the handles that it may still hold: what they changed is part of the answer.
        this.inner.set(None);
        let mut answer = answer.map(R::into_response);
        this.slot.answer(&mut answer);
        Poll::Ready(answer)
    }
}

impl<F, T> fmt::Debug for ResponseFuture<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
