//! Owns "your devices": the sessions of the user who asks, and ending them.

use std::time::SystemTime;

use axum::extract::{Json, State};
use axum::http::HeaderMap;
use cloakroom::{SessionId, SessionInfo};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::{NO_DEVICE, Reply};
use crate::shop::Shop;

/// Returns what a page may call a session by. The id itself is as good as a password: no page shows it, not even
/// to its owner. A fingerprint cannot be turned back into it, and means nothing but among one user's sessions.
fn handle(id: &SessionId) -> String {
    format!("{:08x}", id.fingerprint())
}

/// Lists the devices, the latest to sign in first. Times are in seconds from now.
pub(crate) async fn list(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (this, user) = shop.user(&headers)?;
    #[expect(
        clippy::disallowed_methods,
        reason = "for people to read; the store has a clock of its own"
    )]
    let now = SystemTime::now();
    let show = |device: SessionInfo| {
        // Looking at a session with `peek` does not count as its use. One that has just ended is not shown.
        let agent = shop.sessions.peek(&device.id)?.agent.clone();
        Some(json!({
            "device": handle(&device.id),
            "this": device.id == this,
            "agent": agent,
            "created_ago": seconds(device.created, now),
            "seen_ago": device.last_seen.map(|seen| seconds(seen, now)),
            "expires_in": device.expires.map(|expires| seconds(now, expires)),
        }))
    };
    let devices: Vec<Value> =
        shop.sessions.sessions_of(&user).into_iter().filter_map(show).collect();
    Ok(shop.reply(&this, &json!({ "devices": devices })))
}

fn seconds(from: SystemTime, to: SystemTime) -> u64 {
    to.duration_since(from).unwrap_or_default().as_secs()
}

#[derive(Deserialize)]
pub(crate) struct Device {
    device: String,
}

/// Ends one device's session, this one's too. Looks among the user's own only.
pub(crate) async fn sign_out(
    shop: State<Shop>,
    headers: HeaderMap,
    Json(form): Json<Device>,
) -> Reply {
    let (this, user) = shop.user(&headers)?;
    let mut devices = shop.sessions.sessions_of(&user).into_iter();
    let device = devices.find(|device| handle(&device.id) == form.device).ok_or(NO_DEVICE)?;
    let ended = shop.sessions.destroy(&device.id);
    Ok(shop.reply(&this, &json!({ "signed_out": ended })))
}

pub(crate) async fn sign_out_others(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (this, user) = shop.user(&headers)?;
    let ended = shop.sessions.revoke_others(&user, &this);
    Ok(shop.reply(&this, &json!({ "signed_out": ended })))
}
