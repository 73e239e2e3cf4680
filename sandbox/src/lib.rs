//! A stand-in for Google's OAuth and Calendar v3, over real HTTP on loopback.

pub mod ics;
pub mod page;
