//! Owns the measurement of what sessions cost an axum handler, against the same handler without them.
//!
//! `cargo bench --bench axum` takes a minute: requests to a router without a socket, which is the
//! stricter figure, and then over HTTP on the loopback. All take turns, round by round; a figure is the
//! median of the rounds, and its ratio that of the rates in each round. `--test` runs everything once.
//!
//! | handler         | what it does                                                       |
//! |-----------------|--------------------------------------------------------------------|
//! | `without`       | answers; what the others are compared with                         |
//! | `no-op layer`   | the same in a layer that does nothing: what axum takes for any one |
//! | `Extension`     | takes an `Extension` from axum's own layer: the least of this kind |
//! | `unused`        | answers, in a session layer                                        |
//! | `read`          | takes its session and reads it                                     |
//! | `read, around`  | the same, with the layer around the router, not in it              |
//! | `read, renewed` | the same, and the cookie goes out again with each response         |
//! | `update`        | changes its session                                                |

use std::convert::Infallible;
use std::env;
use std::future::Future;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::response::Response;
use axum::routing::{IntoMakeService, get};
use axum::{Extension, Router};
use cloakroom::adapters::axum::{CookieLifetime, Refused, Session, SessionLayer, SessionService};
use cloakroom::{SessionId, SessionStore};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tower::layer::util::Identity;
use tower::{Layer, Service, ServiceExt};

/// 56 bytes of data, as in the other benchmarks.
type Payload = [u64; 7];

/// Sessions in the store. Their visitors come in turns, all of them or a few: of many, the sessions are in no
/// cache when their visitor comes.
const SESSIONS: usize = 10_000;

/// Requests that are made before they are answered: few enough to stay in a core's cache.
const BATCH: usize = 100;

/// Keep-alive connections over HTTP: enough to keep the server's one thread busy all the time.
const CONNECTIONS: usize = 32;

/// Each handler's name, and its path. The first is what the others are compared with.
const ARMS: [(&str, &str); 8] = [
    ("without", "/without"),
    ("no-op layer", "/no-op"),
    ("Extension", "/extension"),
    ("unused", "/unused"),
    ("read", "/read"),
    ("read, around", "/around"),
    ("read, renewed", "/renewed"),
    ("update", "/update"),
];

async fn without() -> &'static str {
    "hello"
}

async fn extension(store: Extension<SessionStore<Payload>>) -> &'static str {
    black_box(&store);
    "hello"
}

async fn read(session: Session<Payload>) -> &'static str {
    black_box(session[0]);
    "hello"
}

async fn update(mut session: Session<Payload>) -> Result<&'static str, Refused> {
    session.update(|payload| payload[0] += 1)?;
    Ok("hello")
}

fn store() -> SessionStore<Payload> {
    let hour = Duration::from_secs(3600);
    let builder = SessionStore::builder().ttl(12 * hour).idle_timeout(hour);
    builder.build().expect("the settings are valid")
}

fn routes(store: &SessionStore<Payload>) -> Router {
    let layer = SessionLayer::new(store.clone());
    let renewing = layer.clone().cookie_lifetime(CookieLifetime::Session);
    Router::new()
        .route("/without", get(without))
        .route("/no-op", get(without).layer(Identity::new()))
        .route("/extension", get(extension).layer(Extension(store.clone())))
        .route("/unused", get(without).layer(layer.clone()))
        .route("/read", get(read).layer(layer.clone()))
        .route("/renewed", get(read).layer(renewing))
        .route("/update", get(update).layer(layer))
        // Each route now, as a server does it, and not with each request.
        .with_state(())
}

type Around = SessionService<Router, Payload>;

fn around(store: &SessionStore<Payload>) -> Around {
    let app = Router::new().route("/around", get(read)).with_state(());
    SessionLayer::new(store.clone()).layer(app)
}

fn cookie(ids: &[SessionId], turn: usize) -> String {
    // Far apart, so that no two requests in a row share a cache line.
    let id = ids[turn.wrapping_mul(7919) % ids.len()];
    format!("theme=dark; __Host-session={}", id.to_token())
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_io().build().expect("a runtime")
}

/// Runs something and returns how long it took.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn timed(work: impl FnOnce()) -> Duration {
    let begin = std::time::Instant::now();
    work();
    begin.elapsed()
}

/// Measures the arms in turns, each round beginning with another one, and prints a table.
fn compare(title: &str, rounds: usize, mut rate: impl FnMut(&'static str, usize) -> f64) {
    let mut rates = ARMS.map(|_| Vec::with_capacity(rounds));
    for round in 0..rounds {
        for step in 0..ARMS.len() {
            let arm = (round + step) % ARMS.len();
            rates[arm].push(rate(ARMS[arm].1, round));
        }
    }
    println!("\n{title}, {rounds} rounds");
    println!("{:<15} {:>12} {:>12} {:>8}", "handler", "requests/s", "ns/request", "ratio");
    for (arm, (name, _)) in ARMS.iter().enumerate() {
        let ratios = rates[arm].iter().zip(&rates[0]).map(|(rate, base)| rate / base).collect();
        let rate = median(rates[arm].clone());
        println!("{name:<15} {rate:>12.0} {:>12.0} {:>8.3}", 1e9 / rate, median(ratios));
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Makes some requests, and returns how long a service took to answer them, one after the other.
fn answer<S>(runtime: &Runtime, app: &S, path: &str, cookies: &[String]) -> Duration
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    let requests = cookies.iter().map(|cookie| {
        let request = Request::builder().uri(path).header(header::COOKIE, cookie);
        request.body(Body::empty()).expect("a request")
    });
    let requests: Vec<Request> = requests.collect();
    timed(|| {
        runtime.block_on(async {
            for request in requests {
                // A clone for each request, as a server does it.
                black_box(app.clone().oneshot(request).await.is_ok());
            }
        });
    })
}

/// Requests per second to a router, on one thread and without a socket.
fn without_socket(active: usize, rounds: usize, batches: usize) {
    let store = store();
    let ids: Vec<SessionId> = (0..SESSIONS).map(|_| *store.create().id()).collect();
    let (app, around) = (routes(&store), around(&store));
    let runtime = runtime();
    compare(&format!("router.oneshot, {active} visitors"), rounds, |path, round| {
        let mut took = Duration::ZERO;
        for batch in 0..batches {
            let turns = (round + batch) * BATCH..;
            let cookies: Vec<String> =
                turns.take(BATCH).map(|turn| cookie(&ids[..active], turn)).collect();
            took += match path {
                "/around" => answer(&runtime, &around, path, &cookies),
                _ => answer(&runtime, &app, path, &cookies),
            };
        }
        (batches * BATCH) as f64 / took.as_secs_f64()
    });
}

/// Requests per second over HTTP, to a server with one thread.
fn over_http(active: usize, rounds: usize, slice: Duration) {
    let store = store();
    let ids: Vec<SessionId> = (0..SESSIONS).map(|_| *store.create().id()).collect();
    let ids: Arc<[SessionId]> = ids[..active].into();
    let inside = serve(routes(&store).into_make_service());
    let around = serve(axum::ServiceExt::<Request>::into_make_service(around(&store)));
    compare(&format!("HTTP over loopback, {active} visitors"), rounds, |path, round| {
        let address = if path == "/around" { around } else { inside };
        let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..CONNECTIONS).map(|client| {
            let (ids, done, answered) = (ids.clone(), done.clone(), answered.clone());
            async move {
                let stream = TcpStream::connect(address).await.expect("a connection");
                let mut turns = client + round..;
                while !done.load(Ordering::Relaxed) {
                    ask(&stream, path, &cookie(&ids, turns.next().unwrap_or_default())).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let clients: Vec<_> = clients.collect();
        let all = async { clients.into_iter().collect::<JoinSet<_>>().join_all().await };
        let driver = thread::spawn(move || runtime().block_on(all));
        // The connections are made, and the first quarter warms up.
        thread::park_timeout(slice / 4);
        let before = answered.load(Ordering::Relaxed);
        let took = timed(|| thread::park_timeout(slice));
        let rate = (answered.load(Ordering::Relaxed) - before) as f64 / took.as_secs_f64();
        done.store(true, Ordering::Relaxed);
        driver.join().expect("the clients");
        rate
    });
}

/// Starts a server on a thread of its own, which lives as long as the process.
fn serve<S>(app: IntoMakeService<S>) -> SocketAddr
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let runtime = runtime();
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || runtime.block_on(async { axum::serve(listener, app).await }));
    address
}

/// Sends one request and reads its answer, whose body is `hello`.
async fn ask(stream: &TcpStream, path: &str, cookie: &str) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    retried(|| stream.writable(), || stream.try_write(request.as_bytes())).await;
    let mut answer = [0; 1024];
    let read = retried(|| stream.readable(), || stream.try_read(&mut answer)).await;
    let answer = &answer[..read];
    assert!(answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"hello"), "{path}");
}

async fn retried<F>(
    ready: impl Fn() -> F,
    mut attempt: impl FnMut() -> std::io::Result<usize>,
) -> usize
where
    F: Future<Output = std::io::Result<()>>,
{
    loop {
        ready().await.expect("a socket");
        match attempt() {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            done => return done.expect("a connection that stays open"),
        }
    }
}

fn main() {
    let test = env::args().any(|argument| argument == "--test");
    for active in [CONNECTIONS, SESSIONS] {
        without_socket(active, if test { 1 } else { 21 }, if test { 1 } else { 200 });
    }
    for active in [CONNECTIONS, SESSIONS] {
        let slice = Duration::from_millis(if test { 10 } else { 150 });
        over_http(active, if test { 1 } else { 25 }, slice);
    }
}
