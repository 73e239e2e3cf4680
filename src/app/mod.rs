//! Builds the whole daemon from its configuration, once.

mod gauges;
mod jobs;
mod quota;
mod support;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{net::TcpListener, sync::Notify};
use url::Url;

use crate::{
    auth::{self, Connect, Keys, account_tokens},
    booking::{self, Desk},
    config::{self, Config, read_secret},
    crypto::MasterKeys,
    domain::{
        SharedChance, SharedClock,
        clock::{SystemChance, SystemClock},
    },
    google::{self, CachedTokens, Endpoints, Google, OAuth, OAuthClient, Pacer, Transport},
    http::{Api, Streams, accept, load_phone_numbers, router},
    lifecycle::Lifecycle,
    outbox::{self, Outbox},
    store::{self, Lane, Store},
    sync::{self, Mirrors},
    telemetry::Metrics,
};

/// The path at which Google's pushes arrive.
pub const PUSH_PATH: &str = "api/v1/webhooks/google-calendar";
/// The path at which browsers come back from Google.
const CALLBACK_PATH: &str = "api/v1/auth/google-calendar/callback";

/// A running daemon.
pub struct Daemon {
    /// Where the API listens.
    pub api: SocketAddr,
    /// Where the metrics are.
    pub metrics: SocketAddr,
    /// The database, to be closed last.
    pub store: Store,
    /// API keys, for commands that make one.
    pub keys: Keys,
    /// The front desk, for whoever books in this process.
    pub desk: Desk,
}

/// Opens the database of a configuration.
pub async fn open_store(config: &Config, master: Arc<MasterKeys>) -> anyhow::Result<Store> {
    let (clock, chance): (SharedClock, SharedChance) = (Arc::new(SystemClock), Arc::new(SystemChance));
    Ok(Store::open(&store_options(config), clock, chance, master).await?)
}

/// Opens the database of a configuration as it is, only to read it. A daemon may be at work on it.
pub(crate) async fn open_store_to_read(config: &Config, master: Arc<MasterKeys>) -> anyhow::Result<Store> {
    let (clock, chance): (SharedClock, SharedChance) = (Arc::new(SystemClock), Arc::new(SystemChance));
    Ok(Store::open_to_read(&store_options(config), clock, chance, master).await?)
}

fn store_options(config: &Config) -> store::Options {
    store::Options {
        url: config.database.url.reveal().to_owned(),
        connections_max: config.database.connections_max,
        acquire_timeout: Duration::from_secs(config.database.acquire_timeout_s.into()),
    }
}

/// Starts everything on `listener` and returns; the tasks belong to `life`.
pub async fn start(
    config: &Config,
    master: Arc<MasterKeys>,
    listener: TcpListener,
    life: &Lifecycle,
) -> anyhow::Result<Daemon> {
    let (clock, chance): (SharedClock, SharedChance) = (Arc::new(SystemClock), Arc::new(SystemChance));
    let api_address = listener.local_addr()?;
    let public_url = public_url(config, api_address)?;
    let metrics_listener = TcpListener::bind(config.metrics.bind)
        .await
        .with_context(|| format!("cannot listen on metrics.bind = {}", config.metrics.bind))?;
    let metrics_address = metrics_listener.local_addr()?;
    let store = open_store(config, master).await?;
    if store.engine_name() == "sqlite" {
        let end = store::work::<(), store::Error, _>(|tx| Box::pin(async move { tx.end_all_leases().await }));
        store.write(Lane::Background, end).await?;
    }
    let metrics = Metrics::new();
    let (wake, passes, deliveries) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::new(Notify::new()));

    let google = connect_google(config, &store, &metrics, &clock, &chance)?;
    let api_calls = google.calendar.clone();
    let google_pacer = google.pacer.clone();

    let mirrors = Mirrors::new(sync::Foundation {
        store: store.clone(),
        google: google.calendar.clone(),
        clock: Arc::clone(&clock),
        chance: Arc::clone(&chance),
        config: config.sync.clone(),
        metrics: metrics.clone(),
        push_address: push_address(config, &public_url)?,
        wake: Arc::clone(&wake),
        passes: Arc::clone(&passes),
        outbox: Arc::clone(&deliveries),
    });
    let outbox = Outbox::new(outbox::Foundation {
        store: store.clone(),
        google: google.calendar.clone(),
        clock: Arc::clone(&clock),
        chance: Arc::clone(&chance),
        metrics: metrics.clone(),
        config: config.outbox.clone(),
        event_link: config.booking.event_link.clone(),
        wake: Arc::clone(&deliveries),
    });
    let desk = Desk::new(booking::Foundation {
        store: store.clone(),
        clock: Arc::clone(&clock),
        metrics: metrics.clone(),
        outbox: deliveries,
        mirrors: wake,
        passes,
        booking: config.booking.clone(),
        calls: config.calls.clone(),
        sync: config.sync.clone(),
    });
    let redirect_uri = public_url.join(CALLBACK_PATH)?;
    let connect = google.oauth.map(|oauth| {
        Connect::new(auth::Foundation {
            store: store.clone(),
            google: google.calendar,
            oauth,
            tokens: google.tokens,
            clock: Arc::clone(&clock),
            chance: Arc::clone(&chance),
            redirect_uri,
        })
    });
    let keys = Keys::new(store.clone(), Arc::clone(&clock), Arc::clone(&chance));
    let streams = Streams::new(&config.calls, life.stopping());
    let api = Api {
        store: store.clone(),
        keys: keys.clone(),
        desk: desk.clone(),
        streams: streams.clone(),
        mirrors: mirrors.clone(),
        google: api_calls,
        connect,
        clock: Arc::clone(&clock),
        chance: Arc::clone(&chance),
        metrics: metrics.clone(),
        local_webhooks: config.notify.allow_local,
        readiness: life.readiness(),
        public_url,
    };

    let serve = accept::Limits::from(&config.http);
    life.spawn("http", accept::serve(listener, router(api, &config.http), serve, life.stopping()));
    life.spawn("metrics", accept::serve(metrics_listener, metrics_page(metrics.clone()), serve, life.stopping()));
    life.spawn("gauges", gauges::keep(store.clone(), metrics.clone(), Arc::clone(&clock), life.stopping()));
    spawn_quota((&store, &metrics, &clock), google_pacer, &mirrors, life).await;
    let around = support::Around { store: &store, clock: &clock, chance: &chance, metrics: &metrics };
    support::spawn(config, &around, life)?;
    life.spawn("metrics upkeep", metrics.keep_up(life.stopping()));
    spawn_mirrors(&mirrors, life);
    life.spawn("outbox", outbox.run(life.stopping()));
    spawn_calls(&store, &desk, streams, life);
    spawn_jobs(&config.jobs, &store, &mirrors, &desk, &clock, life);
    // Before the first caller has to wait for it.
    tokio::task::spawn_blocking(load_phone_numbers);
    life.ready();
    Ok(Daemon { api: api_address, metrics: metrics_address, store, keys, desk })
}

/// Everything that keeps the mirrors like Google's calendars.
fn spawn_mirrors(mirrors: &Mirrors, life: &Lifecycle) {
    life.spawn("mirrors", mirrors.clone().run(life.stopping()));
    life.spawn("watches", mirrors.clone().keep_watches(life.stopping()));
    life.spawn("calendar lists", mirrors.clone().keep_lists(life.stopping()));
    life.spawn("audits", mirrors.clone().keep_audits(life.stopping()));
}

/// Everything that tells running calls what changes.
fn spawn_calls(store: &Store, desk: &Desk, streams: Streams, life: &Lifecycle) {
    life.spawn("changes", store.clone().carry_changes(life.stopping()));
    life.spawn("offers", desk.clone().keep_offers(life.stopping()));
    life.spawn("call streams", streams.run());
}

/// The exchange of figures about Google's quotas. What other nodes and the last run used up counts before the first call.
async fn spawn_quota(
    (store, metrics, clock): (&Store, &Metrics, &SharedClock),
    pacer: Pacer,
    mirrors: &Mirrors,
    life: &Lifecycle,
) {
    let (store, metrics, clock) = (store.clone(), metrics.clone(), Arc::clone(clock));
    let quota = quota::Quota { store, pacer, mirrors: mirrors.clone(), metrics, clock };
    quota.exchange().await;
    life.spawn("quota", quota.keep(life.stopping()));
}

/// What the clock begins.
fn spawn_jobs(
    config: &config::Jobs,
    store: &Store,
    mirrors: &Mirrors,
    desk: &Desk,
    clock: &SharedClock,
    life: &Lifecycle,
) {
    for (name, job) in jobs::all(config, store, mirrors, desk, clock) {
        life.spawn(name, job.run(Arc::clone(clock), life.stopping()));
    }
}

/// The ways to Google.
struct Ways {
    calendar: Google,
    pacer: Pacer,
    oauth: Option<OAuth>,
    tokens: CachedTokens,
}

fn connect_google(
    config: &Config,
    store: &Store,
    metrics: &Metrics,
    clock: &SharedClock,
    chance: &SharedChance,
) -> anyhow::Result<Ways> {
    let endpoints = endpoints(config);
    let limits = google::Limits {
        request: Duration::from_secs(config.google.request_timeout_s.into()),
        ..google::Limits::default()
    };
    let counted = metrics.clone();
    let observer: google::Observer = Arc::new(move |call| counted.google_call(call.method, call.outcome, call.elapsed));
    let transport = Transport::new(&endpoints, limits, observer)?;
    let oauth = oauth(config, &transport, &endpoints)?;
    let tokens = account_tokens(store.clone(), oauth.clone(), Arc::default(), Arc::clone(clock));
    let rates = google::Rates {
        account_per_minute: config.google.account_calls_per_minute,
        project_per_minute: config.google.project_calls_per_minute,
        per_day: config.google.calls_per_day,
    };
    let counted = metrics.clone();
    let held: google::HeldObserver =
        Arc::new(move |urgency, why| counted.google_held_back(urgency.as_str(), why.as_str()));
    let pacer = Pacer::new(rates, Arc::clone(clock), Arc::clone(chance), held);
    let calendar = Google::new(transport, &endpoints, Arc::new(tokens.clone())).paced(pacer.clone());
    Ok(Ways { calendar, pacer, oauth, tokens })
}

/// Where Google answers.
pub(crate) fn endpoints(config: &Config) -> Endpoints {
    Endpoints {
        api_base_url: config.google.api_base_url.clone(),
        auth_url: config.google.auth_url.clone(),
        token_url: config.google.token_url.clone(),
        revoke_url: config.google.revoke_url.clone(),
        userinfo_url: config.google.userinfo_url.clone(),
    }
}

/// The one page of the metrics listener.
fn metrics_page(metrics: Metrics) -> axum::Router {
    let scrape = move || async move {
        ([(axum::http::header::CONTENT_TYPE, crate::telemetry::metrics::CONTENT_TYPE)], metrics.render())
    };
    axum::Router::new().route("/metrics", axum::routing::get(scrape))
}

/// Under which address browsers see this server.
fn public_url(config: &Config, listening: SocketAddr) -> anyhow::Result<Url> {
    match &config.http.public_url {
        Some(url) => Ok(url.clone()),
        None => Ok(Url::parse(&format!("http://{listening}/"))?),
    }
}

/// Where Google is to push to an installation with this configuration, if anywhere.
pub(crate) fn configured_push_address(config: &Config) -> anyhow::Result<Option<Url>> {
    push_address(config, &public_url(config, config.http.bind)?)
}

/// Where Google is to push, if it can reach this server at all.
fn push_address(config: &Config, public_url: &Url) -> anyhow::Result<Option<Url>> {
    match &config.google.push_url {
        Some(url) => Ok(Some(url.clone())),
        None if public_url.scheme() == "https" => Ok(Some(public_url.join(PUSH_PATH)?)),
        None => Ok(None),
    }
}

fn oauth(config: &Config, transport: &Transport, endpoints: &Endpoints) -> anyhow::Result<Option<OAuth>> {
    let Some(client_id) = config.google.client_id.clone() else { return Ok(None) };
    let file = config.google.client_secret_file.as_deref();
    let file = file.context("google.client_id is set, so google.client_secret_file is needed too")?;
    let client = OAuthClient { client_id, client_secret: read_secret(file)? };
    Ok(Some(OAuth::new(transport.clone(), endpoints, &client)))
}
