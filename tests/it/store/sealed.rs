//! What is personal or secret does not lie in the database in clear, and does not open anywhere but in its place.

use std::fs;

use data_encoding::HEXLOWER;
use slotd::{
    domain::{
        Event, EventKind, EventStatus,
        guests::{self, Known},
    },
    store::{
        Error, Sql,
        bookings::{Booking, Customer, EventLink},
        events::{Generation, MirroredEvent},
        idempotency::Remembered,
        oauth_states::OAuthState,
    },
};

use crate::harness::{
    Db, Raw, on_both_engines,
    samples::{account, at, between, booking, business, calendar, id, resource},
};

const NAME: &str = "Canary-Customer-Name";
const PHONE: &str = "+4915198765432";
const EMAIL: &str = "canary-customer@example.com";
const NOTES: &str = "Canary-Notes";
const OWNER: &str = "canary-owner@example.com";
const TOKEN: &str = "1//canary-refresh-token";
const TITLE: &str = "Canary-Event-Title";
const SUMMARY: &str = "Canary-Calendar-Summary";
const ANSWER: &str = "Canary-Idempotency-Body";
const VERIFIER: &str = "canary-code-verifier";
const CANARIES: [&str; 10] = [NAME, PHONE, EMAIL, NOTES, OWNER, TOKEN, TITLE, SUMMARY, ANSWER, VERIFIER];
/// Not secret, and therefore proof that looking finds what is there.
const SHOP: &str = "Canary-Shop";

fn state_hash(booking: &Booking) -> Vec<u8> {
    booking.id.uuid().as_bytes().repeat(2)
}

fn event_id(booking: &Booking) -> String {
    format!("event of {}", booking.id)
}

/// Fills one row of each table that has a sealed column, twice over. Gives the two bookings.
async fn fill(db: &Db) -> [Booking; 2] {
    let mut shop = business();
    SHOP.clone_into(&mut shop.name);
    let chair = resource(shop.id, 2);
    let row = (shop.clone(), chair.clone());
    db.write(move |tx| {
        Box::pin(async move {
            tx.insert_business(&row.0).await?;
            tx.insert_resource(&row.1).await
        })
    })
    .await
    .unwrap();
    let customer = Customer {
        name: NAME.to_owned(),
        phone: PHONE.to_owned(),
        email: Some(EMAIL.parse().unwrap()),
        language: None,
        notes: Some(NOTES.to_owned()),
    };
    let bookings = [(60, 90), (120, 150)]
        .map(|(from, to)| Booking { customer: Some(customer.clone()), ..booking(&chair, between(from, to)) });
    for booking in bookings.clone() {
        let mut account = account(shop.id);
        (account.email, account.credential) = (OWNER.to_owned(), Some(TOKEN.into()));
        let mut calendar = calendar(&account, None);
        SUMMARY.clone_into(&mut calendar.summary);
        let event = Event {
            id: "event".to_owned(),
            kind: EventKind::Single,
            status: EventStatus::Cancelled,
            times: None,
            transparent: false,
            declined: false,
        };
        let event = MirroredEvent { event, etag: None, title: Some(TITLE.to_owned()) };
        let answer = Remembered { request_hash: vec![1], status: 201, body: ANSWER.as_bytes().to_vec() };
        let state = OAuthState {
            state_hash: state_hash(&booking),
            business: shop.id,
            verifier: VERIFIER.to_owned(),
            browser_hash: vec![1],
            return_to: None,
            expires_at: at(10),
        };
        let link = EventLink {
            calendar: calendar.id,
            event_id: event_id(&booking),
            generation: 0,
            sent: None,
            written: None,
            etag: None,
            recheck: false,
            gone: None,
        };
        let linked = Booking { link: Some(link), ..booking.clone() };
        let guest = Known { state: guests::State::Invited, emails: vec![EMAIL.parse().unwrap()] };
        let written = db.write(move |tx| {
            Box::pin(async move {
                let business = booking.business;
                tx.save_account(&account).await?;
                tx.insert_calendar(&calendar).await?;
                tx.put_events(Generation { business, calendar: calendar.id, number: 1 }, &[event]).await?;
                tx.insert_booking(&booking).await?;
                tx.own_event(&linked).await?;
                tx.keep_event_guest(business, &event_id(&linked), &guest).await?;
                tx.remember(business, &booking.id.to_string(), &answer).await?;
                tx.insert_oauth_state(&state).await
            })
        });
        written.await.unwrap();
    }
    bookings
}

/// Everything that lies in the database: the bytes of SQLite's files; on PostgreSQL each row as text, where bytes show
/// as hexadecimal digits.
async fn all_bytes(db: &Db, raw: &Raw) -> Vec<u8> {
    if let Some(folder) = db.folder() {
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        return files.flat_map(|file| fs::read(file).unwrap()).collect();
    }
    let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1";
    let Raw::Postgres(pool) = raw else { unreachable!("SQLite has a folder") };
    let tables: Vec<(String,)> = sqlx::query_as(tables).fetch_all(pool).await.unwrap();
    let mut all = Vec::new();
    for (table,) in tables {
        let text = sqlx::AssertSqlSafe(format!("SELECT t::text FROM {table} t"));
        let rows: Vec<(String,)> = sqlx::query_as(text).fetch_all(pool).await.unwrap();
        all.extend(rows.into_iter().flat_map(|(row,)| row.into_bytes()));
    }
    all
}

fn holds(all: &[u8], needle: &[u8]) -> bool {
    all.windows(needle.len()).any(|window| window == needle)
}

/// Copies a sealed value from one row of a table to all others.
async fn paste(raw: &Raw, table: &str, to: &str, from: &str, key: &str) {
    let sql = format!("UPDATE {table} SET {to} = (SELECT {from} FROM {table} ORDER BY {key} LIMIT 1)");
    assert_eq!(raw.execute(&sql).await.unwrap(), 2, "{table}");
}

on_both_engines! {
    async fn nothing_personal_or_secret_lies_in_clear(db: Db) {
        fill(&db).await;
        let raw = db.raw(1).await;
        let all = all_bytes(&db, &raw).await;
        assert!(holds(&all, SHOP.as_bytes()), "looking finds nothing at all");
        for canary in CANARIES {
            assert!(!holds(&all, canary.as_bytes()), "{canary}");
            assert!(!holds(&all, HEXLOWER.encode(canary.as_bytes()).as_bytes()), "{canary}, as bytes");
        }
        let sealed: Vec<(i64,)> = raw.rows(Sql::same("SELECT COUNT(*) FROM event WHERE title IS NOT NULL")).await;
        assert_eq!(sealed, [(2,)]);
    }

    async fn a_sealed_value_does_not_open_in_another_row(db: Db) {
        let bookings = fill(&db).await;
        let raw = db.raw(1).await;
        let business = bookings[0].business;
        let sealed = [
            ("booking", "customer", "id"),
            ("account", "credential", "id"),
            ("calendar", "summary", "id"),
            ("idempotency", "body", "key"),
            ("oauth_state", "verifier", "state_hash"),
            ("event_guest", "emails", "event_id"),
        ];
        for (table, column, key) in sealed {
            paste(&raw, table, column, column, key).await;
        }
        let (first, second, state) = (bookings[0].id, bookings[1].id, state_hash(&bookings[1]));
        assert!(db.read(move |tx| Box::pin(tx.booking(business, first))).await.is_some(), "this one is where it was");
        let guest = event_id(&bookings[1]);
        let moved = [
            db.store
                .read(move |tx| Box::pin(async move { tx.event_guest(business, &guest).await.map(drop) }))
                .await,
            db.store.read(move |tx| Box::pin(async move { tx.booking(business, second).await.map(drop) })).await,
            db.store.read(move |tx| Box::pin(async move { tx.accounts(business).await.map(drop) })).await,
            db.store.read(move |tx| Box::pin(async move { tx.calendars(business).await.map(drop) })).await,
            db.store
                .read(move |tx| Box::pin(async move { tx.remembered(business, &second.to_string()).await.map(drop) }))
                .await,
            db.write(move |tx| Box::pin(async move { tx.take_oauth_state(&state).await.map(drop) })).await,
        ];
        assert!(moved.iter().all(|moved| matches!(moved, Err(Error::Sealed(_)))), "{moved:?}");
    }

    async fn a_sealed_value_does_not_open_in_another_column_or_business(db: Db) {
        let bookings = fill(&db).await;
        let raw = db.raw(1).await;
        let business = bookings[0].business;
        raw.execute("UPDATE account SET email = credential").await.unwrap();
        let swapped = db.store.read(move |tx| Box::pin(async move { tx.accounts(business).await.map(drop) })).await;
        assert!(matches!(swapped, Err(Error::Sealed(_))), "{swapped:?}");

        let other = db.shop(1).await.business.id;
        let node = db.another_node(1).await;
        let keys = format!(
            "UPDATE business SET wrapped_keys = (SELECT wrapped_keys FROM business WHERE id = '{business}')
                             WHERE id = '{other}'"
        );
        assert_eq!(raw.execute(&keys).await.unwrap(), 1);
        assert!(matches!(node.keys(other).await, Err(Error::Sealed(_))));
        assert!(node.keys(business).await.is_ok());
        assert!(matches!(node.keys(id()).await, Err(Error::NoBusiness)));
    }

    async fn two_customers_with_one_number_are_found_by_it_within_a_business_only(db: Db) {
        fill(&db).await;
        fill(&db).await;
        let raw = db.raw(1).await;
        let found: Vec<(i64,)> =
            raw.rows(Sql::same("SELECT COUNT(*) FROM booking GROUP BY phone_index ORDER BY 1")).await;
        assert_eq!(found, [(2,), (2,)], "one number of one business has one index");
    }
}
