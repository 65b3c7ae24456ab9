//! Owns what frameworks see: one module for each, which translates types and decides nothing that the
//! store decides.

#[cfg(feature = "axum")]
pub mod axum;
