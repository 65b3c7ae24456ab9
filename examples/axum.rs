//! A cloakroom with axum's extractor: handlers take a `Session<Visitor>`, the layer does the rest.
//!
//! Start it with `cargo run --release --example axum`, or with a port as its argument; 0 takes any free
//! one. It prints curl lines to try.
//!
//! | route            | what it does                                    | makes a session |
//! |------------------|-------------------------------------------------|-----------------|
//! | `GET /`          | says who you are and what you have left here    | no              |
//! | `POST /coats`    | leaves what the body says                       | yes             |
//! | `POST /note`     | keeps a note for you                            | yes             |
//! | `POST /sign-in`  | names you as the body says, under a new id      | yes             |
//! | `POST /sign-out` | ends the session                                | no              |

mod local;

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use cloakroom::SessionStore;
use cloakroom::adapters::axum::{Refused, Session, SessionLayer};
use tokio::net::TcpListener;

const MAX_COATS: usize = 100;

/// What is known of a visitor: any `Clone + Default` type will do.
#[derive(Clone, Default)]
pub(crate) struct Visitor {
    user: Option<String>,
    note: String,
    pub(crate) coats: Vec<String>,
}

/// The layer keeps ids out of caches. What a page shows of a session is for the page to keep out.
async fn show(session: Session<Visitor>) -> impl IntoResponse {
    let Visitor { user, note, coats } = &*session;
    let user = user.as_deref().unwrap_or("nobody");
    let text = format!("user: {user}\nnote: {note}\ncoats: {}\n", coats.join(", "));
    ([(header::CACHE_CONTROL, "no-store")], text)
}

/// What many requests of one visitor may do at once is an `update`: none of them is lost.
async fn leave_coat(mut session: Session<Visitor>, coat: String) -> Result<Response, Refused> {
    let coats = session.update(|visitor| {
        let room = visitor.coats.len() < MAX_COATS;
        room.then(|| {
            visitor.coats.push(coat.clone());
            visitor.coats.len()
        })
    })?;
    Ok(match coats {
        Some(coats) => format!("coats: {coats}\n").into_response(),
        None => (StatusCode::CONFLICT, "there is no more room\n").into_response(),
    })
}

/// Where the last one wins, a plain change will do. It is saved before the answer leaves.
async fn write_note(mut session: Session<Visitor>, note: String) -> &'static str {
    session.note = note;
    "noted\n"
}

async fn sign_in(mut session: Session<Visitor>, user: String) -> Result<String, Refused> {
    // A real service checks a password or a passkey here, and is done with all else before `rotate`.
    if session.user.as_ref().is_some_and(|other| *other != user) {
        // Somebody else's coats are not for this user.
        session.destroy();
    }
    match session.rotate() {
        // Ended, or signed in by a parallel request: this one begins anew.
        Err(Refused::Gone) => drop(session.destroy()),
        rotated => rotated?,
    }
    session.update(|visitor| visitor.user = Some(user.clone()))?;
    Ok(format!("user: {user}\n"))
}

async fn sign_out(mut session: Session<Visitor>) -> &'static str {
    if session.destroy() { "bye\n" } else { "there was no session\n" }
}

pub(crate) fn routes(sessions: SessionStore<Visitor>) -> Router {
    Router::new()
        .route("/", get(show))
        .route("/coats", post(leave_coat))
        .route("/note", post(write_note))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(DefaultBodyLimit::max(256))
        .layer(SessionLayer::new(sessions))
}

pub(crate) fn sessions() -> Result<SessionStore<Visitor>, String> {
    let builder = SessionStore::builder()
        .ttl(Duration::from_secs(12 * 60 * 60))
        .idle_timeout(Duration::from_secs(30 * 60))
        .max_sessions(100_000);
    builder.build().map_err(|error| error.to_string())
}

async fn run() -> Result<(), String> {
    let (listener, address) = local::listen()?;
    let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
    println!("Listening on http://{address}, until Ctrl-C. Try:\n");
    println!("  curl -c jar -b jar -d umbrella http://{address}/coats");
    println!("  curl -c jar -b jar -d ada http://{address}/sign-in");
    println!("  curl -c jar -b jar http://{address}/\n");
    println!("There are also POST /note and POST /sign-out.");
    axum::serve(listener, routes(sessions()?))
        .with_graceful_shutdown(async { _ = tokio::signal::ctrl_c().await })
        .await
        .map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let Err(sentence) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("axum: {sentence}.");
    ExitCode::FAILURE
}
