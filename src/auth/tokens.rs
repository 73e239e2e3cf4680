//! Access tokens of connected accounts: refreshed from what the store keeps.

use std::{collections::HashMap, sync::Arc};

use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};

use crate::{
    domain::SharedClock,
    google::{AccountKey, CachedTokens, FetchedToken, KNOWN_TO_BE_GONE, OAuth, ServiceAccount, TokenError},
    store::{
        self, Lane, Store,
        accounts::{Account, AccountKind, AccountStatus},
    },
};

/// Service accounts by the business that they act for.
pub type Delegation = Arc<HashMap<crate::domain::BusinessId, ServiceAccount>>;

/// The token source of the whole daemon: OAuth grants by their refresh tokens, delegated users by the business's service
/// account; each kept until shortly before it ends, and fetched once however many callers want it.
#[must_use]
pub fn account_tokens(store: Store, oauth: Option<OAuth>, delegation: Delegation, clock: SharedClock) -> CachedTokens {
    let fetch = move |key: AccountKey| -> BoxFuture<'static, Result<FetchedToken, TokenError>> {
        let (store, oauth, delegation) = (store.clone(), oauth.clone(), Arc::clone(&delegation));
        Box::pin(async move { fetch(&store, oauth, &delegation, key).await })
    };
    CachedTokens::new(Arc::new(fetch), clock)
}

async fn fetch(
    store: &Store,
    oauth: Option<OAuth>,
    delegation: &Delegation,
    key: AccountKey,
) -> Result<FetchedToken, TokenError> {
    let account = read(store, key).await?;
    if account.status != AccountStatus::Connected {
        return Err(TokenError::NeedsReconnect { reason: KNOWN_TO_BE_GONE.to_owned() });
    }
    let gone = || TokenError::NeedsReconnect { reason: "no credential is stored".to_owned() };
    let credential = account.credential.clone().ok_or_else(gone)?;
    match account.kind {
        AccountKind::ServiceAccount => {
            let missing = || TokenError::Misconfigured("the business has no service account".to_owned());
            delegation.get(&key.business).ok_or_else(missing)?.access_token(credential.expose_secret()).await
        }
        AccountKind::OAuth => {
            let missing = || TokenError::Misconfigured("no OAuth client is configured".to_owned());
            let grant = oauth.ok_or_else(missing)?.refresh(&credential).await?;
            if let Some(rotated) = grant.refresh_token.clone() {
                // Google rarely gives a new one; the old one may stop working then.
                save(store, account, rotated).await?;
            }
            Ok(grant.fetched())
        }
    }
}

async fn read(store: &Store, key: AccountKey) -> Result<Account, TokenError> {
    let find = store::work::<Option<Account>, store::Error, _>(move |tx| {
        Box::pin(async move { tx.account(key.business, key.account).await })
    });
    let found = store.read(find).await.map_err(unavailable)?;
    found.ok_or_else(|| TokenError::NeedsReconnect { reason: "there is no such account".to_owned() })
}

async fn save(store: &Store, account: Account, rotated: SecretString) -> Result<(), TokenError> {
    let save = store::work::<(), store::Error, _>(move |tx| {
        Box::pin(async move { tx.rotate_credential(&account, &rotated).await })
    });
    store.write(Lane::Background, save).await.map_err(unavailable)
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unavailable(error: store::Error) -> TokenError {
    TokenError::Unavailable { reason: error.to_string(), retry_after: None }
}
