//! An installation of slotd: what outlives the process, and the process.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::Value;
use slotd_sandbox::{Options, Sandbox};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{DEADLINE, LOOK_EVERY, client::Client, power::Death};
use crate::harness::Home;

/// Whose Google account it is.
pub(crate) const OWNER: &str = "owner@example.com";
/// Set for every installation, so that what a dead process had in hand is taken up again soon.
const SETTINGS: [(&str, &str); 11] = [
    ("SLOTD_HTTP__BIND", "127.0.0.1:0"),
    ("SLOTD_METRICS__BIND", "127.0.0.1:0"),
    ("SLOTD_GOOGLE__REQUEST_TIMEOUT_S", "2"),
    // The stand-in has no quotas.
    ("SLOTD_GOOGLE__ACCOUNT_CALLS_PER_MINUTE", "1000000"),
    ("SLOTD_GOOGLE__PROJECT_CALLS_PER_MINUTE", "1000000"),
    ("SLOTD_SYNC__LEASE_S", "5"),
    ("SLOTD_SYNC__POLL_UNWATCHED_S", "1"),
    ("SLOTD_OUTBOX__LEASE_S", "5"),
    ("SLOTD_OUTBOX__POLL_S", "1"),
    ("SLOTD_LOG__FORMAT", "json"),
    ("SLOTD_LOG__FILTER", "info"),
];

/// The program under test.
pub(crate) fn slotd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slotd"));
    // Settings of whoever runs the tests are none of theirs.
    command.env_clear().stdin(Stdio::null());
    command
}

/// A database, keys and settings, and the stand-in for Google.
pub(crate) struct Installation {
    pub(crate) google: Sandbox,
    pub(crate) home: Home,
    folder: TempDir,
    settings: Vec<(String, String)>,
    key: String,
}

impl Installation {
    /// With an API key for everything, and a stand-in in which nothing is yet.
    pub(crate) async fn new(home: Home) -> Self {
        let google = Sandbox::start(Options { auto_approve: true, ..Options::default() }).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let client = google.client();
        let secret = folder.path().join("google-client-secret");
        fs::write(&secret, &client.client_secret).unwrap();
        let root = google.root();
        let settings = [
            ("SLOTD_DATABASE__URL", home.url().to_owned()),
            ("SLOTD_KEYS__FILE", folder.path().join("keys").display().to_string()),
            ("SLOTD_GOOGLE__API_BASE_URL", format!("{root}/calendar/v3")),
            ("SLOTD_GOOGLE__AUTH_URL", format!("{root}/o/oauth2/v2/auth")),
            ("SLOTD_GOOGLE__TOKEN_URL", format!("{root}/token")),
            ("SLOTD_GOOGLE__REVOKE_URL", format!("{root}/revoke")),
            ("SLOTD_GOOGLE__USERINFO_URL", format!("{root}/v1/userinfo")),
            ("SLOTD_GOOGLE__CLIENT_ID", client.client_id),
            ("SLOTD_GOOGLE__CLIENT_SECRET_FILE", secret.display().to_string()),
        ];
        let fixed = SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let settings = fixed.into_iter().chain(settings).map(|(name, value)| (name.to_owned(), value)).collect();
        let mut installation = Self { google, home, folder, settings, key: String::new() };
        installation.run(&["encryption-key", "generate", &installation.path("keys").display().to_string()]);
        let made = installation.run(&["api-key", "create", "--scope", "admin", "--label", "test"]);
        String::from_utf8(made.stdout).unwrap().trim().clone_into(&mut installation.key);
        installation
    }

    /// Changes a setting for every later start.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.push((name.to_owned(), value.into()));
    }

    /// A file of this installation.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line of slotd with these settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = slotd();
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command that has to work.
    fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Starts the daemon and waits until it takes requests.
    pub(crate) async fn start(&self) -> Daemon {
        self.start_with(self.command(&["serve"])).await.expect("the daemon ended before it was up")
    }

    /// The same for one that will die; `None` when it did so before it was up.
    pub(crate) async fn start_to_die(&self, death: &Death) -> Option<Daemon> {
        self.start_with(death.over(self.command(&["serve"]))).await
    }

    async fn start_with(&self, mut command: Command) -> Option<Daemon> {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, (sender, mut receiver)) = (child.stderr.take().unwrap(), mpsc::unbounded_channel());
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
                if parsed["message"] == "slotd is up" {
                    let _ = sender.send(parsed["api"].as_str().unwrap().to_owned());
                }
                kept.lock().unwrap().push(line);
            }
        });
        let mut daemon = Daemon { child, log, api: Client::new(String::new(), self.key.clone()) };
        daemon.api.root = format!("http://{}", timeout(DEADLINE, receiver.recv()).await.unwrap()?);
        Some(daemon)
    }

    /// The stand-in's API, as the owner.
    pub(crate) fn google_client(&self) -> Client {
        Client::new(format!("{}/calendar/v3", self.google.root()), self.google.bearer_token(OWNER))
    }
}

/// A running daemon. It is killed when this is dropped.
pub(crate) struct Daemon {
    /// Its API, with the key of the installation.
    pub(crate) api: Client,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.end();
        self.child.wait().unwrap();
        self.check_log();
    }

    /// Lets the power go.
    pub(crate) fn end(&mut self) {
        self.child.kill().unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has said that it panicked. In trouble it may speak of errors, and not of that.
    pub(crate) fn has_panicked(&self) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains("panicked"))
    }

    /// Ends it as systemd would, and tells how it went.
    pub(crate) async fn terminate(mut self) -> ExitStatus {
        terminate(&self.child);
        let status = wait(&mut self.child).await;
        self.check_log();
        status
    }

    /// What Google and a killed process do is not an error of ours, and nothing panics.
    fn check_log(&self) {
        let log = self.log.lock().unwrap();
        let errors: Vec<&String> =
            log.iter().filter(|line| line.contains(r#""level":"ERROR""#) || line.contains("panicked")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock().map(|log| log[log.len().saturating_sub(20)..].join("\n")).unwrap_or_default();
            eprintln!("the daemon's last words:\n{log}");
        }
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    signal("TERM", child.id());
}

/// Sends a signal to a process that is known to be there.
pub(crate) fn signal(name: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", "kill -$0 $1", name, &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Waits for the end of a process under the deadline.
pub(crate) async fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "the process does not end");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
