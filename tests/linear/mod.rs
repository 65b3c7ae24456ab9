//! Owns the linearizability harness: the checker, the recorder, and the stores put to it.

pub(crate) mod check;
pub(crate) mod desk;
mod history;
pub(crate) mod record;
pub(crate) mod standing;
pub(crate) mod subject;
pub(crate) mod visits;
pub(crate) mod worker;
