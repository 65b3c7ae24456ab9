//! Owns what is sent back: lines of JSON, refusals, cookies; and what is refused before any handler sees it.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Why a request got nothing.
pub(crate) type Failure = (StatusCode, &'static str);
pub(crate) type Reply = Result<Response, Failure>;

pub(crate) const NO_SESSION: Failure = (StatusCode::SERVICE_UNAVAILABLE, "try again\n");
pub(crate) const NOT_SIGNED_IN: Failure = (StatusCode::UNAUTHORIZED, "sign in first\n");
pub(crate) const OLD_PROOF: Failure = (StatusCode::FORBIDDEN, "sign in again first\n");
pub(crate) const NO_DEVICE: Failure = (StatusCode::NOT_FOUND, "you have no such device\n");
pub(crate) const BAD_NAME: Failure = (StatusCode::BAD_REQUEST, "a name has 1 to 64 characters\n");
pub(crate) const CART_FULL: Failure = (StatusCode::CONFLICT, "the cart is full\n");
pub(crate) const NO_SOCKET: Failure = (StatusCode::UNAUTHORIZED, "visit or sign in first\n");
const FOREIGN_PAGE: Failure = (StatusCode::FORBIDDEN, "pages of other sites get nothing here\n");

pub(crate) fn set_cookie(cookie: &impl ToString) -> [(HeaderName, String); 1] {
    [(header::SET_COOKIE, cookie.to_string())]
}

/// One line of JSON.
pub(crate) fn line(body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, format!("{body}\n")).into_response()
}

/// Keeps every answer, errors too, out of every cache: they are about one visitor.
pub(crate) async fn no_store(response: Response) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], response)
}

/// Refuses what a page of another origin makes a visitor's browser send.
///
/// Any page may open a WebSocket to any host, or send a form there, and the browser lets the cookies come along
/// unless `SameSite` forbids it, which a page of a sibling domain is exempt from. What the page cannot do is to
/// lie in `Origin`. Whoever sends none is no browser, and has no cookies but its own.
pub(crate) async fn only_own_pages(request: Request, next: Next) -> Response {
    if is_of_own_page(request.headers()) {
        next.run(request).await
    } else {
        FOREIGN_PAGE.into_response()
    }
}

/// Compares with `Host`, so that the example runs under any name. A service that knows its own origin compares
/// with that, scheme and all.
fn is_of_own_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let page = origin.to_str().ok().and_then(|origin| Some(origin.split_once("://")?.1));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    page.is_some() && page == host
}
