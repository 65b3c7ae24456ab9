//! The server example, started as a newcomer starts it and driven over HTTP as browsers drive it.

#[path = "server/devices.rs"]
mod devices;
#[path = "server/harness.rs"]
mod harness;
#[path = "server/live.rs"]
mod live;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use harness::{Browser, PATIENCE, Reply, Server, server};
use serde_json::Value;

#[test]
fn server_prints_five_curl_lines_for_its_address() {
    let mut server = Server::start(&[]);
    let url = format!("http://{}/", server.0.address);
    let lines: Vec<String> = (&mut server.0.stdout).lines().take(9).map(Result::unwrap).collect();
    let tries = lines.iter().filter(|line| line.contains(" curl ") && line.contains(&url));
    assert_eq!(tries.count(), 5, "{lines:?}");
}

#[test]
fn visits_are_counted_for_each_browser() {
    let server = Server::start(&[]);
    let (mut ada, mut bob) = (server.browser(), server.browser());
    for visits in 1..=3 {
        assert_eq!(ada.get("/").json()["visits"], visits);
    }
    assert_eq!(bob.get("/").json()["visits"], 1);
    assert_eq!(ada.get("/me").json()["visits"], 3);
    assert_ne!(ada.cookie, bob.cookie);
}

#[test]
fn cookie_lives_as_long_as_the_idle_timeout_and_is_sent_again() {
    let server = Server::start(&["--idle", "90", "--ttl", "2h"]);
    let mut browser = server.browser();
    for path in ["/", "/me", "/cart", "/"] {
        let set_cookie = browser.get(path).set_cookie.unwrap();
        let (_, seconds) = set_cookie.rsplit_once('=').unwrap();
        let seconds: u64 = seconds.parse().unwrap();
        assert!((60..=90).contains(&seconds), "{path}: {seconds}");
    }
}

#[test]
fn sign_in_gives_a_new_id_and_kills_the_old_one() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.get("/");
    let mut thief = browser.clone();
    assert_eq!(browser.sign_in("ada").json()["user"], "ada");
    assert_ne!(browser.cookie, thief.cookie);
    assert_eq!(thief.user(), Value::Null);
    assert_eq!(thief.get("/").json()["visits"], 1, "not the session that was signed in");
    assert_eq!(browser.user(), "ada");
    assert_eq!(browser.get("/").json()["visits"], 2, "the same session under another id");
    assert_eq!(server.count("rotated"), 1);
}

#[test]
fn id_that_the_server_never_gave_is_not_adopted() {
    let server = Server::start(&[]);
    let planted = Some("__Host-session=AAECAwQFBgcICQoLDA0ODw".to_owned());
    let send: [fn(&mut Browser) -> Reply; 3] = [
        |browser| browser.get("/"),
        |browser| browser.add("hat"),
        |browser| browser.sign_in("ada"),
    ];
    for send in send {
        let mut browser = Browser { cookie: planted.clone(), ..server.browser() };
        assert_eq!(send(&mut browser).status, 200);
        assert_ne!(browser.cookie, planted);
    }
    let mut attacker = Browser { cookie: planted, ..server.browser() };
    assert_eq!(attacker.user(), Value::Null);
}

#[test]
fn cart_is_kept_across_requests_and_sign_in() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.add("umbrella");
    assert_eq!(browser.add("coat").json()["items"], Value::from(vec!["umbrella", "coat"]));
    assert_eq!(browser.sign_in("ada").json()["items"], 2);
    browser.add("hat");
    browser.sign_in("ada");
    assert_eq!(browser.cart(), Value::from(vec!["umbrella", "coat", "hat"]));
}

#[test]
fn another_user_of_the_same_browser_gets_neither_cart_nor_session() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.sign_in("ada");
    browser.add("diary");
    let mut ada = browser.clone();
    assert_eq!(browser.sign_in("bob").json()["items"], 0);
    assert_eq!(browser.user(), "bob");
    assert_eq!(ada.user(), Value::Null, "her session has ended");
}

#[test]
fn sign_out_ends_the_session_everywhere_and_removes_the_cookie() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.sign_in("ada");
    browser.add("umbrella");
    let mut copy = browser.clone();
    assert_eq!(browser.post("/sign-out", "").json()["signed_out"], true);
    assert_eq!(browser.cookie, None);
    assert_eq!(copy.user(), Value::Null);
    assert_eq!(copy.cart(), Value::from(Vec::<Value>::new()));
    assert_eq!(copy.post("/sign-out", "").json()["signed_out"], false);
    assert_eq!((server.count("live"), server.count("destroyed")), (0, 1));
}

#[test]
fn reading_makes_no_session() {
    let server = Server::start(&[]);
    for path in ["/me", "/cart", "/stats", "/metrics", "/nowhere"] {
        assert_eq!(server.browser().get(path).set_cookie, None, "{path}");
    }
    server.browser().post("/sign-out", "");
    assert_eq!(server.count("created"), 0);
}

#[test]
fn visitors_beyond_the_bound_take_the_place_of_others() {
    let server = Server::start(&["--max-sessions", "2"]);
    for _ in 0..5 {
        assert_eq!(server.browser().get("/").status, 200);
    }
    assert_eq!(["created", "evicted", "live"].map(|counter| server.count(counter)), [5, 3, 2]);
}

#[test]
fn prometheus_is_told_what_the_store_counts() {
    let server = Server::start(&["--max-sessions", "2"]);
    for _ in 0..5 {
        server.browser().get("/");
    }
    for _ in 0..2 {
        let page = server.browser().get("/metrics").body;
        for line in [
            "# TYPE cloakroom_sessions_created_total counter",
            "cloakroom_sessions_created_total 5",
            "cloakroom_sessions_evicted_total 3",
            "# TYPE cloakroom_sessions_live gauge",
            "cloakroom_sessions_live 2",
        ] {
            assert!(page.lines().any(|other| other == line), "no {line} in {page}");
        }
    }
}

#[test]
fn names_and_carts_have_a_limit() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    assert_eq!(browser.sign_in("").status, 400);
    assert_eq!(browser.sign_in(&"a".repeat(65)).status, 400);
    assert_eq!(browser.sign_in(&"a".repeat(5000)).status, 413);
    assert_eq!(browser.post("/cart", "umbrella").status, 400);
    assert_eq!(server.count("created"), 0);
    for _ in 0..100 {
        assert_eq!(browser.add("umbrella").status, 200);
    }
    assert_eq!(browser.add("umbrella").status, 409);
    assert_eq!(browser.cart().as_array().unwrap().len(), 100);
}

#[test]
fn parallel_requests_of_one_visitor_lose_no_change() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.sign_in("ada");
    thread::scope(|scope| {
        for thread in 0..4 {
            let mut browser = browser.clone();
            scope.spawn(move || {
                for turn in 0..20 {
                    browser.get("/");
                    browser.add(&format!("{thread}/{turn}"));
                }
            });
        }
    });
    assert_eq!(browser.get("/me").json()["visits"], 80);
    assert_eq!(browser.cart().as_array().unwrap().len(), 80);
}

#[test]
fn requests_during_a_sign_out_never_bring_the_session_back() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    browser.add("umbrella");
    race(&[(); 3].map(|()| browser.clone()), "/sign-out");
    assert_eq!(browser.user(), Value::Null);
}

#[test]
fn requests_of_all_devices_during_a_sign_out_everywhere_never_bring_a_session_back() {
    let server = Server::start(&[]);
    let mut devices = ["phone", "laptop", "tablet"].map(|agent| server.device("ada", agent));
    devices.iter_mut().for_each(|device| drop(device.add("umbrella")));
    race(&devices, "/sign-out-everywhere");
    for device in &mut devices {
        assert_eq!(device.user(), Value::Null);
    }
    assert_eq!(server.count("revoked"), 3);
    assert_eq!(server.device("ada", "phone").devices().len(), 1);
}

/// Ends the browsers' sessions by a request of the first, while all of them send requests that change theirs.
fn race(browsers: &[Browser], end: &str) {
    let signed_out = AtomicBool::new(false);
    let (ready, all_ready) = mpsc::channel();
    thread::scope(|scope| {
        for browser in browsers {
            let (signed_out, ready) = (&signed_out, ready.clone());
            scope.spawn(move || {
                let mut late = 0;
                for turn in 0.. {
                    if turn == 10 {
                        ready.send(()).unwrap();
                    }
                    let is_late = signed_out.load(Ordering::SeqCst);
                    request_as(browser, turn, is_late);
                    late += u32::from(is_late);
                    if late == 12 {
                        break;
                    }
                }
            });
        }
        for _ in browsers {
            all_ready.recv_timeout(PATIENCE).expect("a client failed");
        }
        assert_eq!(browsers[0].clone().post(end, "").status, 200);
        signed_out.store(true, Ordering::SeqCst);
    });
}

/// Sends one of three requests with a browser's cookie, and checks the answer if the session had
/// ended before the request was sent.
fn request_as(browser: &Browser, turn: u32, ended: bool) {
    let mut sender = browser.clone();
    let fresh = match turn % 3 {
        0 => sender.user().is_null(),
        1 => sender.get("/").json()["visits"] == 1,
        _ => {
            // Before the end, one that comes often has filled the cart.
            let answer = sender.add("coat");
            answer.status == 200 && answer.json()["items"] == Value::from(vec!["coat"])
        }
    };
    if ended {
        assert!(fresh, "the session is back in request {turn}");
        assert!(turn % 3 == 0 || sender.cookie != browser.cookie, "its id is back");
    }
}

fn refusal(flags: &[&str]) -> String {
    let mut command = server();
    command.args(flags).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut printed = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    stdout.read_line(&mut printed).unwrap();
    if !printed.is_empty() {
        // It has started and would run for ever.
        child.kill().unwrap();
    }
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert!(printed.is_empty() && !status.success(), "{flags:?}: {printed}");
    let sentence = String::from_utf8(stderr).unwrap();
    assert!(sentence.starts_with("server: ") && sentence.ends_with(".\n"), "{sentence:?}");
    assert_eq!(sentence.lines().count(), 1, "{sentence:?}");
    sentence
}

#[test]
fn taken_port_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let sentence = refusal(&["--port", &port]);
    assert!(sentence.contains(&port) && sentence.contains("--port"), "{sentence}");
}

#[test]
fn bad_flag_is_one_sentence_that_names_it_and_its_limit() {
    let (port, time) = ("from 0 to 65535", "from 0 to 400d, in seconds or with ms, s, m, h or d");
    let count = "from 1 to";
    for (flags, limit) in [
        (["--port", "x"], port),
        (["--port", "-1"], port),
        (["--port", "65536"], port),
        (["--idle", "soon"], time),
        (["--idle", "5x"], time),
        (["--idle", "-1s"], time),
        (["--ttl", "1.5h"], time),
        (["--ttl", "h"], time),
        (["--ttl", "-1"], time),
        (["--ttl", "401d"], time),
        (["--ttl", "0"], "more than zero"),
        (["--idle", "13h"], "at most ttl"),
        (["--idle", "13\nh"], time),
        (["--idle", "13\n\nh"], time),
        (["--max-sessions", "0"], count),
        (["--max-sessions", "-1"], count),
        (["--max-sessions", "many"], count),
        (["--max-per-user", "0"], count),
        (["--max-per-user", "-1"], count),
        (["--proof", "lately"], time),
        (["--proof", "-1"], time),
        (["--colour", "red"], "--help"),
    ] {
        let sentence = refusal(&flags);
        assert!(sentence.contains(flags[0]) && sentence.contains(limit), "{sentence}");
    }
}

#[test]
fn help_explains_every_flag_and_is_no_failure() {
    let Output { status, stdout, .. } = server().arg("--help").output().unwrap();
    let help = String::from_utf8(stdout).unwrap();
    assert!(status.success());
    for flag in ["--port", "--idle", "--ttl", "--proof", "--max-sessions", "--max-per-user"] {
        assert!(help.contains(flag), "{help}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_server_even_if_a_connection_is_open() {
    let mut server = Server::start(&[]);
    let _silent = TcpStream::connect(server.0.address).unwrap();
    let _live = server.device("ada", "phone").live().unwrap();
    // Once it answers it also listens for the signal.
    (0..3).for_each(|_| drop(server.browser().get("/me")));
    let interrupt = format!("kill -INT {}", server.0.child.id());
    assert!(Command::new("sh").args(["-c", &interrupt]).status().unwrap().success());
    let mut rest = String::new();
    // Ends when the server does: it holds the other end.
    server.0.stdout.read_to_string(&mut rest).unwrap();
    assert!(server.0.child.wait().unwrap().success());
}
