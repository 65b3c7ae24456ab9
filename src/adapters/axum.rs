//! Typed sessions for axum, and for every other tower service of HTTP: a layer and an extractor.
//!
//! [`SessionLayer`] finds the cookie in the request and puts it on the response; [`Session`] is what a
//! handler takes to read and change the session. Nothing here depends on axum itself, only on the
//! traits that tower services share.
//!
//! ```
//! use axum::{Router, routing::{get, post}};
//! use cloakroom::SessionStore;
//! use cloakroom::adapters::axum::{Refused, Session, SessionLayer};
//!
//! #[derive(Clone, Default)]
//! struct Visitor { user: Option<u64>, cart: Vec<u32> }
//!
//! async fn add(mut session: Session<Visitor>) -> String {
//!     session.cart.push(7);                 // saved before the response leaves
//!     format!("{} in your cart", session.cart.len())
//! }
//!
//! async fn sign_in(mut session: Session<Visitor>) -> Result<(), Refused> {
//!     session.rotate()?;                    // a new id, before anybody is anybody
//!     session.user = Some(42);
//!     Ok(())
//! }
//!
//! async fn sign_out(mut session: Session<Visitor>) {
//!     session.destroy();                    // at once, for every request
//! }
//!
//! let store = SessionStore::<Visitor>::builder().max_sessions(1_000_000).build()?;
//! let app: Router = Router::new()
//!     .route("/cart", post(add))
//!     .route("/sign-in", post(sign_in))
//!     .route("/sign-out", post(sign_out))
//!     .layer(SessionLayer::new(store));
//! # Ok::<(), cloakroom::BuildError>(())
//! ```
//!
//! # What happens when
//!
//! | | |
//! |---|---|
//! | the handler only reads, or takes no session | nothing is stored and no cookie is sent: visitors and bots without cookies take no memory |
//! | the handler changes the session | it is saved, or created, when the handler is done and before the first byte of the response |
//! | the response is a server error (5xx) or 408 | changes are not saved; what was done by [`update`](Session::update), [`try_save`](Session::try_save), [`rotate`](Session::rotate), [`reauthenticate`](Session::reauthenticate) or [`destroy`](Session::destroy) stands |
//! | the handler panics, the client goes away, or a service further in returns an error | as with a server error, and no cookie is sent: a handle that lives on, as in a task, still changes and ends its session, but begins none and gives none a new id |
//! | a layer further in catches the panic, and answers | what its answer says; what a handle held that the panic interrupted is not saved, if that was in an `async` block |
//! | the cookie is malformed, unknown or of a session that has ended | a visitor without a session; the id is never adopted |
//! | two requests change one session | what [`OnConflict`] says |
//! | the session ends while the handler works | its changes are refused and counted in [`saves_refused`](crate::StoreStats::saves_refused): nothing comes back. The response is what [`OnConflict`] says |
//! | the store is full and refuses newcomers | 503, if the handler changed a session that was yet to be created, or at [`max_bytes`](crate::Builder::max_bytes) made one larger |
//! | with its changes the session would be one more than its subject may have, or too large: [`index_by`](crate::Builder::index_by) and the limits hold here too | 409, or 413, if the handler does not ask itself; nothing is saved |
//! | the layer refuses (409, 413 or 503) | the body is empty, and of the handler's headers only cookies are left: what layers further in did has happened. For layers around it, this is as a server error |
//! | there is no layer for this `T` | [`MissingLayer`]: status 500, with a sentence |
//!
//! # The cookie
//!
//! Set when a session was created or got another id, removed when it was destroyed, and otherwise not
//! sent; see [`CookieLifetime`] for the one exception. Each of those responses says
//! `Cache-Control: no-store`, whatever the handler said, so that no cache hands an id to somebody else
//! (OWASP's Session Management Cheat Sheet, "Web Content Caching"). Other pages that show what a session
//! holds need that header too, from whoever makes them.
//!
//! # Several layers
//!
//! Layers of different `T` do not see each other. Give each its own cookie name, or each store takes
//! the other's ids for unknown ones and replaces the cookie. Of several layers of the same `T` the innermost
//! counts, as long as nobody between them takes the session: that one would be another, and its cookie the
//! last. A timeout layer belongs outside the session layer: inside, it looks like a handler that is done.
//!
//! # What it costs
//!
//! A request that takes no session costs an allocation or two beside it. One that does costs the look-up of
//! the cookie and one load. A change costs a copy of the data and a save; a visitor's first one costs a
//! create. `cargo bench --bench axum` measures each of them against the same handler without sessions.

mod held;
mod layer;
mod refused;
mod session;
mod settings;
mod slot;

pub use layer::{ResponseFuture, SessionLayer, SessionService};
pub use refused::{MissingLayer, Refused};
pub use session::Session;
pub use settings::{CookieLifetime, OnConflict};
