//! From mirrored events to busy intervals.
