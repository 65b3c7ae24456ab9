//! A user's devices: listed, limited, signed out; and what not every request of theirs may do.

use serde_json::Value;

use crate::harness::{Browser, Server};

fn token(browser: &Browser) -> &str {
    browser.cookie.as_ref().unwrap().rsplit_once('=').unwrap().1
}

#[test]
fn devices_of_one_user_are_listed_and_no_id_is_shown() {
    let server = Server::start(&["--idle", "10m", "--ttl", "1h"]);
    let mut phone = server.device("ada", "phone");
    let mut laptop = server.device("ada", "laptop");
    server.device("bob", "tablet");
    let list = phone.get("/devices");
    for browser in [&phone, &laptop] {
        assert!(!list.body.contains(&token(browser)[..6]), "{}", list.body);
    }
    let devices = phone.devices();
    let shown =
        |field: &str| -> Vec<Value> { devices.iter().map(|it| it[field].clone()).collect() };
    assert_eq!(shown("agent"), ["laptop", "phone"]);
    assert_eq!(shown("this"), [false, true]);
    for device in &devices {
        let [created, seen, left] =
            ["created_ago", "seen_ago", "expires_in"].map(|field| device[field].as_u64().unwrap());
        assert!(seen <= created && created <= 600 && (1..=600).contains(&left), "{device}");
    }
    let handles = |devices: &[Value]| devices.iter().map(|it| it["device"].clone()).collect();
    let by_phone: Vec<Value> = handles(&devices);
    let by_laptop: Vec<Value> = handles(&laptop.devices());
    assert_eq!(by_phone, by_laptop);
    assert_ne!(by_phone[0], by_phone[1]);
}

#[test]
fn one_device_is_signed_out_by_another_of_its_user_and_by_nobody_else() {
    let server = Server::start(&[]);
    let mut phone = server.device("ada", "phone");
    let mut laptop = server.device("ada", "laptop");
    let mut bob = server.device("bob", "tablet");
    let device = phone.devices().remove(0);
    let form = format!("{{\"device\":{}}}", device["device"]);
    assert_eq!(bob.post("/devices/sign-out", &form).status, 404);
    assert_eq!(laptop.user(), "ada");
    assert_eq!(phone.post("/devices/sign-out", &form).json()["signed_out"], true);
    assert_eq!(laptop.user(), Value::Null);
    assert_eq!(phone.post("/devices/sign-out", &form).status, 404);
    assert_eq!((phone.devices().len(), bob.devices().len()), (1, 1));
}

#[test]
fn sign_out_others_leaves_this_device_and_other_users() {
    let server = Server::start(&[]);
    let mut phone = server.device("ada", "phone");
    let mut others = ["laptop", "tablet"].map(|agent| server.device("ada", agent));
    let mut bob = server.device("bob", "phone");
    phone.add("umbrella");
    assert_eq!(phone.post("/devices/sign-out-others", "").json()["signed_out"], 2);
    for other in &mut others {
        assert_eq!(other.user(), Value::Null);
    }
    assert_eq!((phone.user(), bob.user()), ("ada".into(), "bob".into()));
    assert_eq!(phone.cart(), Value::from(vec!["umbrella"]));
    assert_eq!((phone.devices().len(), server.count("revoked")), (1, 2));
    assert_eq!(phone.post("/devices/sign-out-others", "").json()["signed_out"], 0);
}

#[test]
fn sign_out_everywhere_ends_all_of_a_user_and_removes_the_cookie() {
    let server = Server::start(&[]);
    let mut devices = ["phone", "laptop", "tablet"].map(|agent| server.device("ada", agent));
    let mut bob = server.device("bob", "phone");
    let mut copy = devices[0].clone();
    assert_eq!(devices[0].post("/sign-out-everywhere", "").json()["signed_out"], 3);
    assert_eq!(devices[0].cookie, None);
    assert_eq!(copy.user(), Value::Null);
    for device in &mut devices {
        assert_eq!(device.user(), Value::Null);
    }
    assert_eq!((bob.user(), server.count("live"), server.count("revoked")), ("bob".into(), 1, 3));
}

#[test]
fn one_device_too_many_signs_the_oldest_out() {
    let server = Server::start(&["--max-per-user", "2"]);
    let mut phone = server.device("ada", "phone");
    let mut laptop = server.device("ada", "laptop");
    phone.sign_in("ada");
    assert_eq!(server.count("displaced"), 0, "it is the same device");
    let mut tablet = server.device("ada", "tablet");
    assert_eq!(phone.user(), Value::Null);
    assert_eq!((laptop.user(), tablet.user()), ("ada".into(), "ada".into()));
    assert_eq!((tablet.devices().len(), server.count("displaced")), (2, 1));
}

#[test]
fn flood_of_guests_signs_nobody_out() {
    let server = Server::start(&["--max-sessions", "4"]);
    let mut users = ["ada", "bob"].map(|user| server.device(user, "phone"));
    for _ in 0..20 {
        assert_eq!(server.browser().get("/").status, 200);
    }
    for (user, name) in users.iter_mut().zip(["ada", "bob"]) {
        assert_eq!(user.user(), name);
    }
    assert_eq!((server.count("live"), server.count("evicted")), (4, 18));
}

#[test]
fn guest_gets_no_place_where_users_hold_all() {
    let server = Server::start(&["--max-sessions", "2"]);
    let mut users = ["ada", "bob"].map(|user| server.device(user, "phone"));
    let mut guest = server.browser();
    assert_eq!((guest.get("/").status, guest.sign_in("eve").status), (503, 503));
    assert_eq!(server.count("refused"), 2);
    assert_eq!(users[0].post("/sign-out", "").json()["signed_out"], true);
    assert_eq!((guest.sign_in("eve").status, users[1].user()), (200, "bob".into()));
}

#[test]
fn guest_has_no_devices_and_nothing_to_sign_out_or_to_check_out() {
    let server = Server::start(&[]);
    let mut guest = server.browser();
    guest.get("/");
    for mut browser in [server.browser(), guest] {
        assert_eq!(browser.get("/devices").status, 401);
        for path in ["/devices/sign-out-others", "/sign-out-everywhere", "/checkout"] {
            assert_eq!(browser.post(path, "").status, 401, "{path}");
        }
        assert_eq!(browser.post("/devices/sign-out", "{\"device\":\"\"}").status, 401);
    }
    assert_eq!(server.count("live"), 1);
}

#[test]
fn check_out_takes_a_recent_sign_in_only() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    browser.add("umbrella");
    assert_eq!(browser.post("/checkout", "").json()["bought"], Value::from(vec!["umbrella"]));
    assert_eq!(browser.cart(), Value::from(Vec::<Value>::new()));

    let server = Server::start(&["--proof", "0"]);
    let mut browser = server.device("ada", "phone");
    browser.add("umbrella");
    assert_eq!(browser.post("/checkout", "").status, 403);
    assert_eq!(browser.cart(), Value::from(vec!["umbrella"]));
}

#[test]
fn pages_of_other_sites_are_refused_whatever_they_send() {
    let server = Server::start(&[]);
    let mut browser = server.device("ada", "phone");
    let own = format!("http://{}", server.0.address);
    for foreign in ["https://shop.example", "null", "http://127.0.0.1", &own[7..]] {
        let mut page = Browser { origin: Some(foreign.to_owned()), ..browser.clone() };
        assert_eq!(page.post("/sign-out-everywhere", "").status, 403, "{foreign}");
        assert_eq!(page.get("/devices").status, 403, "{foreign}");
    }
    assert_eq!(browser.user(), "ada");
    browser.origin = Some(own);
    assert_eq!(browser.post("/sign-out-everywhere", "").json()["signed_out"], 1);
}
