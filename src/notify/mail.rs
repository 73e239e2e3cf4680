//! Mail over SMTP.

use std::time::Duration;

use lettre::{
    AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor,
    message::{Mailbox, header::ContentType},
    transport::smtp::{
        authentication::Credentials,
        client::{Tls, TlsParameters},
    },
};
use secrecy::{ExposeSecret, SecretString};

/// How the way to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the start.
    Tls,
    /// TLS after a command; without it nothing is sent.
    StartTls,
    /// None.
    Plain,
}

/// The server that takes mails.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Its name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the way there is protected.
    pub security: Security,
    /// Name and password, if it wants them.
    pub login: Option<(String, SecretString)>,
    /// The longest time for one of its answers.
    pub patience: Duration,
}

/// Why a mail was not taken. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// An address, or the relay's TLS, cannot be used.
    #[error("the settings of mail cannot be used: {0}")]
    Settings(String),
    /// The relay refused it, or did not answer.
    #[error("the mail relay did not take it: {0}")]
    Relay(String),
}

/// Sends mails from one address to another.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Mailbox,
    deadline: Duration,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").finish_non_exhaustive()
    }
}

impl Mailer {
    /// Sends through `relay`. Nobody is asked yet.
    ///
    /// # Errors
    ///
    /// [`MailError::Settings`].
    pub fn new(relay: Relay, from: &str, to: &str) -> Result<Self, MailError> {
        let wrong = |error: &dyn std::fmt::Display| MailError::Settings(error.to_string());
        let parameters = || TlsParameters::new(relay.host.clone()).map_err(|error| wrong(&error));
        let tls = match relay.security {
            Security::Tls => Tls::Wrapper(parameters()?),
            Security::StartTls => Tls::Required(parameters()?),
            Security::Plain => Tls::None,
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&relay.host)
            .port(relay.port)
            .timeout(Some(relay.patience))
            .tls(tls);
        if let Some((name, password)) = relay.login {
            transport = transport.credentials(Credentials::new(name, password.expose_secret().to_owned()));
        }
        let address = |text: &str| text.parse::<Mailbox>().map_err(|error| wrong(&error));
        // A conversation has several answers, each of which may take its time.
        let deadline = relay.patience * 3;
        Ok(Self { transport: transport.build(), from: address(from)?, to: address(to)?, deadline })
    }

    /// The longest time that one mail takes.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Sends one mail, once. `id` stays the same for each try, so that a mailbox knows what it has already.
    ///
    /// # Errors
    ///
    /// [`MailError`].
    pub async fn send(&self, id: &str, subject: &str, body: &str) -> Result<(), MailError> {
        let mail = Message::builder()
            .from(self.from.clone())
            .to(self.to.clone())
            .message_id(Some(format!("<{id}@slotd.invalid>")))
            .subject(subject)
            .header(ContentType::TEXT_PLAIN)
            .body(body.to_owned())
            .map_err(|error| MailError::Settings(error.to_string()))?;
        match tokio::time::timeout(self.deadline, self.transport.send(mail)).await {
            Ok(Ok(_)) => Ok(()),
            // What the relay says may repeat addresses.
            Ok(Err(error)) => Err(MailError::Relay(error.status().map_or_else(
                || if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() },
                |code| format!("code {code}"),
            ))),
            Err(_) => Err(MailError::Relay("no answer in time".to_owned())),
        }
    }
}
