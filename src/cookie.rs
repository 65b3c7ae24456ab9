//! Owns the session cookie: its name, its attributes, and how a request's id is read from it.
//!
//! A cookie and its removal are built in one place, so that their attributes always match. Reading
//! allocates nothing and fails in one way only, `None`. Knows no framework and no headers but the
//! values of `Cookie` and `Set-Cookie`.

use std::borrow::Cow;
use std::time::Duration;

use ::cookie::{Cookie, CookieBuilder, SameSite, time};

use crate::error::BuildError;
use crate::id::{SessionId, TOKEN_LEN};
use crate::store::SessionStore;

/// The name with the strongest prefix: ASVS 5.0 3.3.3.
const DEFAULT_NAME: &str = "__Host-session";

/// The prefixes that browsers enforce: RFC 6265bis, section 4.1.3.
const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

/// The attributes of `with_value`, as text.
#[cfg(feature = "axum")]
const ATTRIBUTES: &str = "; HttpOnly; SameSite=Lax; Secure; Path=/";

/// Bytes in a name at the most: a browser ignores a cookie whose name and value are longer than 4096
/// bytes (RFC 6265bis, section 5.6; ASVS 5.0 3.3.5), and the value is an id's 22 characters.
const MAX_NAME: usize = 4096 - TOKEN_LEN;

/// The session cookie of a service: makes it, removes it, and reads the id back.
///
/// The cookie is `Secure`, `HttpOnly`, `SameSite=Lax`, `Path=/` and without `Domain`, always; only
/// its name can be chosen. Its value is the id's text and nothing else.
///
/// # Expiry
///
/// `Max-Age` is what the store says of the session, in whole seconds rounded down, so that the
/// cookie outlives the session by no more than the response is on its way. A session that never expires
/// gets no `Max-Age`: the browser keeps the cookie until it is closed. Browsers cut `Max-Age` to 400 days (RFC 6265bis, section
/// 5.5). Where an idle timeout moves the deadline the cookie has to follow: see
/// [`renew`](Self::renew).
///
/// # Security
///
/// * `__Host-` (ASVS 5.0 3.3.3): the browser takes the cookie only over HTTPS, from this very host
///   and for all of its paths, so no sibling domain and no plain-text attacker can plant one.
/// * `Secure` (3.3.1): it travels over HTTPS only. Browsers and curl make an exception for loopback.
/// * `HttpOnly` (3.3.4): no script can read it.
/// * `SameSite=Lax` (3.3.2): it comes along when a link is followed, but not with a form or a script
///   of another site. So let no `GET` change anything.
///
/// # Examples
///
/// ```
/// use cloakroom::{SessionCookie, SessionStore};
///
/// let store = SessionStore::new(3600);
/// let cookie = SessionCookie::new();
///
/// // The value of a `Set-Cookie` header.
/// let session = store.create();
/// let set = cookie.issue(&store, session.id()).to_string();
/// assert!(set.contains("; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age="));
///
/// // The value of the `Cookie` header that comes back.
/// let sent = format!("theme=dark; __Host-session={}", session.id().to_token());
/// assert_eq!(cookie.read(&sent), Some(*session.id()));
///
/// // On sign-out.
/// store.destroy(session.id());
/// let gone = "__Host-session=; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=0";
/// assert_eq!(cookie.removal().to_string(), gone);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: Cow<'static, str>,
}

impl SessionCookie {
    /// Returns the cookie of the name `__Host-session`.
    #[must_use]
    pub const fn new() -> Self {
        Self { name: Cow::Borrowed(DEFAULT_NAME) }
    }

    /// Returns the cookie of another name.
    ///
    /// A token of RFC 9110, section 5.6.2 (as RFC 6265bis, section 4.1.1 asks), of at most 4074
    /// bytes. A name that begins with `__Host-` or `__Secure-` has to spell it so, because some
    /// browsers enforce only that spelling, and go on after it.
    ///
    /// # Security
    ///
    /// A name without either prefix works and falls short of ASVS 5.0 3.3.1: the browser then takes
    /// a cookie of this name from a sibling domain too.
    ///
    /// # Errors
    ///
    /// A [`BuildError`] of the setting `cookie_name`, with the rule that the name breaks.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::SessionCookie;
    ///
    /// assert_eq!(SessionCookie::named("__Host-shop")?.name(), "__Host-shop");
    /// let error = SessionCookie::named("__host-shop").unwrap_err();
    /// assert!(error.to_string().starts_with("cookie_name is \"__host-shop\", but must be "));
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    pub fn named(name: impl Into<Cow<'static, str>>) -> Result<Self, BuildError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name })
    }

    /// Returns the cookie's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the cookie that gives a session to the browser, for the response that created the
    /// session or gave it a new id. For a session that has ended it is the [`removal`](Self::removal).
    ///
    /// # Expiry
    ///
    /// Does not count as activity. A session with less than a second to live counts as ended:
    /// cookies know no shorter time.
    ///
    /// # Security
    ///
    /// The cookie shows the id wherever it is printed, its `Debug` included: keep it out of logs.
    #[must_use = "the browser learns of it only if it is sent"]
    pub fn issue<T>(&self, store: &SessionStore<T>, id: &SessionId) -> Cookie<'static> {
        self.renew(store, id).unwrap_or_else(|| self.removal())
    }

    /// Returns the cookie again, with what is left of the session's life, for every other response;
    /// `None` if the session has ended.
    ///
    /// With an idle timeout each use gives the session more time, of which the browser knows only if
    /// the cookie is sent again. Where the session has ended there is nothing to send, not even a
    /// removal: another request may have rotated the id meanwhile, and a removal would take the new
    /// cookie from the browser.
    ///
    /// # Expiry
    ///
    /// As for [`issue`](Self::issue).
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SessionCookie, SessionStore};
    ///
    /// let store = SessionStore::new(3600);
    /// let mut session = store.create();
    /// let old = *session.id();
    /// assert!(SessionCookie::new().renew(&store, &old).is_some());
    /// store.rotate(&mut session);
    /// assert!(SessionCookie::new().renew(&store, &old).is_none());
    /// ```
    #[must_use = "the browser learns of it only if it is sent"]
    pub fn renew<T>(&self, store: &SessionStore<T>, id: &SessionId) -> Option<Cookie<'static>> {
        let max_age = max_age(store, id)?;
        let cookie = self.with_value(id.to_token().to_string());
        let seconds = max_age.and_then(|seconds| i64::try_from(seconds).ok());
        Some(match seconds {
            Some(seconds) => cookie.max_age(time::Duration::seconds(seconds)).build(),
            None => cookie.build(),
        })
    }

    /// Returns what a cookie says, attributes and all: the text of [`renew`](Self::renew)'s, by a tenth of the
    /// work.
    #[cfg(feature = "axum")]
    pub(crate) fn text(&self, id: &SessionId, max_age: Option<u64>) -> String {
        let (max_age, seconds) = match max_age {
            Some(seconds) => ("; Max-Age=", seconds.to_string()),
            None => ("", String::new()),
        };
        [self.name(), "=", id.to_token().as_ref(), ATTRIBUTES, max_age, &seconds].concat()
    }

    /// Returns the cookie that makes the browser forget the session: for the response to a sign-out,
    /// after [`destroy`](SessionStore::destroy), which is what ends the session.
    ///
    /// Its attributes are those of the cookie it removes: without `Secure` and `Path=/` a browser
    /// ignores it for a `__Host-` name.
    #[must_use = "the browser learns of it only if it is sent"]
    pub fn removal(&self) -> Cookie<'static> {
        self.with_value(String::new()).max_age(time::Duration::ZERO).build()
    }

    /// The one place where the attributes are set, but for their text.
    fn with_value(&self, value: String) -> CookieBuilder<'static> {
        Cookie::build((self.name.clone(), value))
            .secure(true)
            .http_only(true)
            .same_site(SameSite::Lax)
            .path("/")
    }

    /// Returns the id in the value of a `Cookie` header, or `None` if there is none.
    ///
    /// Takes text or bytes, so that a header in which another cookie is not UTF-8 loses nothing.
    /// Other cookies, and values that are no id, are passed over. A value may be in double quotes;
    /// a semicolon ends it even there, as in browsers.
    ///
    /// # Security
    ///
    /// Says only that the text is an id; whether a session has it, the store says.
    ///
    /// If the header holds *different* ids under this name, none wins: the result is `None`. A
    /// browser sends two only if somebody could plant one, which a `__Host-` name prevents; the
    /// order they come in does not tell which is whose (RFC 6265bis, section 4.2.2).
    ///
    /// Names are compared byte by byte, and only spaces and tabs around them are dropped: a name
    /// behind some other white space is another name, to which browsers do not apply the prefix's
    /// rules.
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SessionCookie, SessionId};
    ///
    /// let cookie = SessionCookie::named("sid")?;
    /// let id = SessionId::parse("AAECAwQFBgcICQoLDA0ODw");
    /// assert_eq!(cookie.read("a=b; sid=AAECAwQFBgcICQoLDA0ODw; c"), id);
    /// assert_eq!(cookie.read("a=b; sid=guess"), None);
    /// # Ok::<(), cloakroom::BuildError>(())
    /// ```
    #[must_use]
    pub fn read(&self, header: impl AsRef<[u8]>) -> Option<SessionId> {
        self.read_all([header])
    }

    /// Returns the id in the values of all `Cookie` headers of a request, as [`read`](Self::read)
    /// does for one: HTTP/2 may split them (RFC 9113, section 8.2.3).
    ///
    /// # Examples
    ///
    /// ```
    /// use cloakroom::{SessionCookie, SessionId};
    ///
    /// let headers = ["theme=dark", "__Host-session=AAECAwQFBgcICQoLDA0ODw"];
    /// assert!(SessionCookie::new().read_all(headers).is_some());
    /// ```
    #[must_use]
    pub fn read_all<H: AsRef<[u8]>>(
        &self,
        headers: impl IntoIterator<Item = H>,
    ) -> Option<SessionId> {
        let mut found = None;
        for header in headers {
            let mut rest = header.as_ref();
            while !rest.is_empty() {
                let (id, others) = self.next_in(rest);
                rest = others;
                let Some(id) = id else { continue };
                if found.is_some_and(|other| other != id) {
                    return None;
                }
                found = Some(id);
            }
        }
        found
    }

    /// Returns the id in the first pair, if there is one, and what is behind that pair.
    #[inline]
    fn next_in<'a>(&self, header: &'a [u8]) -> (Option<SessionId>, &'a [u8]) {
        // As browsers send it: then its end is known, and need not be searched.
        if let Some((token, behind)) =
            self.value_in(header).and_then(|value| value.split_at_checked(TOKEN_LEN))
        {
            if let (Some(id), [] | [b';', ..]) = (SessionId::parse_bytes(token), behind) {
                return (Some(id), behind.get(1..).unwrap_or_default());
            }
        }
        let end = header.iter().position(|byte| *byte == b';').unwrap_or(header.len());
        let (pair, behind) = header.split_at(end);
        let value = self.value_in(pair).map(trim);
        let bare = value.and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
        (bare.or(value).and_then(SessionId::parse_bytes), behind.get(1..).unwrap_or_default())
    }

    /// Returns what is behind the name and the equals sign, if the first pair is ours.
    #[inline]
    fn value_in<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        // The name first, because most pairs are other cookies.
        let after_name = trim_start(pair).strip_prefix(self.name.as_bytes())?;
        trim_start(after_name).strip_prefix(b"=")
    }
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the seconds that a session has left, `None` inside if it never ends, or `None` if it has ended or
/// has less than one left.
pub(crate) fn max_age<T>(store: &SessionStore<T>, id: &SessionId) -> Option<Option<u64>> {
    match store.expires_in(id)? {
        Duration::MAX => Some(None),
        left => Some(left.as_secs()).filter(|seconds| *seconds > 0).map(Some),
    }
}

/// Drops spaces and tabs, the only white space there is in a header (RFC 9110, section 5.6.3).
fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_start(bytes);
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    bytes
}

fn check_name(name: &str) -> Result<(), BuildError> {
    let refuse = |value: String, limit: &str| Err(BuildError::new("cookie_name", value, limit));
    if name.len() > MAX_NAME {
        // A name this long would hide the sentence.
        let limit = format!("at most {MAX_NAME} bytes");
        return refuse(format!("{} bytes", name.len()), &limit);
    }
    if name.is_empty() || !name.bytes().all(is_token_byte) {
        let limit = "one or more of the letters and digits of ASCII and !#$%&'*+-.^_`|~";
        return refuse(format!("{name:?}"), limit);
    }
    for prefix in PREFIXES {
        let Some((start, rest)) = name.split_at_checked(prefix.len()) else {
            continue;
        };
        if start.eq_ignore_ascii_case(prefix) && (start != prefix || rest.is_empty()) {
            let limit = format!("{prefix} in this spelling and at least one more character");
            return refuse(format!("{name:?}"), &limit);
        }
    }
    Ok(())
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(all(test, feature = "axum"))]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_cookie_shows() {
        let ttl = Duration::from_secs(60);
        let builder = SessionStore::<u32>::builder().ttl(ttl).clock(crate::ManualClock::new());
        let store = builder.build().expect("the settings are valid");
        let session = store.create();
        let cookie = SessionCookie::new();
        let mut shown = cookie.issue(&store, session.id());
        assert_eq!(cookie.text(session.id(), Some(60)), shown.to_string());
        shown.set_max_age(None);
        assert_eq!(cookie.text(session.id(), None), shown.to_string());
    }
}
