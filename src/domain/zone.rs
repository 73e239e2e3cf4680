//! Local wall-clock time and UTC.
