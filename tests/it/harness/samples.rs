//! Small rows to begin a test with. Every id is new; times are minutes after [`START`].

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use slotd::{
    availability::{Language, Policy, Rules, WeeklyHours, WhenStale, WhenUnknown},
    domain::{BusinessId, Chance, Id, Interval, ResourceId, booking::State, clock::SystemChance},
    store::{
        accounts::{Account, AccountKind, AccountStatus},
        bookings::{Booking, CalendarSync, Customer},
        businesses::Business,
        calendars::{Calendar, Mirror},
        resources::Resource,
        services::Service,
    },
};

use super::Db;

/// 2027-03-01T09:00:00Z, a Monday.
pub(crate) const START: DateTime<Utc> = DateTime::from_timestamp(1_803_891_600, 0).unwrap();

/// `minute` minutes after [`START`].
pub(crate) fn at(minute: i64) -> DateTime<Utc> {
    START + TimeDelta::minutes(minute)
}

/// `[from, to)`, in minutes after [`START`].
pub(crate) fn between(from: i64, to: i64) -> Interval {
    Interval::new(at(from), at(to)).unwrap()
}

/// A new id. It sorts behind those made before it.
pub(crate) fn id<K>() -> Id<K> {
    static MADE: AtomicI64 = AtomicI64::new(0);
    let made = MADE.fetch_add(1, Ordering::Relaxed);
    Id::new(SystemChance.uuid(START + TimeDelta::milliseconds(made)))
}

/// A business with the rows that most tests need, in the database.
pub(crate) struct Shop {
    pub(crate) business: Business,
    pub(crate) resource: Resource,
    pub(crate) account: Account,
    /// The resource's target; it blocks.
    pub(crate) calendar: Calendar,
}

impl Db {
    /// A shop whose one resource takes `capacity` bookings at once.
    pub(crate) async fn shop(&self, capacity: u32) -> Shop {
        let business = business();
        let resource = resource(business.id, capacity);
        let account = account(business.id);
        let calendar = calendar(&account, Some(resource.id));
        let shop = Shop { business, resource, account, calendar };
        let rows = (shop.business.clone(), shop.resource.clone(), shop.account.clone(), shop.calendar.clone());
        let written = self.write(move |tx| {
            Box::pin(async move {
                tx.insert_business(&rows.0).await?;
                tx.insert_resource(&rows.1).await?;
                tx.save_account(&rows.2).await?;
                tx.insert_calendar(&rows.3).await
            })
        });
        written.await.unwrap();
        shop
    }

    /// Puts a booking and its claim into the database.
    pub(crate) async fn insert(&self, booking: &Booking, exclusive: bool, forced: bool) -> slotd::store::Result<()> {
        let booking = booking.clone();
        self.write(move |tx| {
            Box::pin(async move {
                tx.insert_booking(&booking).await?;
                tx.insert_claim(&booking, booking.resource, exclusive, forced).await
            })
        })
        .await
    }
}

pub(crate) fn business() -> Business {
    Business {
        language: Language::German,
        id: id(),
        name: "Salon Aurora".to_owned(),
        time_zone: Tz::Europe__Berlin,
        region: "DE".to_owned(),
        hours: WeeklyHours::always(),
        event_title: "{service} - {name}".to_owned(),
        event_body: "Phone: {phone}".to_owned(),
        invite_customers: true,
        freshness: Policy { stale: WhenStale::Refuse, unknown: WhenUnknown::Answer },
        calendar_changes: slotd::domain::reconcile::Policy::KeepAndAlert,
        created_at: START,
    }
}

pub(crate) fn resource(business: BusinessId, capacity: u32) -> Resource {
    Resource {
        business,
        id: id(),
        name: "Chair 1".to_owned(),
        time_zone: None,
        hours: None,
        capacity,
        created_at: START,
    }
}

pub(crate) fn service(business: BusinessId, resources: Vec<ResourceId>) -> Service {
    Service {
        business,
        id: id(),
        name: "Haircut".to_owned(),
        rules: Rules {
            duration: TimeDelta::minutes(45),
            buffer_before: TimeDelta::minutes(5),
            buffer_after: TimeDelta::minutes(10),
            slot_step: TimeDelta::minutes(20),
            minimum_notice: TimeDelta::minutes(90),
            horizon: TimeDelta::days(60),
            daily_cap: Some(7),
        },
        resources,
        needs: Vec::new(),
        created_at: START,
    }
}

pub(crate) fn account(business: BusinessId) -> Account {
    let account = id();
    Account {
        business,
        id: account,
        kind: AccountKind::OAuth,
        subject: format!("subject {account}"),
        email: "aurora@example.com".to_owned(),
        status: AccountStatus::Connected,
        credential: Some("1//refresh".into()),
        scopes: vec!["openid".to_owned(), "https://www.googleapis.com/auth/calendar.events".to_owned()],
        last_error: None,
        connected_at: START,
        created_at: START,
    }
}

/// A calendar that nothing was read from yet; of `resource`, it blocks and is the target.
pub(crate) fn calendar(account: &Account, resource: Option<ResourceId>) -> Calendar {
    let calendar = id();
    Calendar {
        business: account.business,
        id: calendar,
        account: account.id,
        google_id: format!("{calendar}@group.calendar.google.com"),
        summary: "Chair 1's calendar".to_owned(),
        time_zone: Tz::Europe__Berlin,
        access_role: "owner".to_owned(),
        resource,
        blocks: resource.is_some(),
        target: resource.is_some(),
        mirror: Mirror { due_at: START, ..Mirror::unread(account.status) },
    }
}

/// A confirmed booking without buffers or an event.
pub(crate) fn booking(resource: &Resource, interval: Interval) -> Booking {
    Booking {
        business: resource.business,
        id: id(),
        state: State::Confirmed { at: START },
        resource: resource.id,
        service: None,
        interval,
        buffer_before: TimeDelta::zero(),
        buffer_after: TimeDelta::zero(),
        customer: Some(Customer {
            name: "Ada Lovelace".to_owned(),
            phone: "+4915112345678".to_owned(),
            email: None,
            language: None,
            notes: None,
        }),
        reference: None,
        call_id: None,
        version: 1,
        link: None,
        calendar_sync: CalendarSync::None,
        created_at: START,
        updated_at: START,
    }
}
