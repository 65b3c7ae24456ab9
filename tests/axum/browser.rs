//! Owns a server on a socket of its own, and browsers with a cookie jar that talk to it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// So that a server that does not answer is a failure and not a test that never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl Server {
    pub(crate) fn start(app: Router) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_io().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { address, _runtime: runtime }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { address: self.address, jar: Arc::default() }
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) set_cookie: Option<String>,
    pub(crate) body: String,
}

/// A browser. Its clones are tabs, which share the jar; a copy with a jar of its own is a
/// [`snapshot`](Self::snapshot).
#[derive(Clone)]
pub(crate) struct Browser {
    address: SocketAddr,
    jar: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Browser {
    pub(crate) fn snapshot(&self) -> Self {
        let jar = Arc::new(Mutex::new(self.jar.lock().unwrap().clone()));
        Self { address: self.address, jar }
    }

    /// The text of the session's id.
    pub(crate) fn session(&self) -> Option<String> {
        self.jar.lock().unwrap().get("__Host-session").cloned()
    }

    /// Puts an id into the jar, as an attacker would.
    pub(crate) fn plant(&self, session: &str) {
        self.jar.lock().unwrap().insert("__Host-session".to_owned(), session.to_owned());
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.finish(self.begin("GET", path, ""))
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Reply {
        self.finish(self.begin("POST", path, body))
    }

    /// Sends a request and returns its connection.
    pub(crate) fn begin(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let mut cookies = vec!["lang=en".to_owned()];
        let jar = self.jar.lock().unwrap();
        cookies.extend(jar.iter().map(|(name, value)| format!("{name}={value}")));
        drop(jar);
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            cookies.join("; "),
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    pub(crate) fn finish(&self, mut stream: TcpStream) -> Reply {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
            Some(value.to_owned())
        };
        let set_cookie = header("Set-Cookie");
        if let Some(set_cookie) = &set_cookie {
            assert_eq!(header("Cache-Control").as_deref(), Some("no-store"), "{head}");
            self.keep(set_cookie);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, set_cookie, body: body.to_owned() }
    }

    /// Does with a cookie what RFC 6265bis, section 5.6 asks of a browser.
    fn keep(&self, set_cookie: &str) {
        let mut parts = set_cookie.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes: Vec<&str> = parts.collect();
        let host = ["Secure", "Path=/"].iter().all(|needed| attributes.contains(needed));
        assert!(host && !set_cookie.contains("Domain"), "ignored under this name: {set_cookie}");
        assert!(attributes.contains(&"HttpOnly") && attributes.contains(&"SameSite=Lax"));
        let mut jar = self.jar.lock().unwrap();
        if attributes.contains(&"Max-Age=0") {
            jar.remove(name);
        } else {
            jar.insert(name.to_owned(), value.to_owned());
        }
    }
}
