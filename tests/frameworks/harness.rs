//! Owns a running example of a framework, and browsers with a cookie jar that talk to it.

#[path = "../example/mod.rs"]
mod example;

use std::collections::BTreeMap;
use std::io::{BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;

use self::example::{Serving, example};

/// So that a server that does not answer is a failure and not a test that never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example.
pub(crate) struct Server(pub(crate) Serving);

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        let mut command = example(name);
        command.arg("0");
        Self(Serving::start(command))
    }

    /// Starts one that ends at once, and returns what it says.
    pub(crate) fn refusal(name: &str, port: &str) -> String {
        let Output { status, stdout, stderr } = example(name).arg(port).output().unwrap();
        assert!(stdout.is_empty() && !status.success(), "{name} {port}");
        String::from_utf8(stderr).unwrap()
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { address: self.0.address, jar: BTreeMap::new() }
    }

    /// Returns the first lines after the one with the address.
    pub(crate) fn printed(&mut self, lines: usize) -> Vec<String> {
        (&mut self.0.stdout).lines().take(lines).map(Result::unwrap).collect()
    }
}

/// A client that keeps cookies as a browser does: by name, until they are removed. Clones have jars of
/// their own.
#[derive(Clone)]
pub(crate) struct Browser {
    address: SocketAddr,
    pub(crate) jar: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn get(&mut self, path: &str) -> Value {
        self.send("GET", path, "")
    }

    pub(crate) fn post(&mut self, path: &str) -> Value {
        self.send("POST", path, "")
    }

    pub(crate) fn sign_in(&mut self, user: &str) {
        let reply = self.send("POST", "/sign-in", &format!("{{\"user\":{user:?}}}"));
        assert_eq!(reply["user"], user);
    }

    pub(crate) fn user(&mut self) -> Value {
        self.get("/me")["user"].clone()
    }

    fn send(&mut self, method: &str, path: &str, body: &str) -> Value {
        let pairs = self.jar.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = pairs.collect::<Vec<_>>().join("; ");
        let cookies = match cookies.as_str() {
            "" => String::new(),
            cookies => format!("Cookie: {cookies}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{cookies}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {response}");
        let headers = head.lines().filter_map(|line| line.split_once(": "));
        for (_, cookie) in headers.filter(|(name, _)| name.eq_ignore_ascii_case("Set-Cookie")) {
            self.keep(cookie);
        }
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    fn keep(&mut self, cookie: &str) {
        let mut parts = cookie.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).unwrap();
        let attributes: Vec<_> = parts.collect();
        let has = |attribute: &str| attributes.contains(&attribute);
        // Attributes that a browser checks before it keeps or removes a cookie.
        assert!(has("Path=/"), "{cookie}");
        if has("Max-Age=0") {
            self.jar.remove(name);
            return;
        }
        assert!(has("HttpOnly") && has("Secure"), "{cookie}");
        self.jar.insert(name.to_owned(), value.to_owned());
    }
}
