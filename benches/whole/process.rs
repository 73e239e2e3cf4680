//! The daemon and the stand-in as processes, each in a folder that goes with it.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use hyper::{Method, header};
use serde_json::{Value, json};
use slotd::{app::PUSH_PATH, auth::NewKey, store::api_keys::Scope};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::http::Http;

/// The program to be measured: the one built beside this, unless `SLOTD_BENCH_PROGRAM` names another build.
#[expect(clippy::disallowed_methods, reason = "a setting of this program")]
fn program() -> String {
    std::env::var("SLOTD_BENCH_PROGRAM").unwrap_or_else(|_| env!("CARGO_BIN_EXE_slotd").to_owned())
}

/// The longest that anything here is waited for.
const WAIT_MAX: Duration = Duration::from_mins(3);

/// A process that ends when it is dropped.
pub(crate) struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Processor time that it has used, of all its threads.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let after_name = stat.rsplit_once(')').context("no name in stat")?.1;
        let ticks: Vec<u64> = after_name.split_whitespace().skip(11).take(2).map_while(|it| it.parse().ok()).collect();
        // Linux counts in hundredths of a second for user programs, whatever the kernel's own rate.
        Ok(Duration::from_millis(ticks.iter().sum::<u64>() * 10))
    }

    /// The memory that it holds.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let kib = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let number = line.and_then(|line| line.split_whitespace().next());
            Ok(number.with_context(|| format!("no {name}"))?.parse()?)
        };
        Ok(Memory { resident: kib("VmRSS")?, own: kib("RssAnon")?, peak: kib("VmHWM")? })
    }
}

/// Memory of a process, in KiB.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Memory {
    /// All that is in memory now.
    pub(crate) resident: u64,
    /// Of that, what is not a page of some file.
    pub(crate) own: u64,
    /// The most that was ever in memory.
    pub(crate) peak: u64,
}

/// `slotd` with those arguments and settings; gives what it prints as its first line when that is asked for.
fn start(arguments: &[&str], settings: &[(&str, String)], first_line: bool) -> Result<(Process, String)> {
    let mut command = Command::new(program());
    command.args(arguments).envs(settings.iter().map(|(key, value)| (key, value))).env("SLOTD_LOG__FILTER", "error");
    command.stdout(if first_line { Stdio::piped() } else { Stdio::null() });
    let mut process = Process(command.spawn().context("cannot start slotd")?);
    let mut line = String::new();
    if let Some(out) = process.0.stdout.take() {
        BufReader::new(out).read_line(&mut line)?;
    }
    Ok((process, line))
}

/// The stand-in for Google with its calendars.
pub(crate) struct Standin {
    pub(crate) process: Process,
    /// Speaks Calendar v3 as the owner does.
    pub(crate) http: Http,
    /// Google's ids: an empty primary calendar, then those of the files.
    pub(crate) calendars: Vec<String>,
    settings: Vec<(&'static str, String)>,
    _folder: TempDir,
}

impl Standin {
    /// With one calendar for each of `files`.
    pub(crate) fn start(files: &[&Path]) -> Result<Self> {
        let files: Vec<&str> = files.iter().filter_map(|file| file.to_str()).collect();
        let mut arguments = vec!["sandbox", "--port", "0", "--auto-approve", "--json"];
        for file in &files {
            arguments.extend(["--ics", file]);
        }
        let (process, line) = start(&arguments, &[], true)?;
        let facts: Value = serde_json::from_str(&line).context("the stand-in did not start")?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a fact of the stand-in is missing");
        let (root, folder) = (text(&facts["sandbox"])?, tempfile::tempdir()?);
        let secret = folder.path().join("secret");
        fs::write(&secret, text(&facts["client_secret"])?)?;
        let calendars = facts["calendars"].as_array().into_iter().flatten();
        Ok(Self {
            process,
            http: Http::new(root.clone(), text(&facts["google_token"])?),
            calendars: calendars.map(|one| text(&one["id"])).collect::<Result<_>>()?,
            settings: vec![
                ("SLOTD_GOOGLE__API_BASE_URL", format!("{root}/calendar/v3")),
                ("SLOTD_GOOGLE__AUTH_URL", format!("{root}/o/oauth2/v2/auth")),
                ("SLOTD_GOOGLE__TOKEN_URL", format!("{root}/token")),
                ("SLOTD_GOOGLE__REVOKE_URL", format!("{root}/revoke")),
                ("SLOTD_GOOGLE__USERINFO_URL", format!("{root}/v1/userinfo")),
                ("SLOTD_GOOGLE__CLIENT_ID", text(&facts["client_id"])?),
                ("SLOTD_GOOGLE__CLIENT_SECRET_FILE", secret.display().to_string()),
            ],
            _folder: folder,
        })
    }
}

/// Where a daemon keeps its data.
#[derive(Debug, Clone)]
pub(crate) enum Database {
    Sqlite,
    /// The server, by the URL of some database on it; each daemon gets a new database there.
    Postgres(String),
}

impl Database {
    /// SQLite, and PostgreSQL when a server is given.
    #[expect(clippy::disallowed_methods, reason = "a setting of this program")]
    pub(crate) fn all() -> Vec<Self> {
        let server = std::env::var("SLOTD_TEST_POSTGRES_URL").ok();
        std::iter::once(Self::Sqlite).chain(server.map(Self::Postgres)).collect()
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// Of a new database.
    pub(crate) async fn url(&self, folder: &Path) -> Result<String> {
        let server = match self {
            Self::Sqlite => return Ok(format!("sqlite:{}", folder.join("slotd.db").display())),
            Self::Postgres(server) => server,
        };
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        let mut connection = PgConnection::connect(server).await?;
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE bench_{name}"))).execute(&mut connection).await?;
        let mut url = url::Url::parse(server)?;
        url.set_path(&format!("bench_{name}"));
        Ok(url.into())
    }
}

/// A daemon with a business whose owner has connected the stand-in's account.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    /// Speaks the API with an admin's key.
    pub(crate) http: Http,
    /// Its id.
    pub(crate) business: String,
    _folder: TempDir,
}

impl Daemon {
    /// On an empty database. No calendar blocks yet.
    pub(crate) async fn start(standin: &Standin, database: &Database) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("slotdbench").tempdir()?;
        let keys = folder.path().join("keys.toml").display().to_string();
        run(&["encryption-key", "generate", &keys], &[])?;
        // Google's redirects name the port, so it must be known before.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let root = format!("http://127.0.0.1:{port}");
        let mut settings = standin.settings.clone();
        settings.extend([
            ("SLOTD_DATABASE__URL", database.url(folder.path()).await?),
            ("SLOTD_KEYS__FILE", keys),
            ("SLOTD_HTTP__BIND", format!("127.0.0.1:{port}")),
            ("SLOTD_HTTP__PUBLIC_URL", root.clone()),
            ("SLOTD_METRICS__BIND", "127.0.0.1:0".to_owned()),
            ("SLOTD_GOOGLE__PUSH_URL", format!("{root}/{PUSH_PATH}")),
            // slotd is measured, and not how long it waits for Google's quotas, which the stand-in does not have.
            ("SLOTD_GOOGLE__ACCOUNT_CALLS_PER_MINUTE", "1000000".to_owned()),
            ("SLOTD_GOOGLE__PROJECT_CALLS_PER_MINUTE", "1000000".to_owned()),
        ]);
        let key = run(&["api-key", "create", "--scope", "admin", "--label", "bench"], &settings)?;
        let key = key.split_whitespace().find(|word| word.starts_with("slotd_")).context("no key was printed")?;
        let (process, _) = start(&["serve"], &settings, false)?;
        let http = Http::new(format!("{root}/api/v1"), key);
        let ready = format!("{root}/readyz");
        let answers =
            async || Ok(http.send(Method::GET, &ready, &[], None).await.is_ok_and(|it| it.status.is_success()));
        until("the daemon to answer", answers).await?;

        let day = json!([["00:00", "24:00"]]);
        let hours = json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day, "sat": day, "sun": day });
        let made = json!({ "name": "Bench", "time_zone": "Europe/Berlin", "region": "DE", "hours": hours });
        let business = id(&http.post("/businesses", &made).await?)?;
        let daemon = Self { process, http, business, _folder: folder };
        daemon.connect().await?;
        Ok(daemon)
    }

    /// A path below the business.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("/businesses/{}/{path}", self.business)
    }

    /// Goes the owner's way: to the consent page and back.
    async fn connect(&self) -> Result<()> {
        let (start, body) = ("/auth/google-calendar/start", json!({ "business_id": self.business }));
        // With two resources no calendar is taken on by itself.
        for name in ["one", "two"] {
            self.http.post(&self.at("resources"), &json!({ "name": name })).await?;
        }
        let started = self.http.send(Method::POST, start, &[], Some(&body)).await?;
        let value = |answer: &super::http::Answer, name: header::HeaderName| {
            let value = answer.headers.get(&name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            value.with_context(|| format!("no {name} in the answer {}", answer.status))
        };
        let cookie = value(&started, header::SET_COOKIE)?;
        let cookie = cookie.split(';').next().unwrap_or_default();
        let consent = self.http.send(Method::GET, &value(&started, header::LOCATION)?, &[], None).await?;
        let back = value(&consent, header::LOCATION)?;
        let done = self.http.send(Method::GET, &back, &[(header::COOKIE, cookie)], None).await?;
        if !done.status.is_success() {
            bail!("the account could not be connected: {}", done.status);
        }
        Ok(())
    }

    /// Mirrors a calendar for a resource from now on; its bookings go there too.
    pub(crate) async fn mirror(&self, google_id: &str, resource: &str) -> Result<()> {
        let wanted = json!({ "google_id": google_id, "resource": resource, "blocks": true, "target": true });
        self.http.post(&self.at("calendars"), &wanted).await?;
        Ok(())
    }

    /// Whether the first sync of a calendar is done.
    pub(crate) async fn is_mirrored(&self, google_id: &str) -> Result<bool> {
        let status = self.http.get(&format!("/settings/{}/calendar/status", self.business)).await?;
        let calendar = status["calendars"].as_array().into_iter().flatten().find(|one| one["google_id"] == google_id);
        let calendar = calendar.with_context(|| format!("no such calendar in {status}"))?;
        if let Some(error) = calendar["last_error"].as_str() {
            bail!("the sync failed: {error}");
        }
        Ok(calendar["as_of"].is_string())
    }

    /// Waits for the first sync of a calendar.
    pub(crate) async fn mirrored(&self, google_id: &str) -> Result<()> {
        until("the first sync", async || self.is_mirrored(google_id).await).await
    }
}

/// A key for everything.
pub(crate) fn admin() -> NewKey {
    NewKey { business: None, scope: Scope::Admin, label: "bench".to_owned(), expires_at: None }
}

/// Runs `slotd` to its end and gives what it prints.
fn run(arguments: &[&str], settings: &[(&str, String)]) -> Result<String> {
    let output =
        Command::new(program()).args(arguments).envs(settings.iter().map(|(key, value)| (key, value))).output()?;
    if !output.status.success() {
        bail!("slotd {} failed: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The id of what was made.
pub(crate) fn id(value: &Value) -> Result<String> {
    Ok(value["id"].as_str().context("an answer without an id")?.to_owned())
}

/// Looks every 20 ms until `done`.
pub(crate) async fn until(what: &str, done: impl AsyncFn() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !done().await? {
        if started.elapsed() > WAIT_MAX {
            bail!("waited too long for {what}");
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
