//! Owns what anybody may do: look round, and fill a cart.

use std::sync::Arc;

use axum::extract::{Json, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{CART_FULL, Reply};
use crate::shop::{Shop, Visitor, short};

const MAX_ITEMS: usize = 100;

pub(crate) async fn visit(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (id, visits) = shop.update(&headers, |visitor| {
        visitor.visits += 1;
        visitor.visits
    })?;
    Ok(shop.reply(&id, &json!({ "visits": visits })))
}

pub(crate) async fn me(shop: State<Shop>, headers: HeaderMap) -> Response {
    let show = |visitor: &Visitor| json!({ "user": visitor.user, "visits": visitor.visits });
    shop.show(&headers, show)
}

pub(crate) async fn show_cart(shop: State<Shop>, headers: HeaderMap) -> Response {
    shop.show(&headers, |visitor| json!({ "items": visitor.cart }))
}

#[derive(Deserialize)]
pub(crate) struct Item {
    item: String,
}

pub(crate) async fn add_to_cart(
    shop: State<Shop>,
    headers: HeaderMap,
    Json(form): Json<Item>,
) -> Reply {
    let item = short(form.item)?;
    let (id, (items, changed)) = shop.update(&headers, |visitor| {
        let room = visitor.cart.len() < MAX_ITEMS;
        if room {
            visitor.cart.push(item.clone());
        }
        (room.then(|| visitor.cart.clone()), Arc::clone(&visitor.cart_changed))
    })?;
    changed.notify_waiters();
    Ok(shop.reply(&id, &json!({ "items": items.ok_or(CART_FULL)? })))
}
