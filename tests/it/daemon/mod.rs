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
mod guests;
mod holds;
mod lifecycle;
mod mirror;
mod nodes;
mod outage;
mod pushes;
mod quota;
mod search;
mod series;
mod storm;
mod texts;
mod together;
mod together_at_once;
mod trouble;
