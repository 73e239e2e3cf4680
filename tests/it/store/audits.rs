//! Which mirrors are audited when, and what is kept of it.

use std::time::Duration;

use chrono::TimeDelta;
use slotd::store::{
    Error,
    audits::{Audit, AuditLease, AuditNext, AuditOutcome},
};

use crate::harness::{
    Db, on_both_engines,
    samples::{START, Shop, at},
};

const LEASE: Duration = Duration::from_mins(1);
const NOTHING: AuditNext = AuditNext { due_at: None, drifts: 0, heal_after: None, healing: None };

/// A shop whose calendar was mirrored.
async fn mirrored(db: &Db) -> Shop {
    let shop = db.shop(1).await;
    let raw = db.raw(1).await;
    raw.execute(&format!("UPDATE calendar SET as_of = 1 WHERE id = '{}'", shop.calendar.id)).await.unwrap();
    shop
}

async fn order(db: &Db, shop: &Shop, minute: i64) {
    let (business, calendar) = (shop.business.id, shop.calendar.id);
    db.write(move |tx| Box::pin(tx.order_audit(business, calendar, at(minute)))).await.unwrap();
}

async fn claim(db: &Db) -> Option<AuditLease> {
    db.write(move |tx| Box::pin(tx.claim_audit(LEASE))).await.unwrap()
}

fn result(lease: &AuditLease, minute: i64, outcome: AuditOutcome) -> Audit {
    Audit {
        business: lease.business,
        calendar: lease.calendar,
        started_at: at(minute),
        finished_at: at(minute + 1),
        outcome,
        missing: TimeDelta::seconds(90),
        surplus: TimeDelta::microseconds(1),
        events_differing: 2,
        events_compared: 7,
        healed_at: None,
        why: None,
    }
}

async fn finish(db: &Db, lease: AuditLease, audit: Audit, next: AuditNext) -> Result<(), Error> {
    db.write(move |tx| Box::pin(async move { tx.finish_audit(&lease, &audit, &next).await })).await
}

async fn latest(db: &Db, shop: &Shop) -> Vec<Audit> {
    let business = shop.business.id;
    db.read(move |tx| Box::pin(tx.latest_audits(business))).await
}

on_both_engines! {
    async fn a_due_audit_is_taken_once_and_its_result_is_kept(db: Db) {
        let shop = mirrored(&db).await;
        assert_eq!(claim(&db).await, None);
        order(&db, &shop, 5).await;
        assert_eq!(claim(&db).await, None, "it is not due yet");
        order(&db, &shop, -5).await;
        order(&db, &shop, 3).await;
        let lease = claim(&db).await.unwrap();
        assert_eq!((lease.business, lease.calendar), (shop.business.id, shop.calendar.id));
        assert_eq!(claim(&db).await, None, "somebody makes it");
        let audit = result(&lease, 0, AuditOutcome::Equal);
        finish(&db, lease, audit.clone(), NOTHING).await.unwrap();
        assert_eq!(claim(&db).await, None, "it is made");
        assert_eq!(latest(&db, &shop).await, [audit]);
    }

    async fn an_audit_that_was_asked_for_while_one_ran_is_made_after_it(db: Db) {
        let shop = mirrored(&db).await;
        order(&db, &shop, -5).await;
        let lease = claim(&db).await.unwrap();
        db.clock.advance(TimeDelta::minutes(2));
        order(&db, &shop, 2).await;
        finish(&db, lease, result(&lease, 0, AuditOutcome::Equal), NOTHING).await.unwrap();
        assert!(claim(&db).await.is_some());
    }

    async fn whoever_lost_its_lease_keeps_no_result(db: Db) {
        let shop = mirrored(&db).await;
        order(&db, &shop, -5).await;
        let lease = claim(&db).await.unwrap();
        let keep = |length| db.write(move |tx| Box::pin(async move { tx.keep_audit(&lease, length).await }));
        keep(Duration::from_millis(1)).await.unwrap();
        db.outlast(Duration::from_millis(5)).await;
        let other = claim(&db).await.unwrap();
        assert!(other.fence > lease.fence);
        assert!(matches!(keep(LEASE).await, Err(Error::LeaseLost)));
        let late = finish(&db, lease, result(&lease, 0, AuditOutcome::Drift), NOTHING).await;
        assert!(matches!(late, Err(Error::LeaseLost)));
        assert_eq!(latest(&db, &shop).await, []);
    }

    async fn drift_stays_on_record_until_an_equal_audit_and_is_forgotten_in_time(db: Db) {
        let shop = mirrored(&db).await;
        let figures = || db.read(|tx| Box::pin(tx.audit_figures()));
        assert_eq!((figures().await.oldest, figures().await.drifting), (Some(START), 0), "since the calendar came");
        order(&db, &shop, -5).await;
        let lease = claim(&db).await.unwrap();
        let next = AuditNext { due_at: Some(at(0)), drifts: 1, heal_after: Some(at(60)), healing: Some(at(0)) };
        let drift = result(&lease, 0, AuditOutcome::Drift);
        finish(&db, lease, drift.clone(), next).await.unwrap();
        assert_eq!((figures().await.oldest, figures().await.drifting), (Some(at(0)), 1));

        let lease = claim(&db).await.unwrap();
        assert_eq!((lease.drifts, lease.heal_after, lease.healing), (1, Some(at(60)), Some(at(0))));
        let failed = Audit { why: Some("no answer".to_owned()), ..result(&lease, 10, AuditOutcome::Failed) };
        finish(&db, lease, failed.clone(), next).await.unwrap();
        assert_eq!(figures().await.drifting, 1, "a failure proves nothing");
        assert_eq!(latest(&db, &shop).await, [failed, drift.clone()]);

        let lease = claim(&db).await.unwrap();
        let equal = result(&lease, 20, AuditOutcome::Equal);
        finish(&db, lease, equal.clone(), NOTHING).await.unwrap();
        assert_eq!(figures().await.drifting, 0);
        let healed = Audit { healed_at: Some(equal.finished_at), ..drift };
        assert_eq!(latest(&db, &shop).await, [equal.clone(), healed]);

        let forget = |minute| db.write(move |tx| Box::pin(tx.forget_audits(at(minute))));
        assert_eq!((forget(20).await.unwrap(), forget(20).await.unwrap()), (2, 0));
        assert_eq!(latest(&db, &shop).await, [equal]);
    }

    async fn those_whose_last_audit_is_oldest_come_first(db: Db) {
        let (one, two, three) = (mirrored(&db).await, mirrored(&db).await, mirrored(&db).await);
        let unread = db.shop(1).await;
        for (shop, minute, outcome) in [(&two, -300, AuditOutcome::Equal), (&three, -200, AuditOutcome::Failed)] {
            order(&db, shop, -400).await;
            let lease = claim(&db).await.unwrap();
            finish(&db, lease, result(&lease, minute, outcome), NOTHING).await.unwrap();
        }
        let find = |before, failed, limit| {
            db.read(move |tx| Box::pin(async move {
                let found = tx.audits_to_order(at(before), at(failed), limit).await?;
                Ok(found.into_iter().map(|(_, calendar)| calendar).collect::<Vec<_>>())
            }))
        };
        let (one, two, three) = (one.calendar.id, two.calendar.id, three.calendar.id);
        assert_eq!(find(-100, -100, 9).await, [one, two, three]);
        assert_eq!(find(-100, -100, 1).await, [one]);
        assert_eq!(find(-250, -250, 9).await, [one, two]);
        assert_eq!(find(-350, -100, 9).await, [one, three], "one that failed comes sooner");
        assert_eq!(db.read(|tx| Box::pin(tx.auditable())).await, 3);
        order(&db, &unread, -5).await;
        assert_eq!(claim(&db).await, None, "what was never mirrored cannot be audited");
    }

    async fn a_calendar_begins_anew_only_under_its_lease(db: Db) {
        let shop = mirrored(&db).await;
        let (business, calendar) = (shop.business.id, shop.calendar.id);
        let raw = db.raw(1).await;
        raw.execute("UPDATE calendar SET sync_token = 'old', generation = 3").await.unwrap();
        let claim = || db.write(move |tx| Box::pin(tx.claim_calendar(business, calendar, LEASE)));
        let lease = claim().await.unwrap().unwrap();
        assert_eq!(claim().await.unwrap(), None);
        db.write(move |tx| Box::pin(async move { tx.begin_anew(&lease).await })).await.unwrap();
        let known = db.read(move |tx| Box::pin(tx.calendar(business, calendar))).await.unwrap();
        assert_eq!((known.mirror.sync_token, known.mirror.generation), (None, 3), "the old rows are served");
        assert!(claim().await.unwrap().is_some(), "the lease was given back");
        let late = db.write(move |tx| Box::pin(async move { tx.begin_anew(&lease).await })).await;
        assert!(matches!(late, Err(Error::LeaseLost)));
    }
}
