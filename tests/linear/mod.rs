//! Owns the linearizability harness: the checker, the recorder, and the stores put to it.

pub(crate) mod check;
pub(crate) mod record;
pub(crate) mod subject;
pub(crate) mod worker;
