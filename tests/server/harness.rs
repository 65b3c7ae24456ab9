//! Owns the running server example and the browsers that talk to it.

#[path = "../example/mod.rs"]
mod example;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use example::{Serving, example};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

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
        Browser { address: self.0.address, cookie: None, agent: "browser", origin: None }
    }

    /// Returns a browser in which a user has signed in.
    pub(crate) fn device(&self, user: &str, agent: &'static str) -> Browser {
        let mut browser = Browser { agent, ..self.browser() };
        assert_eq!(browser.sign_in(user).status, 200);
        browser
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
    pub(crate) agent: &'static str,
    /// Where the page is from that makes it send something.
    pub(crate) origin: Option<String>,
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

    pub(crate) fn devices(&mut self) -> Vec<Value> {
        self.get("/devices").json()["devices"].as_array().unwrap().clone()
    }

    /// Opens the WebSocket with this browser's cookie, or returns the status of the refusal.
    pub(crate) fn live(&self) -> Result<Live, u16> {
        let mut request = format!("ws://{}/live", self.address).into_client_request().unwrap();
        for (name, value) in [("cookie", &self.cookie), ("origin", &self.origin)] {
            if let Some(value) = value {
                request.headers_mut().insert(name, value.parse().unwrap());
            }
        }
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Live(socket)),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Reply {
        let cookie = self.cookie.as_ref().map(|pair| format!("Cookie: lang=en; {pair}\r\n"));
        let origin = self.origin.as_ref().map(|origin| format!("Origin: {origin}\r\n"));
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}{}\
             User-Agent: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            cookie.unwrap_or_default(),
            origin.unwrap_or_default(),
            self.agent,
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

/// An open WebSocket.
pub(crate) struct Live(WebSocket<TcpStream>);

impl Live {
    /// Reads on after an interruption: a process that was stopped for a while gets one from a socket with a timeout.
    fn read(&mut self) -> Message {
        loop {
            match self.0.read() {
                Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
                message => return message.unwrap(),
            }
        }
    }

    /// Waits for the next message, and returns how much it says is in the cart.
    pub(crate) fn items(&mut self) -> u64 {
        let message = self.read();
        let body: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        body["items"].as_u64().unwrap_or_else(|| panic!("no number of items in {body}"))
    }

    /// Waits until the server closes it, whatever it says before, and returns the code and the reason.
    pub(crate) fn last_words(mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.read() {
                let frame = frame.unwrap();
                return (frame.code.into(), frame.reason.to_string());
            }
        }
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
