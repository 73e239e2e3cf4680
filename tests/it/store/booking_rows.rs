//! Bookings, their claims, history and events read back as they were.

use chrono::TimeDelta;
use slotd::{
    domain::booking::{Party, State},
    store::{
        bookings::{Booking, CalendarSync, Content, Customer, EventLink, Filter},
        cancellations::Gone,
        claims::{Claim, Source, Step},
    },
};

use crate::harness::{
    Db, on_both_engines,
    samples::{at, between, booking, service},
};

on_both_engines! {
    async fn a_booking_with_all_its_fields_in_every_state(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let haircut = service(business, vec![]);
        let row = haircut.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_service(&row).await })).await.unwrap();
        let mut new = Booking {
            state: State::Held { until: at(7) },
            service: Some(haircut.id),
            buffer_before: TimeDelta::minutes(5),
            buffer_after: TimeDelta::microseconds(1),
            customer: None,
            reference: Some("R-1".to_owned()),
            call_id: Some("call 1".to_owned()),
            link: Some(EventLink {
                calendar: shop.calendar.id,
                event_id: "slotd0".to_owned(),
                generation: 2,
                sent: None,
                written: None,
                etag: None,
                recheck: false,
                gone: None,
            }),
            calendar_sync: CalendarSync::Pending,
            ..booking(&shop.resource, between(60, 105))
        };
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_booking(&row).await })).await.unwrap();
        let id = new.id;
        let saved = || db.read(move |tx| Box::pin(tx.booking(business, id)));
        assert_eq!(saved().await.as_ref(), Some(&new));

        (new.version, new.updated_at, new.interval) = (4, at(3), between(120, 121));
        new.customer = Some(Customer {
            name: "Zoë \"Z\" Åström".to_owned(),
            phone: "+46701234567".to_owned(),
            email: Some("zoe@example.com".parse().unwrap()),
            language: Some("sv".parse().unwrap()),
            notes: Some("no\nscent".to_owned()),
        });
        new.link = Some(EventLink {
            calendar: shop.calendar.id,
            event_id: "slotd1".to_owned(),
            generation: 3,
            sent: Some(Content { version: 4, interval: between(120, 121) }),
            written: Some(Content { version: 2, interval: between(60, 105) }),
            etag: Some("\"3181161784712000\"".to_owned()),
            recheck: true,
            gone: Some(Gone::Asked),
        });
        let states = [
            State::Confirmed { at: at(3) },
            State::Completed { at: at(122) },
            State::Cancelled { at: at(4), by: Party::Customer },
            State::Cancelled { at: at(5), by: Party::Owner },
            State::Expired { at: at(7) },
            State::Released { at: at(6) },
        ];
        let syncs = [CalendarSync::None, CalendarSync::Pending, CalendarSync::Synced, CalendarSync::Failed];
        for (state, sync) in states.into_iter().zip(syncs.into_iter().cycle()) {
            (new.state, new.calendar_sync) = (state, sync);
            let row = new.clone();
            db.write(move |tx| Box::pin(async move { tx.update_booking(&row).await })).await.unwrap();
            assert_eq!(saved().await.as_ref(), Some(&new));
        }
        new.link = None;
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.update_booking(&row).await })).await.unwrap();
        assert_eq!(db.write(move |tx| Box::pin(tx.lock_booking(business, id))).await.unwrap(), Some(new));
    }

    async fn bookings_are_listed_by_time_state_and_call_page_by_page(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let mut made = Vec::new();
        for n in 0..6 {
            // Pairs share a start, so that a page may end between them.
            let start = 60 * (n / 2);
            let mut new = booking(&shop.resource, between(start, start + 30));
            new.call_id = (n % 2 == 0).then(|| "call 1".to_owned());
            if n == 5 {
                new.state = State::Cancelled { at: at(1), by: Party::Owner };
            }
            let row = new.clone();
            db.write(move |tx| Box::pin(async move { tx.insert_booking(&row).await })).await.unwrap();
            made.push(new.id);
        }
        let found = async |filter: Filter, limit: usize| -> Vec<Booking> {
            db.read(move |tx| Box::pin(async move { tx.bookings(business, &filter, limit).await })).await
        };
        let ids = |bookings: Vec<Booking>| bookings.iter().map(|booking| booking.id).collect::<Vec<_>>();

        let mut paged = Vec::new();
        let mut filter = Filter::default();
        loop {
            let page = found(filter.clone(), 1).await;
            let Some(last) = page.last() else { break };
            filter.after = Some((last.interval.start(), last.id));
            paged.extend(ids(page));
        }
        assert_eq!(paged, made, "ids made later sort later");
        let hour = Filter { from: Some(at(60)), to: Some(at(120)), ..Filter::default() };
        assert_eq!(ids(found(hour, 10).await), made[2..4]);
        let cancelled = Filter { state: Some("cancelled".to_owned()), ..Filter::default() };
        assert_eq!(ids(found(cancelled, 10).await), made[5..]);
        let call = Filter { call_id: Some("call 1".to_owned()), from: Some(at(1)), ..Filter::default() };
        assert_eq!(ids(found(call, 10).await), [made[2], made[4]]);
    }

    async fn claims_and_history(db: Db) {
        let shop = db.shop(1).await;
        let (business, chair) = (shop.business.id, shop.resource.id);
        let mut new = Booking { buffer_after: TimeDelta::minutes(10), ..booking(&shop.resource, between(60, 90)) };
        db.insert(&new, true, false).await.unwrap();
        let claim = Claim { resource: chair, booking: new.id, interval: between(60, 100) };
        for resource in [Some(chair), None] {
            let meeting =
                |from, to| db.read(move |tx| Box::pin(tx.claims(business, resource, between(from, to), at(0))));
            assert_eq!(meeting(99, 120).await, [claim]);
            assert_eq!(meeting(100, 120).await, []);
            assert_eq!(meeting(0, 60).await, []);
        }
        assert_eq!(db.read(move |tx| Box::pin(tx.claimed_resources(business, new.id))).await, [chair]);

        for (step, what) in
            [Step::Created, Step::Rescheduled, Step::Edited, Step::Conflict, Step::Cancelled].into_iter().enumerate()
        {
            db.clock.advance(TimeDelta::minutes(1));
            let source = if step == 3 { Source::Owner } else { Source::Receptionist };
            if step == 4 {
                new.state = State::Cancelled { at: at(5), by: Party::Customer };
            }
            let row = new.clone();
            db.write(move |tx| Box::pin(async move { tx.record_step(&row, what, source).await })).await.unwrap();
        }
        let history = db.read(move |tx| Box::pin(tx.history(business, new.id))).await;
        let words: Vec<_> = history
            .iter()
            .map(|step| (step.at, step.what.as_str(), step.source.as_str(), step.state.as_str()))
            .collect();
        assert_eq!(
            words,
            [
                (at(1), "created", "receptionist", "confirmed"),
                (at(2), "rescheduled", "receptionist", "confirmed"),
                (at(3), "edited", "receptionist", "confirmed"),
                (at(4), "conflict", "owner", "confirmed"),
                (at(5), "cancelled", "receptionist", "cancelled"),
            ]
        );
        assert!(history.iter().all(|step| step.interval == between(60, 90)));
    }

    async fn an_event_that_slotd_derived(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let link = EventLink {
            calendar: shop.calendar.id,
            event_id: "slotd0".to_owned(),
            generation: 0,
            sent: None,
            written: None,
            etag: None,
            recheck: false,
            gone: None,
        };
        let mut new = Booking { link: Some(link), ..booking(&shop.resource, between(60, 90)) };
        let row = new.clone();
        let written = db.write(move |tx| {
            Box::pin(async move {
                tx.insert_booking(&row).await?;
                tx.own_event(&row).await?;
                tx.own_event(&row).await
            })
        });
        written.await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.booking_of_event(business, "slotd0"))).await, Some(new.id));
        assert_eq!(db.read(move |tx| Box::pin(tx.booking_of_event(business, "slotd9"))).await, None);
        assert_eq!(db.read(move |tx| Box::pin(tx.event_ids_derived(business, new.id))).await, 1);

        let of_calendar = || db.read(move |tx| Box::pin(tx.written_bookings(business, shop.calendar.id)));
        assert_eq!(of_calendar().await, [], "Google does not have it yet");
        new.link.as_mut().unwrap().written = Some(Content { version: 1, interval: new.interval });
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.update_booking(&row).await })).await.unwrap();
        assert_eq!(of_calendar().await, [(new.id, "slotd0".to_owned())]);
        db.clock.advance(TimeDelta::minutes(90));
        assert_eq!(of_calendar().await, [], "it is over");
    }
}
