//! tower-sessions with a cloakroom behind it: `cargo run --example tower_sessions`, then try the lines
//! that it prints. The port is 3000 unless another follows: `cargo run --example tower_sessions -- 3001`.
//!
//! What is different from tower-sessions' own memory store: sessions end 12 hours after they began
//! however often they are used, there is a bound, what has expired leaves the memory, a request that
//! finishes after a sign-out does not undo it, and one process can sign a user out everywhere.

mod local;

use std::process::ExitCode;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cloakroom::SessionStore;
use cloakroom::adapters::tower_sessions::Store;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_sessions::session::Error as SessionError;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

/// JSON on a line of its own, or no details about what went wrong.
type Reply = Result<String, StatusCode>;

fn line(body: &Value) -> Reply {
    Ok(format!("{body}\n"))
}

fn failed(_: SessionError) -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn visit(session: Session) -> Reply {
    let visits = session.get::<u64>("visits").await.map_err(failed)?.unwrap_or_default() + 1;
    session.insert("visits", visits).await.map_err(failed)?;
    line(&json!({ "visits": visits }))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(session: Session, Json(form): Json<SignIn>) -> Reply {
    // A real service checks a password or a passkey here. Then a new id, before the name.
    session.cycle_id().await.map_err(failed)?;
    session.insert("user", &form.user).await.map_err(failed)?;
    line(&json!({ "user": form.user }))
}

async fn me(session: Session) -> Reply {
    let user = session.get_value("user").await.map_err(failed)?;
    let visits = session.get_value("visits").await.map_err(failed)?;
    line(&json!({ "user": user, "visits": visits }))
}

async fn sign_out(session: Session) -> Reply {
    session.flush().await.map_err(failed)?;
    line(&json!({ "signed_out": true }))
}

/// Ends all sessions of this session's user, in whatever browsers they are.
async fn sign_out_everywhere(store: State<Store>, session: Session) -> Reply {
    let user = session.get_value("user").await.map_err(failed)?;
    let Some(user) = user else {
        return Err(StatusCode::UNAUTHORIZED);
    };
    let ended = store.sessions().retain(|_, state| state.get("user").as_ref() != Some(&user));
    line(&json!({ "ended": ended }))
}

fn routes(store: Store) -> Router {
    let inactivity = Expiry::OnInactivity(time::Duration::minutes(30));
    let layer = SessionManagerLayer::new(store.clone()).with_expiry(inactivity);
    Router::new()
        .route("/", get(visit))
        .route("/sign-in", post(sign_in))
        .route("/me", get(me))
        .route("/sign-out", post(sign_out))
        .route("/sign-out-everywhere", post(sign_out_everywhere))
        .layer(layer)
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
    eprintln!("tower_sessions: {sentence}.");
    ExitCode::FAILURE
}
