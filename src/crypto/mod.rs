//! Secrets at rest and tokens: AES-256-GCM envelopes, the phone index, API keys.
//!
//! ```text
//! key file (operator) ──▶ MasterKeys ──wraps──▶ BusinessKeys (one set per business, kept in its row)
//!                                                 ├─ DataKey  seals cells; each bound to its place in the tables
//!                                                 └─ IndexKey finds a phone number without storing it
//! ```
//!
//! Deleting a business's wrapped keys makes everything that it stored unreadable, also in backups.

mod business;
mod cell;
mod master;
mod token;

pub use business::{BusinessKeys, IndexKey};
pub use cell::{Cell, CryptoError, DataKey};
pub use master::{KeyFileError, MasterKeys};
pub use token::{ApiToken, NotAToken, equal, random_token, sha256};
