//! The store, on both engines.

mod audits;
mod booking_rows;
mod cancellation;
mod changes;
mod constraint;
mod contention;
mod deliveries;
mod leases;
mod mirror;
mod notices;
mod quota;
mod round_trips;
mod sealed;
mod statements;
mod together;
mod turns;
