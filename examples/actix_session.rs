//! actix-session with a cloakroom behind it: `cargo run --example actix_session`, then try the lines that
//! it prints. The port is 3000 unless another follows: `cargo run --example actix_session -- 3001`.
//!
//! actix-session has no store in memory of its own. This one needs no Redis, ends sessions 12 hours after
//! they began however often they are used, and lets one process sign a user out everywhere; and a
//! request that finishes after a sign-out does not undo it.

mod local;

use std::process::ExitCode;
use std::time::Duration;

use actix_session::config::{PersistentSession, TtlExtensionPolicy};
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::error::ErrorUnauthorized;
use actix_web::web::{self, Data, Json, ServiceConfig};
use actix_web::{App, HttpServer, Result};
use cloakroom::SessionStore;
use cloakroom::adapters::actix_session::Store;
use serde::Deserialize;
use serde_json::{Value, json};

/// JSON on a line of its own.
fn line(body: &Value) -> Result<String> {
    Ok(format!("{body}\n"))
}

async fn visit(session: Session) -> Result<String> {
    let visits = session.get::<u64>("visits")?.unwrap_or_default() + 1;
    session.insert("visits", visits)?;
    line(&json!({ "visits": visits }))
}

#[derive(Deserialize)]
struct SignIn {
    user: String,
}

async fn sign_in(session: Session, form: Json<SignIn>) -> Result<String> {
    // A real service checks a password or a passkey here. Then a new key, before the name.
    session.renew();
    session.insert("user", &form.user)?;
    line(&json!({ "user": form.user }))
}

async fn me(session: Session) -> Result<String> {
    let (user, visits) = (session.get::<Value>("user")?, session.get::<Value>("visits")?);
    line(&json!({ "user": user, "visits": visits }))
}

async fn sign_out(session: Session) -> Result<String> {
    session.purge();
    line(&json!({ "signed_out": true }))
}

/// Ends all sessions of this session's user, in whatever browsers they are.
async fn sign_out_everywhere(store: Data<Store>, session: Session) -> Result<String> {
    let Some(user) = session.entries().get("user").cloned() else {
        return Err(ErrorUnauthorized("nobody is signed in\n"));
    };
    let ended = store.sessions().retain(|_, state| state.get("user") != Some(&user));
    line(&json!({ "ended": ended }))
}

fn routes(config: &mut ServiceConfig) {
    config
        .route("/", web::get().to(visit))
        .route("/sign-in", web::post().to(sign_in))
        .route("/me", web::get().to(me))
        .route("/sign-out", web::post().to(sign_out))
        .route("/sign-out-everywhere", web::post().to(sign_out_everywhere));
}

fn middleware(store: &Store, key: &Key) -> SessionMiddleware<Store> {
    let lifecycle = PersistentSession::default()
        .session_ttl(time::Duration::minutes(30))
        .session_ttl_extension_policy(TtlExtensionPolicy::OnEveryRequest);
    SessionMiddleware::builder(store.clone(), key.clone()).session_lifecycle(lifecycle).build()
}

async fn run() -> std::result::Result<(), String> {
    let sessions = SessionStore::builder()
        .ttl(Duration::from_secs(12 * 60 * 60))
        .max_sessions(100_000)
        .build()
        .map_err(|error| error.to_string())?;
    // A key of this process will do: its sessions end with it.
    let (store, key) = (Store::from(sessions), Key::generate());
    let (listener, address) = local::listen()?;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::new(store.clone()))
            .wrap(middleware(&store, &key))
            .configure(routes)
    });
    let server = server.workers(2).listen(listener).map_err(|error| error.to_string())?;
    println!("Listening on http://{address}, until Ctrl-C. Try:\n");
    println!("  curl -c jar -b jar http://{address}/");
    println!("  curl -c jar -b jar --json '{{\"user\":\"ada\"}}' http://{address}/sign-in");
    println!("  curl -c jar -b jar -X POST http://{address}/sign-out\n");
    println!("There are also GET /me and POST /sign-out-everywhere.");
    server.run().await.map_err(|error| error.to_string())
}

#[actix_web::main]
async fn main() -> ExitCode {
    let Err(sentence) = run().await else {
        return ExitCode::SUCCESS;
    };
    eprintln!("actix_session: {sentence}.");
    ExitCode::FAILURE
}
