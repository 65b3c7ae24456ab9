//! Owns the running server example and the browsers that talk to it.

#[path = "../example/mod.rs"]
mod example;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use example::{Serving, example};
use serde_json::Value;

/// So that a server that does not answer is a failure and not a test that never ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn server() -> Command {
    example("server")
}

/// A running server.
pub(crate) struct Server(pub(crate) Serving);

impl Server {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut command = server();
        command.args(["--port", "0"]).args(flags);
        Self(Serving::start(command))
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { address: self.0.address, cookie: None }
    }

    pub(crate) fn count(&self, counter: &str) -> u64 {
        let stats = self.browser().get("/stats");
        stats.json()[counter].as_u64().unwrap_or_else(|| panic!("no {counter} in {}", stats.body))
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A client that keeps one cookie, as a browser does.
#[derive(Clone)]
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "")
    }

    pub(crate) fn post(&mut self, path: &str, body: &str) -> Reply {
        self.send("POST", path, body)
    }

    pub(crate) fn sign_in(&mut self, user: &str) -> Reply {
        self.post("/sign-in", &format!("{{\"user\":{user:?}}}"))
    }

    pub(crate) fn add(&mut self, item: &str) -> Reply {
        self.post("/cart", &format!("{{\"item\":{item:?}}}"))
    }

    pub(crate) fn user(&mut self) -> Value {
        self.get("/me").json()["user"].clone()
    }

    pub(crate) fn cart(&mut self) -> Value {
        self.get("/cart").json()["items"].clone()
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let cookie = self.cookie.as_ref().map(|pair| format!("Cookie: lang=en; {pair}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            cookie.unwrap_or_default(),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let reply = parse(&response);
        if let Some(set_cookie) = &reply.set_cookie {
            self.keep(set_cookie);
        }
        reply
    }

    fn keep(&mut self, set_cookie: &str) {
        let (pair, attributes) = set_cookie.split_once("; ").unwrap();
        assert!(pair.starts_with("__Host-session="), "{pair}");
        let (fixed, seconds) = attributes.split_once("; Max-Age=").unwrap();
        assert_eq!(fixed, "HttpOnly; SameSite=Lax; Secure; Path=/");
        self.cookie = (seconds != "0").then(|| pair.to_owned());
    }
}

fn parse(response: &str) -> Reply {
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.to_owned())
    };
    assert_eq!(header("Cache-Control").as_deref(), Some("no-store"), "{head}");
    Reply {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        set_cookie: header("Set-Cookie"),
        body: body.to_owned(),
    }
}
