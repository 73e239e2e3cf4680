//! Google's OAuth 2.0 endpoints: authorization, tokens, revocation and userinfo.

mod authorize;
mod grants;
mod identity;
mod token;

pub(crate) use authorize::{authorize, consent};
pub use grants::ClientCredentials;
pub use grants::GrantEnd;
pub(crate) use grants::Grants;
pub(crate) use identity::{certs, configuration};
pub(crate) use token::{revoke, token, userinfo};
