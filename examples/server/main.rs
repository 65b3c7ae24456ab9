//! A small shop's HTTP API: its sessions live in a `SessionStore<Visitor>`, their ids in a cookie.
//!
//! Start it with `cargo run --release --example server`; it prints curl lines to try, and `--help` says what
//! can be set.
//!
//! | route                           | what it does                                    | needs a session            |
//! |---------------------------------|-------------------------------------------------|----------------------------|
//! | `GET /`                         | counts the visit                                | makes one if there is none |
//! | `POST /sign-in`                 | `{"user": ".."}`: names the visitor, new id     | makes one if there is none |
//! | `POST /cart`                    | `{"item": ".."}`: puts something into the cart  | makes one if there is none |
//! | `GET /me`, `GET /cart`          | says who the visitor is, what is in the cart    | no                         |
//! | `GET /live`                     | a WebSocket: how much is in the cart, until the session ends | yes           |
//! | `POST /checkout`                | empties the cart                                | a user's, signed in lately |
//! | `GET /devices`                  | lists the user's sessions                       | a user's                   |
//! | `POST /devices/sign-out`        | `{"device": ".."}`: ends one of them            | a user's                   |
//! | `POST /devices/sign-out-others` | ends all of them but this                       | a user's                   |
//! | `POST /sign-out-everywhere`     | ends all of them                                | a user's                   |
//! | `POST /sign-out`                | ends the session                                | no                         |
//! | `GET /stats`                    | the store's counters; not for the public        | no                         |
//! | `GET /metrics`                  | the same for Prometheus; not for the public     | no                         |
//!
//! Whoever sends no cookie back makes a session with each request to the three routes that make one.
//! That costs little, and no more than `--max-sessions` of it: then the guest's session that is the soonest
//! to expire makes room. No number of guests signs a user out. What one session may hold is limited too, and
//! so is how many a user may have.
//!
//! | file          | owns                                                              |
//! |---------------|-------------------------------------------------------------------|
//! | `main.rs`     | flags, routes                                                     |
//! | `shop.rs`     | the store, and whose request it is                                |
//! | `visit.rs`    | what anybody may do: look round, fill a cart                      |
//! | `account.rs`  | signing in and out, and what asks for a recent proof              |
//! | `devices.rs`  | a user's sessions: listed, ended                                  |
//! | `live.rs`     | the WebSocket that ends with its session                          |
//! | `figures.rs`  | what the store counts                                             |
//! | `answer.rs`   | what is sent back, and what is refused before any handler sees it |

mod account;
mod answer;
mod devices;
mod figures;
#[path = "../flags/mod.rs"]
mod flags;
mod live;
mod shop;
mod visit;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use axum::{Router, middleware};
use clap::Parser;
use cloakroom::{OnLimit, SessionCookie, SessionStore, Subject};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::net::TcpListener;

use flags::between;
use shop::{Shop, Visitor};

const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/", get(visit::visit))
        .route("/me", get(visit::me))
        .route("/cart", get(visit::show_cart).post(visit::add_to_cart))
        .route("/live", get(live::live))
        .route("/sign-in", post(account::sign_in))
        .route("/sign-out", post(account::sign_out))
        .route("/sign-out-everywhere", post(account::sign_out_everywhere))
        .route("/checkout", post(account::check_out))
        .route("/devices", get(devices::list))
        .route("/devices/sign-out", post(devices::sign_out))
        .route("/devices/sign-out-others", post(devices::sign_out_others))
        .route("/stats", get(figures::stats))
        .route("/metrics", get(figures::metrics))
        .layer(DefaultBodyLimit::max(4096))
        .layer(middleware::from_fn(answer::only_own_pages))
        .layer(middleware::map_response(answer::no_store))
        .with_state(shop)
}

/// A shop on 127.0.0.1 that keeps its visitors in a cloakroom
#[derive(Parser)]
struct Flags {
    /// Port to listen on; 0 takes any free one
    #[arg(long, default_value_t = 3000, value_parser = between(0_u16, 65535))]
    port: u16,
    /// How long an unused session lives: 90s, 30m, 12h, 7d [default: 30m, or --ttl if shorter]
    #[arg(long, value_name = "TIME", value_parser = flags::time)]
    idle: Option<Duration>,
    /// How long a session lives at the most
    #[arg(long, value_name = "TIME", value_parser = flags::time, default_value = "12h")]
    ttl: Duration,
    /// How long after signing in a user may check out
    #[arg(long, value_name = "TIME", value_parser = flags::time, default_value = "5m")]
    proof: Duration,
    /// How many sessions there may be
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = between(1, usize::MAX))]
    max_sessions: usize,
    /// How many of them one user may have; one more signs the oldest out
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = between(1, usize::MAX))]
    max_per_user: usize,
}

async fn run() -> Result<(), String> {
    let flags: Flags = flags::parse()?;
    let sessions = SessionStore::builder()
        .ttl(flags.ttl)
        .idle_timeout(flags.idle.unwrap_or(flags.ttl.min(HALF_AN_HOUR)))
        .max_sessions(flags.max_sessions)
        // From here on the store knows whose each session is: no handler has to keep a list.
        .index_by(|visitor: &Visitor| visitor.user.as_deref().map(Subject::from))
        .max_per_subject(flags.max_per_user, OnLimit::RevokeOldest)
        .build()
        .map_err(|error| {
            let others = [("idle_timeout", "--idle"), ("max_per_subject", "--max-per-user")];
            flags::refused(&error, &others)
        })?;
    // Everything else that publishes through the `metrics` facade is on the same page.
    let prometheus = PrometheusBuilder::new().install_recorder();
    let prometheus = prometheus.map_err(|error| error.to_string())?;
    let cookie = SessionCookie::new();
    let shop = Shop { sessions, cookie, proof: flags.proof, prometheus };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, flags.port)).await;
    let hint = "choose another with --port, or 0 for any free one";
    let listener =
        listener.map_err(|e| format!("cannot listen on port {} ({e}); {hint}", flags.port))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    println!("Listening on http://{address}, until Ctrl-C. Try:\n");
    println!("  curl -c jar -b jar http://{address}/");
    println!("  curl -c jar -b jar --json '{{\"user\":\"ada\"}}' http://{address}/sign-in");
    println!("  curl -c jar -b jar --json '{{\"item\":\"umbrella\"}}' http://{address}/cart\n");
    println!("With another jar you are another device of ada's. To list and sign out devices:\n");
    println!("  curl -c jar -b jar http://{address}/devices");
    println!("  curl -c jar -b jar -X POST http://{address}/sign-out-everywhere\n");
    println!("All routes are in the first lines of examples/server/main.rs.");
    axum::serve(listener, routes(shop))
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
