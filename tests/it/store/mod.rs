//! The store, on both engines.

mod constraint;
mod statements;
