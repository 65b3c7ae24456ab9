//! The WebSocket that ends with its session.

use serde_json::Value;

use crate::harness::{Browser, Live, Server};

/// Waits until the socket of `browser` is closed by what `end` does, and returns the reason.
fn closed_by(browser: &mut Browser, end: impl FnOnce(&mut Browser)) -> String {
    let mut live = browser.live().unwrap();
    live.items();
    end(browser);
    let (code, reason) = live.last_words();
    assert_eq!(code, 4401);
    reason
}

#[test]
fn socket_says_how_much_is_in_the_cart_whenever_it_changes() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    browser.add("umbrella");
    let mut tabs = [(); 2].map(|()| browser.live().unwrap());
    let says = |items: u64, tabs: &mut [Live]| {
        tabs.iter_mut().for_each(|tab| assert_eq!(tab.items(), items));
    };
    says(1, &mut tabs);
    browser.add("coat");
    says(2, &mut tabs);
    server.device("ada", "laptop").add("hat");
    browser.post("/checkout", "");
    says(0, &mut tabs);
}

#[test]
fn socket_closes_when_its_session_is_signed_out() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    let end = |browser: &mut Browser| drop(browser.post("/sign-out", ""));
    assert_eq!(closed_by(&mut browser, end), "signed out");
}

#[test]
fn socket_closes_when_another_device_signs_out_everywhere_or_the_others() {
    let server = Server::start(&[]);
    for (path, ended) in [("/sign-out-everywhere", 2), ("/devices/sign-out-others", 1)] {
        let mut phone = server.device("ada", "phone");
        let mut laptop = server.device("ada", "laptop");
        let end = |_: &mut Browser| assert_eq!(laptop.post(path, "").json()["signed_out"], ended);
        let reason = closed_by(&mut phone, end);
        assert_eq!(reason, "signed out from another device or everywhere", "{path}");
        laptop.post("/sign-out-everywhere", "");
    }
}

#[test]
fn socket_closes_when_its_session_gets_another_id_and_opens_again_with_that() {
    let server = Server::start(&[]);
    let mut browser = server.browser();
    browser.add("umbrella");
    let old = browser.clone();
    let reason = closed_by(&mut browser, |browser| drop(browser.sign_in("ada")));
    assert_eq!(reason, "new id");
    assert_eq!(old.live().err(), Some(401));
    assert_eq!(browser.live().unwrap().items(), 1);
}

#[test]
fn socket_closes_when_its_session_makes_room_for_another_of_the_user() {
    let server = Server::start(&["--max-per-user", "1"]);
    let mut browser = server.device("ada", "phone");
    let reason = closed_by(&mut browser, |_| drop(server.device("ada", "laptop")));
    assert_eq!(reason, "signed out by one device more than a user may have");
}

#[test]
fn socket_closes_when_its_session_expires_though_the_server_is_silent() {
    let server = Server::start(&["--idle", "2s"]);
    // On a busy machine a session may have expired before its socket is open.
    let mut opened = (0..20).find_map(|_| {
        let mut browser = server.browser();
        browser.get("/");
        browser.cookie.is_some().then(|| browser.live().ok()).flatten()
    });
    assert_eq!(opened.take().unwrap().last_words(), (4401, "expired".to_owned()));
}

#[test]
fn socket_of_the_device_that_stays_goes_on() {
    let server = Server::start(&[]);
    let mut phone = server.device("ada", "phone");
    let mut live = phone.live().unwrap();
    assert_eq!(live.items(), 0);
    let mut laptop = server.device("ada", "laptop");
    assert_eq!(laptop.post("/sign-out", "").json()["signed_out"], true);
    server.device("ada", "tablet");
    assert_eq!(phone.post("/devices/sign-out-others", "").json()["signed_out"], 1);
    phone.add("umbrella");
    assert_eq!(live.items(), 1);
}

#[test]
fn socket_is_refused_without_a_session_and_makes_none() {
    let server = Server::start(&[]);
    assert_eq!(server.browser().live().err(), Some(401));
    let planted = Some("__Host-session=AAECAwQFBgcICQoLDA0ODw".to_owned());
    assert_eq!(Browser { cookie: planted, ..server.browser() }.live().err(), Some(401));
    assert_eq!(server.count("created"), 0);
    let mut browser = server.device("ada", "phone");
    let copy = browser.clone();
    browser.post("/sign-out", "");
    assert_eq!(copy.live().err(), Some(401));
}

#[test]
fn socket_is_refused_to_pages_of_other_sites() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    for foreign in ["https://shop.example", "null", "file://"] {
        let page = Browser { origin: Some(foreign.to_owned()), ..browser.clone() };
        assert_eq!(page.live().err(), Some(403), "{foreign}");
    }
    browser.origin = Some(format!("http://{}", server.0.address));
    assert_eq!(browser.live().unwrap().items(), 0);
    assert_eq!(browser.user(), Value::from("ada"));
}
