//! Connected Google accounts and their credentials.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{Error, Result, Sql, Tx, claims::Source, execute, fetch, instant, micros, notices::Announcement, parse};
use crate::{
    crypto::Cell,
    domain::{AccountId, BusinessId, notice::Kind},
};

/// How slotd acts for an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountKind {
    /// The owner consented in a browser; the credential is a refresh token.
    OAuth,
    /// A Workspace administrator delegated; the credential is the user to act as.
    ServiceAccount,
}

/// Whether Google still lets slotd in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountStatus {
    /// As far as is known.
    Connected,
    /// Google ended the grant: only the owner can renew it.
    NeedsReconnect,
    /// The owner ended it here.
    Disconnected,
}

impl AccountStatus {
    /// The word for it, in the table and in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::NeedsReconnect => "needs_reconnect",
            Self::Disconnected => "disconnected",
        }
    }
}

impl fmt::Display for AccountStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for AccountStatus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Connected, Self::NeedsReconnect, Self::Disconnected]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no account status"))
    }
}

/// A connected Google account.
#[derive(Debug, Clone)]
pub struct Account {
    /// The tenant.
    pub business: BusinessId,
    /// Its id.
    pub id: AccountId,
    /// How slotd acts for it.
    pub kind: AccountKind,
    /// Google's `sub`, which never changes, unlike the e-mail address.
    pub subject: String,
    /// What the owner knows it by.
    pub email: String,
    /// Whether Google still lets slotd in.
    pub status: AccountStatus,
    /// The refresh token or the delegated user; none once disconnected.
    pub credential: Option<SecretString>,
    /// The scopes that were granted.
    pub scopes: Vec<String>,
    /// What went wrong last, in words without secrets.
    pub last_error: Option<String>,
    /// The latest consent.
    pub connected_at: DateTime<Utc>,
    /// The first consent.
    pub created_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    business_id: String,
    id: String,
    kind: String,
    subject: String,
    email: Vec<u8>,
    status: String,
    credential: Option<Vec<u8>>,
    scopes: String,
    last_error: Option<String>,
    connected_at: i64,
    created_at: i64,
}

const T: &str = "account";
const UPSERT: Sql = Sql::same(
    "INSERT INTO account (business_id, id, kind, subject, email, status, credential, scopes, last_error, connected_at,
                          created_at)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
     ON CONFLICT (business_id, id) DO UPDATE
        SET email = excluded.email, status = excluded.status, credential = excluded.credential,
            scopes = excluded.scopes, last_error = excluded.last_error, connected_at = excluded.connected_at",
);
const LIST: Sql = Sql::same(
    "SELECT business_id, id, kind, subject, email, status, credential, scopes, last_error, connected_at, created_at
       FROM account WHERE business_id = $1 ORDER BY id",
);
const SELECT: Sql = Sql::same(
    "SELECT business_id, id, kind, subject, email, status, credential, scopes, last_error, connected_at, created_at
       FROM account WHERE business_id = $1 AND id = $2",
);
/// On SQLite a writing transaction is alone already.
const STANDING: Sql = Sql {
    sqlite: "SELECT status FROM account WHERE business_id = $1 AND id = $2",
    postgres: "SELECT status FROM account WHERE business_id = $1 AND id = $2 FOR SHARE",
};
const MARK: Sql = Sql::same(
    "UPDATE account SET status = $3, last_error = $4 WHERE business_id = $1 AND id = $2 AND status = 'connected'
        AND connected_at <= $5",
);
const ROTATE: Sql =
    Sql::same("UPDATE account SET credential = $3 WHERE business_id = $1 AND id = $2 AND connected_at = $4");
pub(super) const STATEMENTS: &[(&str, Sql)] = &[
    ("UPSERT", UPSERT),
    ("LIST", LIST),
    ("SELECT", SELECT),
    ("STANDING", STANDING),
    ("MARK", MARK),
    ("ROTATE", ROTATE),
];

fn cell<'a>(business: BusinessId, column: &'static str, row: &'a str) -> Cell<'a> {
    Cell { business, table: T, column, row }
}

impl Tx {
    async fn read_account(&mut self, row: Row) -> Result<Account> {
        let business = parse(T, "business_id", &row.business_id)?;
        let keys = self.keys(business).await?;
        let text = |column, sealed: &[u8]| -> Result<String> {
            let plain = keys.data.open(&cell(business, column, &row.id), sealed)?;
            String::from_utf8(plain.to_vec()).map_err(|error| Error::Corrupt {
                table: T,
                column,
                why: error.to_string(),
            })
        };
        Ok(Account {
            business,
            id: parse(T, "id", &row.id)?,
            kind: match row.kind.as_str() {
                "oauth" => AccountKind::OAuth,
                "service_account" => AccountKind::ServiceAccount,
                other => return Err(Error::Corrupt { table: T, column: "kind", why: format!("`{other}`") }),
            },
            email: text("email", &row.email)?,
            status: parse(T, "status", &row.status)?,
            credential: row
                .credential
                .as_deref()
                .map(|sealed| text("credential", sealed).map(Into::into))
                .transpose()?,
            scopes: row.scopes.split_whitespace().map(str::to_owned).collect(),
            subject: row.subject,
            last_error: row.last_error,
            connected_at: instant(T, "connected_at", row.connected_at)?,
            created_at: instant(T, "created_at", row.created_at)?,
        })
    }

    /// Adds an account, or renews one that has the same id.
    pub async fn save_account(&mut self, account: &Account) -> Result<()> {
        let keys = self.keys(account.business).await?;
        let (id, chance) = (account.id.to_string(), self.chance().clone());
        let seal = |column, text: &str| keys.data.seal(&cell(account.business, column, &id), text.as_bytes(), &*chance);
        let kind = match account.kind {
            AccountKind::OAuth => "oauth",
            AccountKind::ServiceAccount => "service_account",
        };
        let email = seal("email", &account.email);
        let credential = account.credential.as_ref().map(|secret| seal("credential", secret.expose_secret()));
        execute!(
            self,
            UPSERT,
            account.business.to_string(),
            &id,
            kind,
            &account.subject,
            &email,
            account.status.as_str(),
            credential.as_deref(),
            account.scopes.join(" "),
            account.last_error.as_deref(),
            micros(account.connected_at),
            micros(account.created_at),
        )?;
        Ok(())
    }

    /// Every account of a business, oldest first.
    pub async fn accounts(&mut self, business: BusinessId) -> Result<Vec<Account>> {
        let rows: Vec<Row> = fetch!(fetch_all, self, LIST, business.to_string())?;
        let mut accounts = Vec::with_capacity(rows.len());
        for row in rows {
            accounts.push(self.read_account(row).await?);
        }
        Ok(accounts)
    }

    /// The account with this id.
    pub async fn account(&mut self, business: BusinessId, id: AccountId) -> Result<Option<Account>> {
        let row: Option<Row> = fetch!(fetch_optional, self, SELECT, business.to_string(), id.to_string())?;
        match row {
            Some(row) => self.read_account(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether Google lets slotd in, which cannot change until this transaction ends: whoever connects the account anew
    /// comes before or after it, and then finds what it leaves.
    pub async fn hold_account_status(&mut self, business: BusinessId, id: AccountId) -> Result<Option<AccountStatus>> {
        let row: Option<(String,)> = fetch!(fetch_optional, self, STANDING, business.to_string(), id.to_string())?;
        row.map(|(status,)| parse(T, "status", &status)).transpose()
    }

    /// Keeps the refresh token that Google gave in exchange for the one of `account`, unless the owner consented anew
    /// meanwhile.
    pub async fn rotate_credential(&mut self, account: &Account, credential: &SecretString) -> Result<()> {
        let keys = self.keys(account.business).await?;
        let id = account.id.to_string();
        let cell = cell(account.business, "credential", &id);
        let sealed = keys.data.seal(&cell, credential.expose_secret().as_bytes(), &**self.chance());
        execute!(self, ROTATE, account.business.to_string(), &id, &sealed, micros(account.connected_at))?;
        Ok(())
    }

    /// Notes that Google ended the grant, or that it does not allow what slotd needs. `false` when the account was not connected any more.
    ///
    /// `asked_at` is when Google was asked: a consent that came since is not touched.
    pub async fn mark_needs_reconnect(
        &mut self,
        business: BusinessId,
        id: AccountId,
        asked_at: DateTime<Utc>,
        why: &str,
    ) -> Result<bool> {
        let status = AccountStatus::NeedsReconnect.as_str();
        let news = execute!(self, MARK, business.to_string(), id.to_string(), status, why, micros(asked_at))? > 0;
        if news {
            self.give_account_channels_up(business, id).await?;
            let announcement = Announcement::new(Kind::NeedsReconnect, Source::Slotd);
            self.announce(business, Announcement { account: Some(id), why: Some(why), ..announcement }).await?;
        }
        Ok(news)
    }
}
