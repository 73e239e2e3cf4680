//! Log lines, to standard error.
//!
//! Debug lines of dependencies cannot be turned on: yup-oauth2 writes refresh tokens there. The `log` crate's
//! `max_level_info` compiles them out, and that crate is silent at every level, whatever the filter says.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, ParseError, filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

/// What targets begin with that are never logged, at any level.
const SILENT: &str = "yup_oauth2";

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("`log.filter` = {filter:?}: {source}; expected levels by target, such as info,slotd::sync=debug")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Something else in this process took the log.
    #[error(transparent)]
    Taken(#[from] TryInitError),
}

/// Begins logging for the whole process: JSON lines or text, or, when `json` is not given, text on a terminal and JSON
/// elsewhere.
pub fn init(filter: &str, json: Option<bool>) -> Result<(), LogError> {
    let json = json.unwrap_or_else(|| !io::stderr().is_terminal());
    layered(filter, json, io::stderr)?.try_init()?;
    Ok(())
}

fn layered<W>(filter: &str, json: bool, writer: W) -> Result<impl SubscriberInitExt + tracing::Subscriber, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let levels = EnvFilter::try_new(filter).map_err(|source| LogError::Filter { filter: filter.to_owned(), source })?;
    // A directive in the filter could not do this: one that is more specific would win over it.
    let levels = levels.and(filter_fn(|metadata| !metadata.target().starts_with(SILENT)));
    let lines = fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if json {
        lines.json().flatten_event(true).with_filter(levels).boxed()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_filter(levels).boxed()
    };
    Ok(Registry::default().with(lines))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was written, to be read by the test.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, json: bool, talk: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(layered(filter, json, move || writer.clone()).unwrap(), talk);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn json_lines_carry_fields_beside_the_message() {
        let line = logged("info", true, || tracing::info!(calendar = 7, "synced"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line["message"].as_str(), line["calendar"].as_i64()), (Some("synced"), Some(7)));
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_oauth_library_stays_silent_at_trace() {
        let lines = logged("trace,yup_oauth2::refresh=trace", false, || {
            tracing::error!(target: "yup_oauth2::refresh", "refresh token: canary");
            tracing::trace!("ours");
        });
        assert!(lines.contains("ours") && !lines.contains("canary"), "{lines}");
    }

    #[test]
    fn debug_lines_of_dependencies_are_compiled_out() {
        assert_eq!(log::STATIC_MAX_LEVEL, log::LevelFilter::Info);
    }

    #[test]
    fn a_wrong_filter_is_explained() {
        let refused = layered("slotd=loud", false, io::stderr).map(drop).unwrap_err().to_string();
        assert!(refused.contains("slotd=loud") && refused.contains("such as"), "{refused}");
    }
}
