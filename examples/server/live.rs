//! Owns the WebSocket: says how much is in the cart whenever that changes, and ends with its session.
//!
//! A page that is open is not a visitor who is there: the socket does not count as use of the session.
//!
//! Any curl can look on, with the port that the server says. Fill the cart and sign out in another terminal:
//!
//! ```sh
//! curl -N -b jar --output - -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
//!     -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==' http://127.0.0.1:3000/live
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use cloakroom::{Cause, SessionId, SessionStore, Watch};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::answer::{NO_SOCKET, Reply};
use crate::shop::{Shop, Visitor};

/// A client has nothing to say here.
const MAX_MESSAGE: usize = 1024;

/// The code of the last frame. From 4000 on they are the application's (RFC 6455, section 7.4.2); 4401 is
/// made after 401.
const SESSION_ENDED: u16 = 4401;

/// A client that takes longer to take the last frame, and to answer it, is cut off.
const GOODBYE: Duration = Duration::from_secs(5);

/// A cookie that is valid at the handshake says nothing of the hours that the socket stays open: so the
/// session is watched. That no other site's page opens the socket is seen to by `answer::only_own_pages`.
pub(crate) async fn live(
    shop: State<Shop>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Reply {
    let session = shop.session(&headers).ok_or(NO_SOCKET)?;
    // Before the answer, so that an end between the handshake and the first frame is not missed.
    let watch = shop.sessions.watch(session.id()).ok_or(NO_SOCKET)?;
    let (id, changed) = (*session.id(), Arc::clone(&session.cart_changed));
    let sessions = shop.sessions.clone();
    Ok(upgrade.max_message_size(MAX_MESSAGE).on_upgrade(move |mut socket| async move {
        let cause = tokio::select! {
            cause = end(&sessions, id, watch) => cause,
            () = show_cart(&mut socket, &sessions, id, &changed) => return,
        };
        let _ = timeout(GOODBYE, close(&mut socket, reason(cause))).await;
    }))
}

/// Returns why the session ended, once it has. A watch has no timer of its own: that a session expires in a
/// silent store is seen by asking again when it is due.
async fn end(sessions: &SessionStore<Visitor>, id: SessionId, mut watch: Watch<Visitor>) -> Cause {
    loop {
        let left = sessions.expires_in(&id).unwrap_or_default();
        if let Ok(cause) = timeout(left, &mut watch).await {
            return cause;
        }
    }
}

/// Says how much is in the cart, now and whenever it changes, until the client is gone.
async fn show_cart(
    socket: &mut WebSocket,
    sessions: &SessionStore<Visitor>,
    id: SessionId,
    changed: &Notify,
) {
    loop {
        // From here on no change is missed.
        let changed = changed.notified();
        if let Some(visitor) = sessions.peek(&id) {
            let body = json!({ "items": visitor.cart.len() }).to_string();
            if socket.send(Message::Text(body.into())).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = changed => {}
            () = until_gone(socket) => return,
        }
    }
}

async fn close(socket: &mut WebSocket, reason: &'static str) {
    let last = CloseFrame { code: SESSION_ENDED, reason: reason.into() };
    if socket.send(Message::Close(Some(last))).await.is_ok() {
        // Its answer. Whoever hangs up on what is still unread may take the last frame back.
        until_gone(socket).await;
    }
}

/// Reads what the client sends, which is also how its pings are answered.
async fn until_gone(socket: &mut WebSocket) {
    while let Some(Ok(_)) = socket.recv().await {}
}

fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Destroyed => "signed out",
        Cause::Expired => "expired",
        // The page connects again, with the cookie that the browser has by now.
        Cause::Rotated => "new id",
        Cause::Revoked => "signed out from another device or everywhere",
        Cause::Displaced => "signed out by one device more than a user may have",
        _ => "ended",
    }
}
