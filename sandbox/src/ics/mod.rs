//! Calendars exported from Google as iCalendar files (RFC 5545).
