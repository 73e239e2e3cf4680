//! The ways out, besides Google: notices to the businesses' programs, and the operator's support address.

use std::{sync::Arc, time::Duration};

use anyhow::Context;

use crate::{
    config::{Config, SmtpSecurity, read_secret},
    domain::{SharedChance, SharedClock},
    lifecycle::Lifecycle,
    notify::{Mailer, Relay, Security, Sender},
    outbox::{Notices, NoticesFoundation, Operator, Support},
    store::Store,
    telemetry::Metrics,
};

/// The longest time for one answer of a mail relay.
const MAIL_PATIENCE: Duration = Duration::from_secs(20);

/// What the workers stand on.
pub(super) struct Around<'a> {
    pub(super) store: &'a Store,
    pub(super) clock: &'a SharedClock,
    pub(super) chance: &'a SharedChance,
    pub(super) metrics: &'a Metrics,
}

/// Starts the workers.
pub(super) fn spawn(config: &Config, around: &Around<'_>, life: &Lifecycle) -> anyhow::Result<()> {
    let patience = Duration::from_secs(config.notify.request_timeout_s.into());
    let notices = Notices::new(NoticesFoundation {
        store: around.store.clone(),
        sender: Sender::new(config.notify.allow_local, patience)?,
        clock: Arc::clone(around.clock),
        chance: Arc::clone(around.chance),
        metrics: around.metrics.clone(),
        config: config.notify.clone(),
    });
    life.spawn("notices", notices.run(life.stopping()));
    let operator = Operator {
        store: around.store.clone(),
        support: support(config, patience)?,
        clock: Arc::clone(around.clock),
        chance: Arc::clone(around.chance),
        metrics: around.metrics.clone(),
        gather: Duration::from_secs(config.support.gather_s.into()),
        patience,
        retry_s: config.notify.retry_s.as_slice().into(),
    };
    life.spawn("operator", operator.run(life.stopping()));
    Ok(())
}

/// The ways to the operator that are configured.
pub(crate) fn support(config: &Config, patience: Duration) -> anyhow::Result<Support> {
    let section = &config.support;
    let mail = match (&section.mail_to, &section.mail_from, &section.smtp_host) {
        (Some(to), Some(from), Some(host)) => {
            let password = section.smtp_password_file.as_deref().map(read_secret).transpose()?;
            let relay = Relay {
                host: host.clone(),
                port: section.smtp_port,
                security: match section.smtp_security {
                    SmtpSecurity::Tls => Security::Tls,
                    SmtpSecurity::StartTls => Security::StartTls,
                    SmtpSecurity::None => Security::Plain,
                },
                login: section.smtp_user.clone().zip(password),
                patience: MAIL_PATIENCE,
            };
            Some(Mailer::new(relay, from, to).context("cannot set up mail to the operator")?)
        }
        _ => None,
    };
    let post = match &section.post_url {
        Some(url) => {
            let file = section.post_secret_file.as_deref();
            let file = file.context("support.post_url is set, so support.post_secret_file is needed too")?;
            // The operator's own address may be anywhere.
            Some((Sender::new(true, patience)?, url.clone(), read_secret(file)?))
        }
        None => None,
    };
    Ok(Support { mail, post })
}
