//! Owns the requests that tests send to a service without a socket, and what comes back.

use std::future::Future;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::any;
use cloakroom::adapters::axum::{Session, SessionLayer};
use cloakroom::{SessionId, SessionStore};
use tower::ServiceExt;

/// Data with a secret in it, which must not show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Visitor {
    pub(crate) user: Option<&'static str>,
    pub(crate) cart: Vec<u32>,
}

pub(crate) fn cart(items: &[u32]) -> Visitor {
    Visitor { user: None, cart: items.to_vec() }
}

/// A handler that shows the cart.
pub(crate) async fn look(session: Session<Visitor>) -> String {
    format!("{:?}", session.cart)
}

/// A handler that puts a 7 into the cart and shows it.
pub(crate) async fn add(mut session: Session<Visitor>) -> String {
    session.cart.push(7);
    format!("{:?}", session.cart)
}

pub(crate) fn store() -> SessionStore<Visitor> {
    SessionStore::builder().build().unwrap()
}

/// A router of one handler, with the sessions of a store.
pub(crate) fn app<H, A>(store: &SessionStore<Visitor>, handler: H) -> Router
where
    H: Handler<A, ()>,
    A: 'static,
{
    layered(SessionLayer::new(store.clone()), handler)
}

pub(crate) fn layered<H, A>(layer: SessionLayer<Visitor>, handler: H) -> Router
where
    H: Handler<A, ()>,
    A: 'static,
{
    Router::new().route("/", any(handler)).layer(layer)
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub(crate) fn request(cookie: &str) -> Request {
    let request = Request::builder().uri("/");
    let request = if cookie.is_empty() { request } else { request.header(header::COOKIE, cookie) };
    request.body(Body::empty()).unwrap()
}

/// The cookie of a session, as a browser sends it.
pub(crate) fn cookie(id: &SessionId) -> String {
    format!("__Host-session={}", id.to_token())
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn set_cookie(&self) -> Option<&str> {
        assert!(self.headers.get_all(header::SET_COOKIE).iter().count() <= 1, "{self:?}");
        self.headers.get(header::SET_COOKIE).map(|value| value.to_str().unwrap())
    }

    /// The id that the cookie gives, which is to be of a fixed form and out of all caches.
    pub(crate) fn given(&self) -> SessionId {
        let set_cookie = self.set_cookie().expect("no cookie");
        let (pair, attributes) = set_cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "HttpOnly; SameSite=Lax; Secure; Path=/");
        assert_eq!(self.headers[header::CACHE_CONTROL], "no-store");
        SessionId::parse(pair.strip_prefix("__Host-session=").unwrap()).expect("no id")
    }
}

/// Sends a request with these cookies, none if empty.
pub(crate) fn send(app: &Router, cookie: &str) -> Reply {
    block_on(async { reply(app.clone().oneshot(request(cookie)).await.unwrap()).await })
}

pub(crate) async fn reply(response: Response) -> Reply {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Reply { status: parts.status, headers: parts.headers, body }
}
