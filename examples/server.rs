//! A small shop's HTTP API: its sessions live in a `SessionStore<Visitor>`, their ids in a cookie.
//!
//! Start it with `cargo run --release --example server`.
//!
//! | route                  | what it does                                   | needs a session            |
//! |------------------------|------------------------------------------------|----------------------------|
//! | `GET /`                | counts the visit                               | makes one if there is none |
//! | `POST /sign-in`        | `{"user": ".."}`: names the visitor, new id    | makes one if there is none |
//! | `POST /cart`           | `{"item": ".."}`: puts something into the cart | makes one if there is none |
//! | `GET /me`, `GET /cart` | says who the visitor is, what is in the cart   | no                         |
//! | `POST /sign-out`       | ends the session                               | no                         |
//! | `GET /stats`           | the store's counters; not for the public       | no                         |
//! | `GET /metrics`         | the same for Prometheus; not for the public    | no                         |
//!
//! Whoever sends no cookie back makes a session with each request to the three routes that make one.
//! That costs little, and no more than `--max-sessions` of it: then the session that is the soonest
//! to expire makes room. What one session may hold is limited too.

mod flags;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Json, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use clap::Parser;
use cloakroom::{Session, SessionCookie, SessionId, SessionStore, StoreMetrics};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);
const MAX_NAME: usize = 64;
const MAX_ITEMS: usize = 100;

/// What the shop knows of a visitor: any `Clone` type will do.
#[derive(Clone, Default)]
struct Visitor {
    user: Option<String>,
    cart: Vec<String>,
    visits: u64,
}

/// What every handler gets. Cloning it is cheap: all clones share one store.
#[derive(Clone)]
struct Shop {
    sessions: SessionStore<Visitor>,
    cookie: SessionCookie,
    prometheus: PrometheusHandle,
}

impl Shop {
    /// Returns the id in the request's cookie: a claim, until the store knows it.
    fn id(&self, headers: &HeaderMap) -> Option<SessionId> {
        self.cookie.read_all(headers.get_all(header::COOKIE))
    }

    /// Returns a snapshot of the request's session. Loading is use: it moves the idle deadline.
    fn session(&self, headers: &HeaderMap) -> Option<Session<Visitor>> {
        self.sessions.load(&self.id(headers)?)
    }

    /// Makes a session. An unknown id from a cookie is never adopted: an attacker may have set it.
    fn open(&self, visitor: Visitor) -> Result<Session<Visitor>, Failure> {
        let session = self.sessions.try_create_with(visitor);
        session.map_err(|_| NO_SESSION)
    }

    /// Changes the request's session, or a new one. `update` makes it one step, so that of several
    /// requests of one visitor none undoes another's change; `load`, change and `save` would.
    fn update<R>(
        &self,
        headers: &HeaderMap,
        mut change: impl FnMut(&mut Visitor) -> R,
    ) -> Result<(SessionId, R), Failure> {
        if let Some(id) = self.id(headers) {
            if let Some(result) = self.sessions.update(&id, &mut change) {
                return Ok((id, result));
            }
        }
        let mut visitor = Visitor::default();
        let result = change(&mut visitor);
        Ok((*self.open(visitor)?.id(), result))
    }

    /// Answers, and sends the cookie again: the browser's deadline then moves with the store's.
    fn reply(&self, id: &SessionId, body: &Value) -> Response {
        let cookie = self.cookie.renew(&self.sessions, id);
        (cookie.as_ref().map(set_cookie), line(body)).into_response()
    }

    /// Answers from the request's session, or as to a new visitor, without making one.
    fn show(&self, headers: &HeaderMap, show: impl FnOnce(&Visitor) -> Value) -> Response {
        match self.session(headers) {
            Some(session) => self.reply(session.id(), &show(&session)),
            None => line(&show(&Visitor::default())),
        }
    }
}

async fn visit(shop: State<Shop>, headers: HeaderMap) -> Reply {
    let (id, visits) = shop.update(&headers, |visitor| {
        visitor.visits += 1;
        visitor.visits
    })?;
    Ok(shop.reply(&id, &json!({ "visits": visits })))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(shop: State<Shop>, headers: HeaderMap, Json(form): Json<SignIn>) -> Reply {
    // A real service checks a password or a passkey here.
    let user = short(form.user)?;
    let mut session = match shop.session(&headers) {
        // Somebody else's cart is not for this user.
        Some(session) if session.user.as_ref().is_some_and(|other| *other != user) => {
            shop.sessions.destroy(session.id());
            shop.open(Visitor::default())?
        }
        Some(session) => session,
        None => shop.open(Visitor::default())?,
    };
    // First the new id, then the name: nobody who knew the old id is ever this user.
    let rotated = shop.sessions.try_rotate(&mut session);
    rotated.map_err(|_| NO_SESSION)?;
    let items = shop.sessions.update(session.id(), |visitor| {
        visitor.user = Some(user.clone());
        visitor.cart.len()
    });
    let body = json!({ "user": user, "items": items.ok_or(NO_SESSION)? });
    let cookie = shop.cookie.issue(&shop.sessions, session.id());
    Ok((set_cookie(&cookie), line(&body)).into_response())
}

async fn me(shop: State<Shop>, headers: HeaderMap) -> Response {
    let show = |visitor: &Visitor| json!({ "user": visitor.user, "visits": visitor.visits });
    shop.show(&headers, show)
}

async fn show_cart(shop: State<Shop>, headers: HeaderMap) -> Response {
    shop.show(&headers, |visitor| json!({ "items": visitor.cart }))
}

#[derive(Deserialize)]
struct Item {
    item: String,
}

async fn add_to_cart(shop: State<Shop>, headers: HeaderMap, Json(form): Json<Item>) -> Reply {
    let item = short(form.item)?;
    let (id, items) = shop.update(&headers, |visitor| {
        let room = visitor.cart.len() < MAX_ITEMS;
        if room {
            visitor.cart.push(item.clone());
        }
        room.then(|| visitor.cart.clone())
    })?;
    Ok(shop.reply(&id, &json!({ "items": items.ok_or(CART_FULL)? })))
}

async fn sign_out(shop: State<Shop>, headers: HeaderMap) -> Response {
    // This is what ends the session, at once and for every request. The cookie only tidies up.
    let id = shop.id(&headers);
    let ended = id.is_some_and(|id| shop.sessions.destroy(&id));
    let body = json!({ "signed_out": ended });
    (set_cookie(&shop.cookie.removal()), line(&body)).into_response()
}

async fn stats(shop: State<Shop>) -> Response {
    let stats = shop.sessions.stats();
    line(&json!({
        "live": stats.live, "expired_unswept": stats.expired_unswept,
        "created": stats.created, "loaded": stats.loaded, "missed": stats.missed,
        "saved": stats.saved, "rotated": stats.rotated, "destroyed": stats.destroyed,
        "expired": stats.expired, "evicted": stats.evicted,
    }))
}

/// The gauges and counters are set when somebody asks: between two scrapes they cost nothing.
async fn metrics(shop: State<Shop>) -> Response {
    StoreMetrics::new(&shop.sessions).publish();
    let text = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
    (text, shop.prometheus.render()).into_response()
}

fn set_cookie(cookie: &impl ToString) -> [(HeaderName, String); 1] {
    [(header::SET_COOKIE, cookie.to_string())]
}

/// One line of JSON.
fn line(body: &Value) -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (json, format!("{body}\n")).into_response()
}

/// Why a request got nothing.
type Failure = (StatusCode, &'static str);
type Reply = Result<Response, Failure>;
const NO_SESSION: Failure = (StatusCode::SERVICE_UNAVAILABLE, "try again\n");
const BAD_NAME: Failure = (StatusCode::BAD_REQUEST, "a name has 1 to 64 characters\n");
const CART_FULL: Failure = (StatusCode::CONFLICT, "the cart is full\n");

fn short(name: String) -> Result<String, Failure> {
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    fits.then_some(name).ok_or(BAD_NAME)
}

/// Keeps every answer, errors too, out of every cache: they are about one visitor.
async fn no_store(response: Response) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], response)
}

fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(sign_in))
        .route("/me", get(me))
        .route("/cart", get(show_cart).post(add_to_cart))
        .route("/sign-out", post(sign_out))
        .route("/stats", get(stats))
        .route("/metrics", get(metrics))
        .layer(DefaultBodyLimit::max(4096))
        .layer(middleware::map_response(no_store))
        .with_state(shop)
}

/// A shop on 127.0.0.1 that keeps its visitors in a cloakroom
#[derive(Parser)]
struct Flags {
    /// Port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// How long an unused session lives: 90s, 30m, 12h, 7d [default: 30m, or --ttl if shorter]
    #[arg(long, value_name = "TIME", value_parser = flags::time)]
    idle: Option<Duration>,
    /// How long a session lives at the most
    #[arg(long, value_name = "TIME", value_parser = flags::time, default_value = "12h")]
    ttl: Duration,
    /// How many sessions there may be
    #[arg(long, value_name = "COUNT", default_value_t = 100_000)]
    max_sessions: usize,
}

async fn run() -> Result<(), String> {
    let flags: Flags = flags::parse()?;
    let (port, ttl) = (flags.port, flags.ttl);
    let sessions = SessionStore::builder()
        .ttl(ttl)
        .idle_timeout(flags.idle.unwrap_or(ttl.min(HALF_AN_HOUR)))
        .max_sessions(flags.max_sessions)
        .build()
        .map_err(|error| error.to_string())?;
    let cookie = SessionCookie::new();
    // Everything else that publishes through the `metrics` facade is on the same page.
    let prometheus = PrometheusBuilder::new().install_recorder();
    let prometheus = prometheus.map_err(|error| error.to_string())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
    let hint = "choose another with --port, or 0 for any free one";
    let listener = listener.map_err(|e| format!("cannot listen on port {port} ({e}); {hint}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("Listening on http://{address}, until Ctrl-C. Try:\n");
    println!("  curl -c jar -b jar http://{address}/");
    println!("  curl -c jar -b jar --json '{{\"user\":\"ada\"}}' http://{address}/sign-in");
    println!("  curl -c jar -b jar --json '{{\"item\":\"umbrella\"}}' http://{address}/cart\n");
    println!("There are also GET /me, GET /cart, POST /sign-out, GET /stats and GET /metrics.");
    axum::serve(listener, routes(Shop { sessions, cookie, prometheus }))
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await
        .map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(sentence) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("server: {sentence}.");
    ExitCode::FAILURE
}
