//! The axum example over HTTP, driven as browsers drive it: with a cookie jar, and in parallel.

#[path = "axum/browser.rs"]
mod browser;
#[path = "../examples/axum.rs"]
#[allow(dead_code, reason = "its `main` is not run here")]
mod example;

use std::io::Read;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use browser::{Browser, Server};
use cloakroom::SessionStore;

fn start() -> (Server, SessionStore<example::Visitor>) {
    let store = example::sessions().unwrap();
    (Server::start(example::routes(store.clone())), store)
}

/// What a browser sees at `/`.
fn seen(browser: &Browser) -> (String, Vec<String>) {
    let page = browser.get("/");
    assert_eq!((page.status, page.set_cookie), (200, None), "a reader is given nothing");
    let line = |name: &str| {
        let mut lines = page.body.lines().filter_map(|line| line.strip_prefix(name));
        lines.next().unwrap().trim_start().to_owned()
    };
    let coats = line("coats:");
    let coats = coats.split(", ").filter(|coat| !coat.is_empty()).map(str::to_owned);
    (line("user:"), coats.collect())
}

fn nobody() -> (String, Vec<String>) {
    ("nobody".to_owned(), Vec::new())
}

#[test]
fn browser_keeps_its_session_from_its_first_coat_until_it_signs_out() {
    let (server, store) = start();
    let browser = server.browser();
    assert_eq!(seen(&browser), nobody());
    assert_eq!(browser.post("/coats", "umbrella").body, "coats: 1\n");
    let first = browser.session().unwrap();
    assert_eq!(browser.post("/coats", "hat").set_cookie, None);
    assert_eq!(browser.post("/sign-in", "ada").body, "user: ada\n");
    assert_ne!(browser.session().unwrap(), first);
    assert_eq!(seen(&browser).1, ["umbrella", "hat"]);
    assert_eq!(browser.post("/note", "back at six").set_cookie, None);
    assert!(browser.get("/").body.contains("note: back at six\n"));
    assert_eq!(browser.post("/sign-out", "").body, "bye\n");
    assert_eq!((browser.session(), seen(&browser), store.len()), (None, nobody(), 0));
    assert_eq!(browser.post("/sign-out", "").body, "there was no session\n");
}

#[test]
fn another_user_of_the_same_browser_finds_nothing() {
    let (server, store) = start();
    let browser = server.browser();
    browser.post("/sign-in", "ada");
    browser.post("/coats", "diary");
    browser.post("/sign-in", "bob");
    assert_eq!(seen(&browser), ("bob".to_owned(), vec![]));
    assert_eq!(store.len(), 1);
}

#[test]
fn bots_without_cookies_store_nothing() {
    let (server, store) = start();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(seen(&server.browser()), nobody());
                    assert_eq!(server.browser().get("/robots.txt").status, 404);
                }
            });
        }
    });
    assert_eq!((store.len(), store.stats().created), (0, 0));
}

#[test]
fn change_is_stored_before_the_first_byte_of_the_response() {
    let (server, _) = start();
    let browser = server.browser();
    browser.post("/sign-in", "ada");
    for turn in 1..=50 {
        let mut post = browser.begin("POST", "/coats", "coat");
        post.read_exact(&mut [0]).unwrap();
        assert_eq!(seen(&browser).1.len(), turn);
        let mut note = browser.begin("POST", "/note", &format!("<{turn}>"));
        note.read_exact(&mut [0]).unwrap();
        assert!(browser.get("/").body.contains(&format!("note: <{turn}>")));
    }
}

#[test]
fn parallel_requests_of_one_browser_lose_no_coat() {
    let (server, store) = start();
    let browser = server.browser();
    browser.post("/sign-in", "ada");
    thread::scope(|scope| {
        for thread in 0..4 {
            let tab = browser.clone();
            scope.spawn(move || {
                for turn in 0..25 {
                    let reply = tab.post("/coats", &format!("{thread}/{turn}"));
                    assert_eq!((reply.status, reply.set_cookie), (200, None));
                }
            });
        }
    });
    assert_eq!((seen(&browser).1.len(), store.len()), (100, 1));
    assert_eq!(browser.post("/coats", "one more").status, 409);
}

#[test]
fn saves_that_race_a_logout_never_bring_the_session_back() {
    for round in 0..5 {
        let (server, store) = start();
        let browser = server.browser();
        browser.post("/sign-in", "ada");
        browser.post("/coats", "diary");
        let id = browser.session().unwrap();
        let (stale, begin, ended) = (browser.snapshot(), Barrier::new(4), AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    begin.wait();
                    for turn in 0..30 {
                        let late = ended.load(Ordering::SeqCst);
                        // Each with the cookie of before, as a request that was long under way.
                        let tab = stale.snapshot();
                        let path = ["/coats", "/note"][turn % 2];
                        assert!([200, 409].contains(&tab.post(path, "late").status));
                        if late {
                            assert_ne!(tab.session().unwrap(), id, "its id is back");
                        }
                        let (user, coats) = seen(&tab);
                        let back = user == "ada" || coats.contains(&"diary".to_owned());
                        assert!(!(late && back), "the session is back in round {round}");
                    }
                });
            }
            begin.wait();
            (0..5).for_each(|_| drop(seen(&browser)));
            assert_eq!(browser.post("/sign-out", "").body, "bye\n");
            ended.store(true, Ordering::SeqCst);
        });
        assert_eq!((seen(&stale), store.contains(&id)), (nobody(), false));
        store.for_each(|_, visitor| assert!(!visitor.coats.contains(&"diary".to_owned())));
    }
}

#[test]
fn double_login_signs_in_whichever_cookie_the_browser_keeps() {
    for _ in 0..20 {
        let (server, store) = start();
        let browser = server.browser();
        browser.post("/coats", "umbrella");
        let guest = browser.snapshot();
        let begin = Barrier::new(2);
        let logins = thread::scope(|scope| {
            let logins = [(); 2].map(|()| {
                scope.spawn(|| {
                    let login = guest.snapshot();
                    begin.wait();
                    assert_eq!(login.post("/sign-in", "ada").status, 200);
                    login
                })
            });
            logins.map(|login| login.join().unwrap())
        });
        let seen = logins.each_ref().map(seen);
        assert!(seen.iter().all(|(user, _)| user == "ada"));
        // Exactly one of them has the guest's session; it is neither lost nor there twice.
        assert_eq!(seen.iter().filter(|(_, coats)| coats == &["umbrella"]).count(), 1);
        assert_eq!(seen.iter().filter(|(_, coats)| coats.is_empty()).count(), 1);
        assert_ne!(logins[0].session(), logins[1].session());
        assert_eq!((store.len(), self::seen(&guest)), (2, nobody()));
    }
}

#[test]
fn rotated_id_in_a_parallel_request_is_nobodys_and_the_browser_keeps_the_new_one() {
    let (server, store) = start();
    let browser = server.browser();
    browser.post("/sign-in", "ada");
    browser.post("/coats", "umbrella");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    // A tab: it reads the jar and sends what is in it, which may be old by then.
                    let (user, coats) = seen(&browser.clone());
                    let whole = user == "ada" && coats == ["umbrella"];
                    assert!(whole || (user, coats) == nobody());
                }
            });
        }
        for _ in 0..30 {
            let old = browser.snapshot();
            assert_eq!(browser.post("/sign-in", "ada").status, 200);
            assert_eq!(seen(&old), nobody());
            assert_eq!(seen(&browser), ("ada".to_owned(), vec!["umbrella".to_owned()]));
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!((store.len(), store.stats().rotated), (1, 30));
}

#[test]
fn ids_that_the_server_never_gave_are_not_adopted() {
    let (server, store) = start();
    let mut victim = server.browser();
    for planted in ["AAECAwQFBgcICQoLDA0ODw", "admin", ""] {
        victim = victim.snapshot();
        victim.plant(planted);
        assert_eq!(victim.post("/sign-in", "ada").status, 200);
        assert_ne!(victim.session().as_deref(), Some(planted));
        assert!(!store.contains(planted));
    }
}
