//! `slotd demo`: the whole product with the stand-in as Google, and a salon to play with.

mod salon;
mod setup;
mod text;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, bail};
use serde_json::json;
use slotd_sandbox::{NewCalendar, Options, Sandbox};
use tokio::net::TcpListener;
use url::Url;

use super::{client::Client, keys, output, sandbox, start_logs};
use crate::{
    app,
    auth::NewKey,
    config::{Config, DatabaseUrl},
    domain::clock::{Clock, SystemClock},
    lifecycle::Lifecycle,
    store::api_keys::Scope,
};

/// Whose account is connected.
const OWNER: &str = "salon@example.com";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A calendar exported from Google instead of the salon; may be given several times
    #[arg(long, value_name = "FILE")]
    ics: Vec<PathBuf>,
    /// An empty folder for the database and keys; a temporary one when absent
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where the API listens, on loopback; 0 for any free port
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Print one JSON line once the first sync is done, for scripts
    #[arg(long)]
    json: bool,
}

/// A calendar of the demo and whose it is.
pub(super) struct Place {
    /// Google's id.
    id: String,
    /// The name of its resource.
    name: String,
    /// Its zone.
    time_zone: String,
    /// The file that it came from.
    file: Option<PathBuf>,
}

/// Runs the demo until it is told to stop.
pub(super) async fn run(mut config: Config, arguments: Arguments) -> anyhow::Result<ExitCode> {
    if config.log == crate::config::Log::default() {
        // People want to see the salon and not the plumbing; scripts get their one line.
        "warn".clone_into(&mut config.log.filter);
    }
    start_logs(&config)?;
    let folder = Folder::open(arguments.data_dir.as_deref())?;
    let sandbox = Sandbox::start(Options { auto_approve: true, ..Options::default() }).await?;
    sandbox.add_user(OWNER, salon::NAME);
    let places = fill(&sandbox, &arguments.ics)?;

    let bind = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), arguments.port);
    let listener = TcpListener::bind(bind)
        .await
        .with_context(|| format!("cannot listen on {bind}; choose another port with --port, or 0 for any"))?;
    let api = listener.local_addr()?;
    point_at(&mut config, &sandbox, api, folder.path())?;

    let life = Lifecycle::new();
    let master = keys::generate(&folder.path().join("keys.toml"))?;
    let daemon = app::start(&config, Arc::new(master), listener, &life).await?;
    let new = NewKey { business: None, scope: Scope::Admin, label: "demo".to_owned(), expires_at: None };
    let (_, token) = daemon.keys.create(new).await?;
    let client = Client::new(format!("http://{api}"), token.reveal().to_owned());

    let stop = life.stopping();
    let built = tokio::select! {
        built = setup::build(&client, &places, arguments.json) => built,
        () = stop.cancelled() => Err(anyhow::anyhow!("stopped before the demo was ready")),
    };
    let business = match built {
        Ok(business) => business,
        Err(error) => {
            life.stop();
            let _ = life.run_until_stopped().await;
            return Err(error);
        }
    };
    let facts = text::Facts {
        api: format!("http://{api}"),
        metrics: format!("http://{}/metrics", daemon.metrics),
        sandbox: sandbox.root(),
        key: token.reveal().to_owned(),
        google_token: sandbox.bearer_token(OWNER),
        business,
    };
    if arguments.json {
        output::say(&facts.json(&places).to_string());
    } else {
        output::say(&facts.tour(&client, &places, folder.path()).await?);
    }
    let code = life.run_until_stopped().await;
    daemon.store.close().await;
    sandbox.stop().await;
    Ok(code)
}

/// Fills the stand-in with the given calendars, or with the salon's.
fn fill(sandbox: &Sandbox, files: &[PathBuf]) -> anyhow::Result<Vec<Place>> {
    if !files.is_empty() {
        let loaded = sandbox::load(sandbox, OWNER, files, salon::ZONE.name())?;
        let mut places: Vec<Place> = Vec::with_capacity(loaded.len());
        for one in loaded {
            // Two files may hold calendars of one name.
            let taken = places.iter().filter(|place| place.name.starts_with(&one.name)).count();
            let name = if taken == 0 { one.name } else { format!("{} {}", one.name, taken + 1) };
            places.push(Place { id: one.id, name, time_zone: one.time_zone, file: Some(one.file) });
        }
        return Ok(places);
    }
    let now = SystemClock.now();
    let mut places = Vec::new();
    for (person, name) in salon::PEOPLE.into_iter().enumerate() {
        let calendar = NewCalendar {
            id: None,
            summary: name.to_owned(),
            time_zone: salon::ZONE.name().to_owned(),
            primary: false,
            events: salon::events(person, now),
        };
        let id = sandbox.add_calendar(OWNER, calendar)?;
        places.push(Place { id, name: name.to_owned(), time_zone: salon::ZONE.name().to_owned(), file: None });
    }
    Ok(places)
}

/// Makes the stand-in Google, and everything of the daemon local.
fn point_at(config: &mut Config, sandbox: &Sandbox, api: SocketAddr, folder: &Path) -> anyhow::Result<()> {
    let root = Url::parse(&sandbox.root())?;
    let client = sandbox.client();
    let secret = folder.join("google-client-secret");
    std::fs::write(&secret, client.client_secret)?;
    config.google.api_base_url = root.join("calendar/v3")?;
    config.google.auth_url = root.join("o/oauth2/v2/auth")?;
    config.google.token_url = root.join("token")?;
    config.google.revoke_url = root.join("revoke")?;
    config.google.userinfo_url = root.join("v1/userinfo")?;
    config.google.client_id = Some(client.client_id);
    config.google.client_secret_file = Some(secret);
    // The stand-in has no quotas unless it is told to.
    (config.google.account_calls_per_minute, config.google.project_calls_per_minute) = (1_000_000, 1_000_000);
    let own = Url::parse(&format!("http://{api}/"))?;
    config.google.push_url = Some(own.join(app::PUSH_PATH)?);
    config.http.public_url = Some(own);
    config.metrics.bind = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let url = format!("sqlite:{}", folder.join("slotd.db").display());
    config.database.url = DatabaseUrl::new(&url).map_err(anyhow::Error::msg)?;
    Ok(())
}

/// The folder of the demo: a given one, or one that goes when the demo ends.
enum Folder {
    Given(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn open(given: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = given else { return Ok(Self::Temporary(tempfile::tempdir()?)) };
        std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
        let mut entries = std::fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
        if entries.next().is_some() {
            bail!(
                "{} is not empty: the stand-in for Google forgets everything when it stops, so the demo begins with an \
                 empty folder each time",
                path.display()
            );
        }
        Ok(Self::Given(path.to_owned()))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

impl Place {
    /// The resource to be made for it.
    fn resource(&self) -> serde_json::Value {
        if self.file.is_none() {
            return json!({ "name": self.name });
        }
        let day = json!([["00:00", "24:00"]]);
        let hours = json!({ "mon": day, "tue": day, "wed": day, "thu": day, "fri": day, "sat": day, "sun": day });
        json!({ "name": self.name, "time_zone": self.time_zone, "hours": hours })
    }
}
