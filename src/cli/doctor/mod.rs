//! `slotd doctor`: looks at an installation, beside a running daemon, and says what is wrong and what to do.
//!
//! It only reads. Secrets, names, phone numbers and whole e-mail addresses are never printed.

mod judge;
mod report;

use std::{process::ExitCode, sync::Arc, time::Duration};

use chrono::TimeDelta;
use url::Url;

use self::{
    judge::{Circumstances, NoticesStanding, account, calendar, clock, notices, outbox},
    report::Report,
};
use super::{audit::every_business, keys::master_keys};
use crate::{
    app,
    config::{Config, read_secret},
    domain::{BusinessId, Clock, clock::SystemClock},
    google::{self, Transport},
    store::{self, Store, accounts::Account, audits::Audit, calendars::Calendar},
};

/// How long Google may take to say what time it is. Its header tells whole seconds.
const GOOGLE_MAX: Duration = Duration::from_secs(5);
const DATE_BLUR: TimeDelta = TimeDelta::seconds(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON document for scripts
    #[arg(long)]
    json: bool,
}

/// Looks at everything. Exits with 0 when all is well, 1 with warnings, 2 with failures.
pub(super) async fn run(config: &Config, arguments: &Arguments) -> ExitCode {
    let mut report = Report::default();
    push_address(&mut report, config);
    oauth_client(&mut report, config);
    google_clock(&mut report, config).await;
    if let Some(store) = open(&mut report, config).await {
        database(&mut report, config, &store).await;
        store.close().await;
    }
    report.tell(arguments.json)
}

fn push_address(report: &mut Report, config: &Config) {
    let what = "Set http.public_url or google.push_url to an https address that Google reaches.";
    match app::configured_push_address(config) {
        Ok(Some(url)) if url.scheme() == "https" => report.ok("push", "Google is asked to push its changes"),
        Ok(Some(_)) => report.warn("push", "the address for pushes is not https: Google would refuse it", what),
        Ok(None) => report.warn("push", "there is no address for pushes, so calendars are polled", what),
        Err(error) => report.fail("push", error.to_string(), what),
    }
}

fn oauth_client(report: &mut Report, config: &Config) {
    let about = "OAuth client";
    let what = "Set google.client_id and google.client_secret_file: see README.md, \"With Google\".";
    match (&config.google.client_id, &config.google.client_secret_file) {
        (None, _) => report.warn(about, "none is set, so nobody can connect a Google account", what),
        (Some(_), None) => report.fail(about, "google.client_secret_file is not set", what),
        (Some(_), Some(file)) => match read_secret(file) {
            Ok(_) => report.ok(about, "set, with its secret"),
            Err(error) => report.fail(about, format!("its secret cannot be read: {error}"), what),
        },
    }
}

async fn google_clock(report: &mut Report, config: &Config) {
    let about = "Google";
    let what = "Let this machine reach google.api_base_url; bookings go on meanwhile and are written later.";
    let endpoints = app::endpoints(config);
    let limits = google::Limits { request: GOOGLE_MAX, ..google::Limits::default() };
    match Transport::new(&endpoints, limits, Arc::new(|_| {})) {
        Ok(transport) => match transport.server_time(&config.google.api_base_url).await {
            Some(theirs) => clock(report, about, theirs, SystemClock.now(), DATE_BLUR),
            None => report.warn(about, "it does not answer", what),
        },
        Err(error) => report.fail(about, error.to_string(), "Install the package ca-certificates."),
    }
}

/// Opens the database as it is, and sees that this program understands it and its keys open it.
async fn open(report: &mut Report, config: &Config) -> Option<Store> {
    let keys = match master_keys(config) {
        Ok(keys) => Arc::new(keys),
        Err(error) => {
            let what = "Set keys.file to the key file, readable by this user. Without it the data cannot be read.";
            report.fail("keys", format!("{error:#}"), what);
            return None;
        }
    };
    let store = match app::open_store_to_read(config, keys).await {
        Ok(store) => store,
        Err(error) => {
            let what = "Run this as the user of the service, in its folder, and see that database.url is right.";
            report.fail("database", format!("{error:#}"), what);
            return None;
        }
    };
    match store.schema().await {
        Ok(schema) if !schema.unknown.is_empty() => {
            let found = "it was written by a newer slotd than this one";
            report.fail("database", found, "Use the program that wrote it.");
        }
        Ok(schema) if !schema.missing.is_empty() => {
            let found = format!("{} migrations are missing", schema.missing.len());
            report.fail("database", found, "Run `slotd migrate`, or restart the service.");
        }
        Ok(_) => {
            report.ok("database", format!("{}, of this version", store.engine_name()));
            return Some(store);
        }
        Err(error) => report.fail("database", error.to_string(), "Run `slotd migrate`, or restart the service."),
    }
    store.close().await;
    None
}

async fn database(report: &mut Report, config: &Config, store: &Store) {
    let unreadable = "See the log of the service, and restore a backup if a row is damaged.";
    if let Err(error) = store.check_keys().await {
        return report.fail("keys", error.to_string(), "Use the key file that this database was written with.");
    }
    let read = store::work::<_, store::Error, _>(|tx| Box::pin(async move { tx.database_time().await }));
    match store.read(read).await {
        Ok(theirs) => clock(report, "the database", theirs, SystemClock.now(), TimeDelta::zero()),
        Err(error) => report.fail("clock against the database", error.to_string(), unreadable),
    }
    let businesses = match every_business(store).await {
        Ok(businesses) => businesses,
        Err(error) => return report.fail("businesses", error.to_string(), unreadable),
    };
    let mut opened = 0;
    for business in businesses {
        match standing(store, business).await {
            Ok(standing) => {
                opened += standing.accounts.len() + standing.calendars.len();
                judge(report, config, &standing);
            }
            Err(error) => report.fail(format!("business {business}"), error.to_string(), unreadable),
        }
    }
    report.ok("keys", format!("they open what is stored ({opened} sealed rows were read)"));
    let read = store::work::<_, store::Error, _>(|tx| Box::pin(async move { tx.outbox_depth().await }));
    match store.read(read).await {
        Ok(depth) => outbox(report, depth, SystemClock.now()),
        Err(error) => report.fail("outbox", error.to_string(), unreadable),
    }
    let support = config.support.mail_to.is_some() || config.support.post_url.is_some();
    let read = store::work::<NoticesStanding, store::Error, _>(move |tx| {
        Box::pin(async move {
            Ok(NoticesStanding {
                depth: tx.notice_depth().await?,
                untold: tx.dead_operator_notices().await?,
                disabled: tx.disabled_endpoints().await?,
                support,
            })
        })
    });
    match store.read(read).await {
        Ok(standing) => notices(report, &standing, SystemClock.now()),
        Err(error) => report.fail("notices", error.to_string(), unreadable),
    }
}

/// What is known of one business.
struct Standing {
    accounts: Vec<Account>,
    calendars: Vec<Calendar>,
    audits: Vec<Audit>,
}

async fn standing(store: &Store, business: BusinessId) -> store::Result<Standing> {
    let read = store::work::<Standing, store::Error, _>(move |tx| {
        Box::pin(async move {
            Ok(Standing {
                accounts: tx.accounts(business).await?,
                calendars: tx.calendars(business).await?,
                audits: tx.latest_audits(business).await?,
            })
        })
    });
    store.read(read).await
}

fn judge(report: &mut Report, config: &Config, standing: &Standing) {
    for one in &standing.accounts {
        account(report, one);
    }
    let pushed_to = app::configured_push_address(config).is_ok_and(|url: Option<Url>| url.is_some());
    for one in &standing.calendars {
        let audits: Vec<Audit> = standing.audits.iter().filter(|audit| audit.calendar == one.id).cloned().collect();
        let around = Circumstances { now: SystemClock.now(), sync: &config.sync, pushed_to, audits: &audits };
        calendar(report, one, &around);
    }
}
