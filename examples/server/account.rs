//! Owns signing in and out, and what asks for a proof of who the user is that is not old.

use axum::extract::{Json, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::answer::{NO_SESSION, OLD_PROOF, Reply, line, set_cookie};
use crate::shop::{Shop, Visitor, agent, short};

#[derive(Deserialize)]
pub(crate) struct SignIn {
    user: String,
}

pub(crate) async fn sign_in(
    shop: State<Shop>,
    headers: HeaderMap,
    Json(form): Json<SignIn>,
) -> Reply {
    // A real service checks a password or a passkey here.
    let (user, agent) = (short(form.user)?, agent(&headers));
    let mut session = match shop.session(&headers) {
        // Somebody else's cart is not for this user.
        Some(session) if session.user.as_ref().is_some_and(|other| *other != user) => {
            shop.sessions.destroy(session.id());
            shop.open(Visitor::default())?
        }
        Some(session) => session,
        None => shop.open(Visitor::default())?,
    };
    // First the new id, then the name: nobody who knew the old id is ever this user. It also notes the time, and
    // gives the session a whole new life; `try_rotate` would do where neither is wanted.
    let authenticated = shop.sessions.reauthenticate(&mut session);
    authenticated.map_err(|_| NO_SESSION)?;
    // From here on it is in the list of the user's devices, and may have signed the oldest of them out.
    let items = shop.sessions.update(session.id(), |visitor| {
        visitor.user = Some(user.clone());
        visitor.agent.clone_from(&agent);
        visitor.cart.len()
    });
    let body = json!({ "user": user, "items": items.ok_or(NO_SESSION)? });
    let cookie = shop.cookie.issue(&shop.sessions, session.id());
    Ok((set_cookie(&cookie), line(&body)).into_response())
}

/// Step-up: a session that was left open, or a stolen cookie, is not enough here. Whoever signs in again, as
/// the same user, goes on with the same session.
pub(crate) async fn check_out(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (id, _) = shop.user(&headers)?;
    if !shop.sessions.authenticated_within(&id, shop.proof) {
        return Err(OLD_PROOF);
    }
    let bought = shop
        .sessions
        .update(&id, |visitor| (std::mem::take(&mut visitor.cart), visitor.cart_changed.clone()));
    let (bought, changed) = bought.ok_or(NO_SESSION)?;
    changed.notify_waiters();
    Ok(shop.reply(&id, &json!({ "bought": bought })))
}

pub(crate) async fn sign_out(shop: State<Shop>, headers: HeaderMap) -> Response {
    // This is what ends the session, at once and for every request. The cookie only tidies up.
    let id = shop.id(&headers);
    let ended = id.is_some_and(|id| shop.sessions.destroy(&id));
    let body = json!({ "signed_out": ended });
    (set_cookie(&shop.cookie.removal()), line(&body)).into_response()
}

/// For whoever has lost a device, or changes a password.
pub(crate) async fn sign_out_everywhere(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (_, user) = shop.user(&headers)?;
    // However many requests of theirs are under way: what they save later is not stored.
    let ended = shop.sessions.revoke_all(&user);
    let body = json!({ "signed_out": ended });
    Ok((set_cookie(&shop.cookie.removal()), line(&body)).into_response())
}
