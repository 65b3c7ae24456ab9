//! The examples of the adapters, started as a newcomer starts them and driven over HTTP as browsers drive
//! them: one after the other, and several at once.

#[path = "frameworks/harness.rs"]
mod harness;

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::Duration;

use harness::{Browser, Server};
use serde_json::Value;

/// So that a failed client is a failure and not a test that never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs each scenario on each example.
macro_rules! for_each_example {
    ($($scenario:ident),* $(,)?) => {
        for_each_example!(@ tower_sessions: $($scenario),*);
        for_each_example!(@ actix_session: $($scenario),*);
        for_each_example!(@ async_session: $($scenario),*);
    };
    (@ $example:ident: $($scenario:ident),*) => {
        mod $example {
            $(#[test]
            fn $scenario() {
                super::$scenario(&mut super::Server::start(stringify!($example)));
            })*
        }
    };
}

for_each_example![
    three_curl_lines_are_printed,
    visits_are_counted_for_each_browser,
    reading_makes_no_session,
    planted_cookie_is_not_adopted,
    sign_in_gives_a_new_cookie_and_kills_the_old_one,
    sign_out_ends_the_session_and_removes_the_cookie,
    signing_out_everywhere_ends_all_sessions_of_the_user_and_no_others,
    requests_during_a_sign_out_never_bring_the_session_back,
    two_sign_ins_at_once_leave_the_old_cookie_dead_and_mix_nobody_up,
    request_with_the_old_cookie_during_a_sign_in_never_makes_it_good_again,
];

#[test]
fn port_that_cannot_be_used_is_one_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().port().to_string();
    for example in ["tower_sessions", "actix_session", "async_session"] {
        for port in ["x", "-1", "65536", ""] {
            let told = format!("{example}: {port:?} is no port; write a number from 0 to 65535.\n");
            assert_eq!(Server::refusal(example, port), told);
        }
        let sentence = Server::refusal(example, &taken);
        let told = format!("{example}: cannot listen on port {taken} (");
        assert!(sentence.starts_with(&told), "{sentence}");
        assert!(sentence.ends_with("); give another as the argument, or 0.\n"), "{sentence}");
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
    }
}

fn three_curl_lines_are_printed(server: &mut Server) {
    let url = format!("http://{}/", server.0.address);
    let lines = server.printed(6);
    let tries = lines.iter().filter(|line| line.contains(" curl ") && line.contains(&url));
    assert_eq!(tries.count(), 3, "{lines:?}");
}

fn visits_are_counted_for_each_browser(server: &mut Server) {
    let (mut ada, mut bob) = (server.browser(), server.browser());
    for visits in 1..=3 {
        assert_eq!(ada.get("/")["visits"], visits);
    }
    assert_eq!(bob.get("/")["visits"], 1);
    assert_eq!(ada.get("/me")["visits"], 3);
    assert_ne!(ada.jar, bob.jar);
}

fn reading_makes_no_session(server: &mut Server) {
    let mut browser = server.browser();
    assert_eq!(browser.user(), Value::Null);
    assert!(browser.jar.is_empty());
}

fn planted_cookie_is_not_adopted(server: &mut Server) {
    let mut browser = server.browser();
    browser.get("/");
    let signed_out = browser.clone();
    browser.post("/sign-out");
    // One that was good once, and one that never was.
    let (name, once) = signed_out.jar.first_key_value().unwrap();
    for value in [once.clone(), once.chars().rev().collect()] {
        let mut attacker = server.browser();
        attacker.jar.insert(name.clone(), value);
        let mut victim = attacker.clone();
        victim.sign_in("ada");
        assert_ne!(victim.jar, attacker.jar);
        assert_eq!((attacker.user(), victim.user()), (Value::Null, "ada".into()));
    }
}

fn sign_in_gives_a_new_cookie_and_kills_the_old_one(server: &mut Server) {
    let mut browser = server.browser();
    browser.get("/");
    let mut thief = browser.clone();
    browser.sign_in("ada");
    assert_ne!(browser.jar, thief.jar);
    assert_eq!(thief.user(), Value::Null);
    assert_eq!(thief.get("/")["visits"], 1, "not the session that was signed in");
    assert_eq!(browser.user(), "ada");
    assert_eq!(browser.get("/")["visits"], 2, "the same session under another key");
    // Once more, with nothing new to store.
    let mut old = browser.clone();
    browser.sign_in("ada");
    assert_eq!((old.user(), browser.user()), (Value::Null, "ada".into()));
}

fn sign_out_ends_the_session_and_removes_the_cookie(server: &mut Server) {
    let mut browser = server.browser();
    browser.sign_in("ada");
    let mut copy = browser.clone();
    assert_eq!(browser.post("/sign-out")["signed_out"], true);
    assert!(browser.jar.is_empty());
    assert_eq!(copy.user(), Value::Null);
    assert_eq!(copy.get("/")["visits"], 1, "a new session");
}

fn signing_out_everywhere_ends_all_sessions_of_the_user_and_no_others(server: &mut Server) {
    let mut browsers = ["ada", "ada", "bob"].map(|user| {
        let mut browser = server.browser();
        browser.sign_in(user);
        browser
    });
    assert_eq!(browsers[0].post("/sign-out-everywhere")["ended"], 2);
    let users = browsers.each_mut().map(Browser::user);
    assert_eq!(users, [Value::Null, Value::Null, "bob".into()]);
}

fn requests_during_a_sign_out_never_bring_the_session_back(server: &mut Server) {
    let mut browser = server.browser();
    browser.sign_in("ada");
    let signed_out = AtomicBool::new(false);
    let (ready, all_ready) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..3 {
            let (signed_out, ready, browser) = (&signed_out, ready.clone(), &browser);
            scope.spawn(move || {
                let mut late = 0;
                for turn in 0.. {
                    if turn == 5 {
                        ready.send(()).unwrap();
                    }
                    let is_late = signed_out.load(Ordering::SeqCst);
                    // Each saves.
                    let visits = browser.clone().get("/")["visits"].clone();
                    assert!(!is_late || visits == 1, "the session is back: {visits}");
                    late += u32::from(is_late);
                    if late == 5 {
                        break;
                    }
                }
            });
        }
        for _ in 0..3 {
            all_ready.recv_timeout(PATIENCE).expect("a client failed");
        }
        browser.clone().post("/sign-out");
        signed_out.store(true, Ordering::SeqCst);
    });
    assert_eq!(browser.user(), Value::Null);
}

/// Runs two requests of clones of one browser at once.
fn both(
    browser: &Browser,
    one: impl FnOnce(&mut Browser) + Send,
    other: impl FnOnce(&mut Browser) + Send,
) -> [Browser; 2] {
    let [mut a, mut b] = [browser.clone(), browser.clone()];
    let start = Barrier::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            start.wait();
            one(&mut a);
        });
        start.wait();
        other(&mut b);
    });
    [a, b]
}

fn two_sign_ins_at_once_leave_the_old_cookie_dead_and_mix_nobody_up(server: &mut Server) {
    for _ in 0..20 {
        let mut old = server.browser();
        old.get("/");
        let [mut ada, mut bob] = both(&old, |a| a.sign_in("ada"), |b| b.sign_in("bob"));
        assert_eq!((ada.user(), bob.user()), ("ada".into(), "bob".into()));
        assert!(ada.jar != old.jar && bob.jar != old.jar && ada.jar != bob.jar);
        assert_eq!(old.user(), Value::Null);
        assert_eq!(old.get("/")["visits"], 1, "the old cookie is still good");
    }
}

fn request_with_the_old_cookie_during_a_sign_in_never_makes_it_good_again(server: &mut Server) {
    for _ in 0..20 {
        let mut old = server.browser();
        old.get("/");
        let [mut ada, _] = both(&old, |ada| ada.sign_in("ada"), |late| drop(late.get("/")));
        assert_eq!(ada.user(), "ada");
        assert_eq!(old.user(), Value::Null);
        assert_eq!(old.get("/")["visits"], 1, "the old cookie is good again");
    }
}
