//! async-session with a cloakroom behind it, in axum: `cargo run --example async_session`, then try the
//! lines that it prints. The port is 3000 unless another follows:
//! `cargo run --example async_session -- 3001`.
//!
//! The middleware here is what a framework of async-session brings along. It does one thing that some of
//! those forget: when a handler regenerates the session, it ends the old one.

mod local;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_session::{Session, SessionStore as _};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cloakroom::SessionStore;
use cloakroom::adapters::async_session::Store;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const COOKIE: &str = "sid";
const ATTRIBUTES: &str = "HttpOnly; SameSite=Lax; Secure; Path=/";
const INACTIVITY: Duration = Duration::from_secs(30 * 60);

/// The session of a request, which its handler shares with the middleware.
#[derive(Clone)]
struct Current(Arc<Mutex<Session>>);

impl Current {
    fn lock(&self) -> MutexGuard<'_, Session> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Loads the request's session, runs the handler, and stores what it changed before the answer leaves.
async fn sessions(store: State<Store>, mut request: Request, next: Next) -> Response {
    let loaded = match cookie(request.headers()) {
        Some(cookie) => store.load_session(cookie.to_owned()).await.unwrap_or_default(),
        None => None,
    };
    let before = loaded.clone();
    let current = Current(Arc::new(Mutex::new(loaded.unwrap_or_default())));
    request.extensions_mut().insert(current.clone());
    let mut response = next.run(request).await;
    let Ok(set_cookie) = keep(&store, before, &current).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    if let Some(value) = set_cookie.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

/// Stores or destroys a session, and returns the cookie to set.
async fn keep(
    store: &Store,
    before: Option<Session>,
    current: &Current,
) -> async_session::Result<Option<String>> {
    // The one that was made by `regenerate` has a cookie in it, which a clone has not.
    let mut session = std::mem::take(&mut *current.lock());
    let is_new = before.as_ref().is_none_or(|before| before.id() != session.id());
    let changed = session.data_changed();
    if let Some(before) = before.filter(|_| is_new || session.is_destroyed()) {
        store.destroy_session(before).await?;
    }
    if session.is_destroyed() {
        return Ok(Some(format!("{COOKIE}=; {ATTRIBUTES}; Max-Age=0")));
    }
    // Visitors who change nothing get no session.
    if !changed && (!is_new || session.len() == 0) {
        return Ok(None);
    }
    session.expire_in(INACTIVITY);
    let cookie = store.store_session(session).await?;
    Ok(cookie.map(|value| format!("{COOKIE}={value}; {ATTRIBUTES}")))
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split("; ")).filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(name, value)| (name == COOKIE).then_some(value))
}

/// JSON on a line of its own.
fn line(body: &Value) -> String {
    format!("{body}\n")
}

async fn visit(Extension(session): Extension<Current>) -> Result<String, StatusCode> {
    let mut session = session.lock();
    let visits = session.get::<u64>("visits").unwrap_or_default() + 1;
    session.insert("visits", visits).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(line(&json!({ "visits": visits })))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(
    Extension(session): Extension<Current>,
    Json(form): Json<SignIn>,
) -> Result<String, StatusCode> {
    let mut session = session.lock();
    // A real service checks a password or a passkey here. Then a new id, before the name.
    session.regenerate();
    session.insert("user", &form.user).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(line(&json!({ "user": form.user })))
}

async fn me(Extension(session): Extension<Current>) -> String {
    let session = session.lock();
    let (user, visits) = (session.get::<Value>("user"), session.get::<Value>("visits"));
    line(&json!({ "user": user, "visits": visits }))
}

async fn sign_out(Extension(session): Extension<Current>) -> String {
    session.lock().destroy();
    line(&json!({ "signed_out": true }))
}

/// Ends all sessions of this session's user, in whatever browsers they are.
async fn sign_out_everywhere(
    store: State<Store>,
    Extension(session): Extension<Current>,
) -> Result<String, StatusCode> {
    let user = session.lock().get_raw("user").ok_or(StatusCode::UNAUTHORIZED)?;
    let ended = store.sessions().retain(|_, state| state.get("user") != Some(&*user));
    Ok(line(&json!({ "ended": ended })))
}

fn routes(store: Store) -> Router {
    Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(sign_in))
        .route("/me", get(me))
        .route("/sign-out", post(sign_out))
        .route("/sign-out-everywhere", post(sign_out_everywhere))
        .layer(middleware::from_fn_with_state(store.clone(), sessions))
        .with_state(store)
}

async fn run() -> Result<(), String> {
    let sessions = SessionStore::builder()
        .ttl(Duration::from_secs(12 * 60 * 60))
        .max_sessions(100_000)
        .build()
        .map_err(|error| error.to_string())?;
    let (listener, address) = local::listen()?;
    let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    println!("Listening on http://{address}, until Ctrl-C. Try:\n");
    println!("  curl -c jar -b jar http://{address}/");
    println!("  curl -c jar -b jar --json '{{\"user\":\"ada\"}}' http://{address}/sign-in");
    println!("  curl -c jar -b jar -X POST http://{address}/sign-out\n");
    println!("There are also GET /me and POST /sign-out-everywhere.");
    let serving = axum::serve(listener, routes(Store::from(sessions)));
    serving.await.map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(sentence) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("async_session: {sentence}.");
    ExitCode::FAILURE
}
