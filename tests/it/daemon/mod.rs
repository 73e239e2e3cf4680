//! The running daemon, from Google's push to the receptionist's answer and back.

mod bad_input;
mod bookings;
mod edits;
mod follow;
mod freshness;
mod holds;
mod mirror;
mod nodes;
mod outage;
mod pushes;
mod trouble;
