//! Owns the visitors: what is known of one, and how a request finds its own.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use cloakroom::{Session, SessionCookie, SessionId, SessionStore};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::Value;
use tokio::sync::Notify;

use crate::answer::{BAD_NAME, Failure, NO_SESSION, NOT_SIGNED_IN, line, set_cookie};

const MAX_NAME: usize = 64;

/// What the shop knows of a visitor: any `Clone` type will do.
#[derive(Clone, Default)]
pub(crate) struct Visitor {
    /// Whose the session is; `None` for a guest's.
    pub(crate) user: Option<String>,
    /// What the user signed in with, for people to tell their devices by.
    pub(crate) agent: String,
    pub(crate) cart: Vec<String>,
    /// Shared by all versions of the session: nothing here is ever serialized, so it may be anything.
    pub(crate) cart_changed: Arc<Notify>,
    pub(crate) visits: u64,
}

/// What every handler gets. Cloning it is cheap: all clones share one store.
#[derive(Clone)]
pub(crate) struct Shop {
    pub(crate) sessions: SessionStore<Visitor>,
    pub(crate) cookie: SessionCookie,
    /// How old a sign-in may be for what asks for a recent one.
    pub(crate) proof: Duration,
    pub(crate) prometheus: PrometheusHandle,
}

impl Shop {
    /// Returns the id in the request's cookie: a claim, until the store knows it.
    pub(crate) fn id(&self, headers: &HeaderMap) -> Option<SessionId> {
        self.cookie.read_all(headers.get_all(header::COOKIE))
    }

    /// Returns a snapshot of the request's session. Loading is use: it moves the idle deadline.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<Session<Visitor>> {
        self.sessions.load(&self.id(headers)?)
    }

    /// Returns the request's session and whose it is, if it is a user's.
    pub(crate) fn user(&self, headers: &HeaderMap) -> Result<(SessionId, String), Failure> {
        let session = self.session(headers).ok_or(NOT_SIGNED_IN)?;
        Ok((*session.id(), session.user.clone().ok_or(NOT_SIGNED_IN)?))
    }

    /// Makes a session. An unknown id from a cookie is never adopted: an attacker may have set it.
    pub(crate) fn open(&self, visitor: Visitor) -> Result<Session<Visitor>, Failure> {
        let session = self.sessions.try_create_with(visitor);
        session.map_err(|_| NO_SESSION)
    }

    /// Changes the request's session, or a new one. `update` makes it one step, so that of several
    /// requests of one visitor none undoes another's change; `load`, change and `save` would.
    pub(crate) fn update<R>(
        &self,
        headers: &HeaderMap,
        mut change: impl FnMut(&mut Visitor) -> R,
    ) -> Result<(SessionId, R), Failure> {
        if let Some(id) = self.id(headers) {
            if let Some(result) = self.sessions.update(&id, &mut change) {
                return Ok((id, result));
            }
        }
        let mut visitor = Visitor::default();
        let result = change(&mut visitor);
        Ok((*self.open(visitor)?.id(), result))
    }

    /// Answers, and sends the cookie again: the browser's deadline then moves with the store's.
    pub(crate) fn reply(&self, id: &SessionId, body: &Value) -> Response {
        let cookie = self.cookie.renew(&self.sessions, id);
        (cookie.as_ref().map(set_cookie), line(body)).into_response()
    }

    /// Answers from the request's session, or as to a new visitor, without making one.
    pub(crate) fn show(
        &self,
        headers: &HeaderMap,
        show: impl FnOnce(&Visitor) -> Value,
    ) -> Response {
        match self.session(headers) {
            Some(session) => self.reply(session.id(), &show(&session)),
            None => line(&show(&Visitor::default())),
        }
    }
}

pub(crate) fn short(name: String) -> Result<String, Failure> {
    let fits = (1..=MAX_NAME).contains(&name.chars().count());
    fits.then_some(name).ok_or(BAD_NAME)
}

/// Returns what the request says it was sent with, and not more of it than a name has.
pub(crate) fn agent(headers: &HeaderMap) -> String {
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.unwrap_or("unknown").chars().take(MAX_NAME).collect()
}
