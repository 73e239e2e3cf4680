//! Who may ask (API keys), and on whose behalf Google is asked (connected accounts).

mod connect;
mod keys;
mod tokens;

pub use connect::{Connect, ConnectError, Connected, Foundation, Started, entry_calendar};
pub use keys::{Caller, Keys, NewKey};
pub use tokens::{Delegation, account_tokens};
