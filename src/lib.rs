//! TODO docs

mod attributes;
mod builder;
mod capacity;
mod clock;
mod ends;
mod entry;
mod error;
mod gate;
mod id;
mod session;
mod shards;
mod stats;
mod store;
mod sweep;
mod sync;

pub use crate::attributes::Attributes;
pub use crate::builder::{Builder, IdSource};
pub use crate::capacity::OnFull;
pub use crate::clock::{Clock, MAX_LIFETIME, ManualClock};
pub use crate::ends::{Cause, End};
pub use crate::error::{BuildError, CreateError, EntropyError, Rejected, RotateError, SaveError};
pub use crate::id::{AsSessionId, SessionId, SessionToken};
pub use crate::session::Session;
pub use crate::stats::StoreStats;
pub use crate::store::{Expiry, SessionStore};
