//! The running daemon, from Google's push to the receptionist's answer and back.

mod mirror;
