//! rust-web-server's `SessionStore`, whose shape cloakroom keeps.

use rust_web_server::session::{Session, SessionStore};

use crate::peer::{Cleanup, Key, Lifetimes, Payload, Peer, Settings, text};

pub struct RustWebServer(SessionStore);

fn fill(session: &mut Session, payload: Payload) {
    session.set(text::NEXT, text::digits(payload.next()));
    session.set(text::USER, text::FILLING);
}

impl Peer for RustWebServer {
    type Id = String;
    type Handle = Session;

    const NAME: &'static str = "rust-web-server";
    const LIFETIMES: Lifetimes = Lifetimes::OfStore;
    const CLEANUP: Cleanup = Cleanup::ByPurge;

    fn open(settings: &Settings) -> Self {
        Self(SessionStore::new(settings.ttl.as_secs()))
    }

    fn create(&self, payload: Payload) -> String {
        let mut session = self.0.create();
        fill(&mut session, payload);
        self.0.save(&session);
        session.id
    }

    fn load(&self, id: &String) -> Option<Session> {
        self.0.load(id)
    }

    fn next(handle: &Session) -> usize {
        let digits = handle.get(text::NEXT);
        text::parse(digits.expect("every session names another"))
    }

    fn save(&self, handle: &mut Session, payload: Payload) {
        fill(handle, payload);
        self.0.save(handle);
    }

    fn destroy(&self, id: &String) {
        self.0.destroy(id);
    }

    fn unknown_id() -> String {
        // Its ids are 32 hexadecimal digits; these are of another generator.
        format!("{:032x}", Key::random().bits())
    }

    fn load_malformed(&self, text: &str) -> Option<bool> {
        Some(self.0.load(text).is_some())
    }

    fn purge(&self) {
        self.0.purge_expired();
    }

    fn stored(&self) -> Option<usize> {
        Some(self.0.len())
    }
}
