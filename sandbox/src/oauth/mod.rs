//! Google's OAuth 2.0 endpoints: authorization, tokens, revocation and userinfo.

mod authorize;
mod grants;
mod token;

pub(crate) use authorize::{authorize, consent};
pub use grants::ClientCredentials;
pub(crate) use grants::Grants;
pub(crate) use token::{revoke, token, userinfo};
