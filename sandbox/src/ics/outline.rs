//! The skeleton of an iCalendar file: which component opens and closes on which line.
//!
//! calcard forgives every structural fault, so a truncated file would quietly lose its last event. This pass finds such
//! faults first, and knows the lines that error messages need.

/// Why a file as a whole cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IcsError {
    /// The text does not begin like an iCalendar file.
    #[error(
        "line {line}: expected BEGIN:VCALENDAR; this is not an iCalendar file, export one from Google Calendar's settings \
         (\"Import & export\") and unpack the .zip"
    )]
    NotACalendar {
        /// Counted from 1.
        line: usize,
    },
    /// A component is closed that is not the open one.
    #[error("line {line}: END:{found} where END:{open} (opened on line {opened}) was expected")]
    WrongEnd {
        /// Counted from 1.
        line: usize,
        /// The component named by the END line.
        found: String,
        /// The component that is open.
        open: String,
        /// The line on which it was opened.
        opened: usize,
    },
    /// The text ends inside of a component.
    #[error("the file ends on line {line} without END:{open} for the BEGIN:{open} of line {opened}; it is cut off")]
    CutOff {
        /// The last line, counted from 1.
        line: usize,
        /// The component that is open.
        open: String,
        /// The line on which it was opened.
        opened: usize,
    },
    /// Components lie in each other deeper than any calendar needs.
    #[error("line {line}: components are nested deeper than {DEPTH_MAX}")]
    TooDeep {
        /// Counted from 1.
        line: usize,
    },
    /// The file is over the size limit.
    #[error("the file has {bytes} bytes, at most {bytes_max} are read")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The zone for times without one is not in the time zone database.
    #[error("\"{zone}\" is not a time zone; give an IANA name such as Europe/Berlin")]
    UnknownZone {
        /// The zone as it was given.
        zone: String,
    },
}

/// VCALENDAR, VEVENT, VALARM and what extensions add; RFC 9073 reaches 4.
const DEPTH_MAX: usize = 16;
/// Longest component name that an error repeats, in characters.
const NAME_CHARS_MAX: usize = 40;

/// Checks that every component is closed, and returns the lines of the VEVENTs in their order.
pub(super) fn event_lines(text: &str) -> Result<Vec<usize>, IcsError> {
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut events = Vec::new();
    let mut last = 0;
    let mut seen = false;
    for (at, line) in text.split('\n').enumerate() {
        let number = at + 1;
        if line.trim().is_empty() {
            continue;
        }
        last = number;
        // A folded line begins with white space, it is never a BEGIN or END.
        let (keyword, name) = line.trim_end().split_once(':').unwrap_or((line, ""));
        let name = || name.trim().to_ascii_uppercase();
        let begins = keyword.eq_ignore_ascii_case("BEGIN");
        if open.is_empty() && !(begins && name() == "VCALENDAR") {
            return Err(IcsError::NotACalendar { line: number });
        }
        if begins {
            seen = true;
            let name = name();
            if name == "VEVENT" {
                events.push(number);
            }
            open.push((name, number));
            if open.len() > DEPTH_MAX {
                return Err(IcsError::TooDeep { line: number });
            }
        } else if keyword.eq_ignore_ascii_case("END")
            && let Some((opened_name, opened)) = open.pop()
        {
            let found = name();
            if found != opened_name {
                let found = found.chars().take(NAME_CHARS_MAX).collect();
                return Err(IcsError::WrongEnd { line: number, found, open: opened_name, opened });
            }
        }
    }
    if let Some((name, opened)) = open.pop() {
        let open = name.chars().take(NAME_CHARS_MAX).collect();
        return Err(IcsError::CutOff { line: last, open, opened });
    }
    if seen { Ok(events) } else { Err(IcsError::NotACalendar { line: 1 }) }
}
