//! The ways out, besides Google: signed webhooks and mail. They know nothing of what they carry.

mod guard;
mod mail;
mod webhook;

pub use guard::{BadUrl, check_url};
pub use mail::{MailError, Mailer, Relay, Security};
pub use webhook::{Failure, Message, Sender};
