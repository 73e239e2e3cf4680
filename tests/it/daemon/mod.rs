//! The running daemon, from Google's push to the receptionist's answer and back.

mod audit;
mod bad_input;
mod bookings;
mod brake;
mod calendar_list;
mod channels;
mod cost;
mod edits;
mod explain;
mod follow;
mod freshness;
mod holds;
mod lifecycle;
mod mirror;
mod nodes;
mod outage;
mod pushes;
mod quota;
mod rules;
mod series;
mod trouble;
