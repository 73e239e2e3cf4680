//! API keys: made once, shown once, kept as hashes.

use chrono::{DateTime, Utc};

use crate::{
    crypto::{ApiToken, equal},
    domain::{BusinessId, SharedChance, SharedClock, id::ApiKeyId},
    store::{
        self, Lane, Store,
        api_keys::{ApiKey, Scope},
    },
};

/// Looks keys up. Cheap to clone.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    clock: SharedClock,
    chance: SharedChance,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// With which key.
    pub key: ApiKeyId,
    /// The one business that the key is good for; every business when absent.
    pub business: Option<BusinessId>,
    /// What the key may do.
    pub scope: Scope,
}

/// A key to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// The one business that it is good for; every business when absent.
    pub business: Option<BusinessId>,
    /// What it may do.
    pub scope: Scope,
    /// Whose it is, in the operator's words.
    pub label: String,
    /// From then on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Keys {
    /// The keys in a store.
    #[must_use]
    pub const fn new(store: Store, clock: SharedClock, chance: SharedChance) -> Self {
        Self { store, clock, chance }
    }

    /// Makes a key. Its text is shown this once.
    ///
    /// # Errors
    ///
    /// When the business does not exist, or the database fails.
    pub async fn create(&self, new: NewKey) -> store::Result<(ApiKey, ApiToken)> {
        let now = self.clock.now();
        let token = ApiToken::generate(&*self.chance);
        let key = ApiKey {
            id: ApiKeyId::new(self.chance.uuid(now)),
            business: new.business,
            prefix: token.prefix().to_owned(),
            hash: token.hash().to_vec(),
            scope: new.scope,
            label: new.label,
            expires_at: new.expires_at,
            revoked_at: None,
            created_at: now,
        };
        let row = key.clone();
        self.store
            .write(
                Lane::Caller,
                store::work::<(), store::Error, _>(move |tx| {
                    Box::pin(async move {
                        if let Some(business) = row.business {
                            tx.business(business).await?.ok_or(store::Error::NoBusiness)?;
                        }
                        tx.insert_api_key(&row).await
                    })
                }),
            )
            .await?;
        Ok((key, token))
    }

    /// Who sent `text`. `None` for anything but a key that is valid now; which of the reasons it is, nobody learns.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn caller(&self, text: &str) -> store::Result<Option<Caller>> {
        let Ok(token) = ApiToken::parse(text) else { return Ok(None) };
        let prefix = token.prefix().to_owned();
        let find = store::work::<Option<ApiKey>, store::Error, _>(move |tx| {
            Box::pin(async move { tx.api_key(&prefix).await })
        });
        let Some(key) = self.store.read(find).await? else { return Ok(None) };
        let now = self.clock.now();
        let good = equal(&token.hash(), &key.hash)
            && key.revoked_at.is_none()
            && key.expires_at.is_none_or(|expires_at| now < expires_at);
        Ok(good.then_some(Caller { key: key.id, business: key.business, scope: key.scope }))
    }
}
