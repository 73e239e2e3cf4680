//! Mirrored events and busy slots, one generation beside another.

use std::time::Duration;

use slotd::{
    domain::{Event, EventKind, EventStatus, EventTime},
    store::{
        Tx,
        events::{BusySlot, Generation, MirroredEvent},
        leases::Finished,
    },
};

use crate::harness::{
    Db, on_both_engines,
    samples::{Shop, at, between},
};

fn single(id: &str, from: i64, to: i64) -> Event {
    Event {
        id: id.to_owned(),
        kind: EventKind::Single,
        status: EventStatus::Confirmed,
        times: Some((EventTime::At { at: at(from), zone: None }, EventTime::At { at: at(to), zone: None })),
        transparent: false,
        declined: false,
    }
}

fn master(id: &str) -> Event {
    Event { kind: EventKind::Master { recurrence: vec!["RRULE:FREQ=DAILY".to_owned()] }, ..single(id, 0, 30) }
}

fn exception(id: &str, of: &str) -> Event {
    let original = EventTime::At { at: at(0), zone: Some(chrono_tz::Europe::Berlin) };
    Event { kind: EventKind::Exception { master: of.to_owned(), original }, ..single(id, 5, 35) }
}

fn mirrored(event: Event, etag: &str) -> MirroredEvent {
    MirroredEvent { event, etag: Some(etag.to_owned()), title: Some("Lunch".to_owned()) }
}

fn slot(id: &str, from: i64, to: i64) -> BusySlot {
    BusySlot { interval: between(from, to), event_id: id.to_owned(), series_id: id.to_owned() }
}

fn generation(shop: &Shop, number: i64) -> Generation {
    Generation { business: shop.business.id, calendar: shop.calendar.id, number }
}

async fn put(db: &Db, of: Generation, events: Vec<MirroredEvent>, slots: Vec<BusySlot>) {
    let written = db.write(move |tx| {
        Box::pin(async move {
            tx.put_events(of, &events).await?;
            tx.put_busy(of, &slots).await
        })
    });
    written.await.unwrap();
}

/// Serves `number`, as the end of a full pass does.
async fn serve(db: &Db, shop: &Shop, number: i64, longest_us: i64) {
    let (business, calendar) = (shop.business.id, shop.calendar.id);
    let finished = Finished {
        unannounced: false,
        regained: false,
        sync_token: format!("token {number}"),
        generation: number,
        coverage: between(-600, 6_000),
        longest_us,
        whole: true,
        changed: true,
        odd_events: 0,
        time_zone: None,
        access_role: None,
        as_of: at(0),
        due_at: at(60),
        period: Duration::from_mins(5),
    };
    let written = db.write(move |tx: &mut Tx| {
        Box::pin(async move {
            let lease = tx.claim_calendar(business, calendar, Duration::from_mins(1)).await?.unwrap();
            tx.finish_pass(&lease, &finished).await
        })
    });
    written.await.unwrap();
}

on_both_engines! {
    async fn events_read_back_by_id_series_and_page(db: Db) {
        let shop = db.shop(1).await;
        let of = generation(&shop, 1);
        let events = [
            single("a", 0, 30),
            master("m"),
            exception("m_1", "m"),
            exception("m_2", "m"),
            master("n"),
            single("z", 40, 50),
        ];
        put(&db, of, events.iter().map(|event| mirrored(event.clone(), "1")).collect(), vec![]).await;

        let found = db.read(move |tx| Box::pin(tx.event(of, "m_1"))).await;
        assert_eq!(found, Some((events[2].clone(), Some("1".to_owned()))));
        assert_eq!(db.read(move |tx| Box::pin(tx.series(of, "m"))).await, events[1..4]);
        assert_eq!(db.read(move |tx| Box::pin(tx.single_events(of, "", 1))).await, events[..1]);
        assert_eq!(db.read(move |tx| Box::pin(tx.single_events(of, "a", 9))).await, events[5..]);

        let page = |after: &'static str, limit| db.read(move |tx| Box::pin(tx.whole_series(of, after, limit)));
        assert_eq!(page("", 2).await, (events[1..4].to_vec(), true), "a series is never cut");
        assert_eq!(page("m", 2).await, (events[4..5].to_vec(), false));

        db.write(move |tx| Box::pin(tx.delete_event(of, "m_2"))).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.series(of, "m"))).await, events[1..3]);
        db.write(move |tx| Box::pin(tx.delete_series(of, "m"))).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.series(of, "m"))).await, []);
        assert!(db.read(move |tx| Box::pin(tx.event(of, "n"))).await.is_some());
    }

    async fn an_event_with_the_same_etag_is_left_alone(db: Db) {
        let shop = db.shop(1).await;
        let of = generation(&shop, 1);
        put(&db, of, vec![mirrored(single("a", 0, 30), "1")], vec![]).await;
        let saved = || db.read(move |tx| Box::pin(tx.event(of, "a")));
        put(&db, of, vec![mirrored(single("a", 60, 90), "1")], vec![]).await;
        assert_eq!(saved().await.unwrap().0, single("a", 0, 30));
        put(&db, of, vec![mirrored(single("a", 60, 90), "2")], vec![]).await;
        assert_eq!(saved().await.unwrap(), (single("a", 60, 90), Some("2".to_owned())));
        put(&db, of, vec![MirroredEvent { etag: None, ..mirrored(single("a", 70, 90), "") }], vec![]).await;
        assert_eq!(saved().await.unwrap(), (single("a", 70, 90), None), "without an etag nobody can tell");
    }

    async fn the_last_of_one_event_twice_in_a_batch_counts(db: Db) {
        let shop = db.shop(1).await;
        let of = generation(&shop, 1);
        let twice = vec![
            mirrored(single("a", 0, 30), "1"),
            mirrored(single("b", 0, 30), "1"),
            mirrored(single("a", 60, 90), "2"),
        ];
        put(&db, of, twice, vec![slot("a", 0, 30), slot("a", 0, 30)]).await;
        let saved = db.read(move |tx| Box::pin(tx.event(of, "a"))).await;
        assert_eq!(saved.unwrap(), (single("a", 60, 90), Some("2".to_owned())));
    }

    async fn batches_larger_than_a_statement_arrive_whole(db: Db) {
        let shop = db.shop(1).await;
        let of = generation(&shop, 1);
        let events = (0..300).map(|n| mirrored(single(&format!("e{n:03}"), n, n + 1), "1")).collect();
        put(&db, of, events, (0..300).map(|n| slot(&format!("e{n:03}"), n, n + 1)).collect()).await;
        assert_eq!(db.read(move |tx| Box::pin(tx.single_events(of, "", 1_000))).await.len(), 300);
        let raw = db.raw(1).await;
        assert_eq!(raw.count("SELECT COUNT(*) FROM busy_slot").await, 300);
        put(&db, of, vec![], vec![]).await;
    }

    async fn a_staged_generation_is_not_served_until_its_pass_ends(db: Db) {
        let shop = db.shop(1).await;
        let (business, chair) = (shop.business.id, shop.resource.id);
        let busy = |from, to| {
            db.read(move |tx| {
                Box::pin(async move {
                    let one = tx.busy(business, Some(chair), between(from, to)).await?;
                    assert_eq!(one, tx.busy(business, None, between(from, to)).await?);
                    Ok(one.into_iter().map(|busy| busy.interval).collect::<Vec<_>>())
                })
            })
        };
        put(&db, generation(&shop, 1), vec![], vec![slot("a", 0, 30), slot("b", 20, 300)]).await;
        assert_eq!(busy(0, 600).await, []);
        serve(&db, &shop, 1, 280 * 60_000_000).await;
        assert_eq!(busy(0, 600).await, [between(0, 30), between(20, 300)]);
        assert_eq!(busy(299, 600).await, [between(20, 300)], "the longest slot bounds the search exactly");
        assert_eq!(busy(300, 600).await, []);
        assert_eq!(busy(-60, 0).await, []);

        put(&db, generation(&shop, 2), vec![], vec![slot("c", 60, 90)]).await;
        assert_eq!(busy(0, 600).await, [between(0, 30), between(20, 300)]);
        serve(&db, &shop, 2, 30 * 60_000_000).await;
        assert_eq!(busy(0, 600).await, [between(60, 90)]);

        let keep = generation(&shop, 2);
        put(&db, generation(&shop, 3), vec![mirrored(single("d", 0, 1), "1")], vec![slot("d", 0, 1)]).await;
        let purge = || db.write(move |tx| Box::pin(tx.purge_generations(keep, 1)));
        assert_eq!((purge().await.unwrap(), purge().await.unwrap(), purge().await.unwrap()), (1, 1, 0));
        let raw = db.raw(1).await;
        assert_eq!(raw.count("SELECT COUNT(*) FROM busy_slot").await, 2, "what is served and what is staged");
    }

    async fn slots_are_freed_by_series(db: Db) {
        let shop = db.shop(1).await;
        let of = generation(&shop, 1);
        let moved = BusySlot { series_id: "m".to_owned(), ..slot("m_1", 5, 35) };
        put(&db, of, vec![], vec![slot("m", 100, 130), moved, slot("a", 0, 30)]).await;
        assert_eq!(db.write(move |tx| Box::pin(tx.free_series(of, "m"))).await.unwrap(), 2);
        assert_eq!(db.write(move |tx| Box::pin(tx.free_series(of, "m"))).await.unwrap(), 0);
        serve(&db, &shop, 1, 30 * 60_000_000).await;
        let business = shop.business.id;
        db.write(move |tx| Box::pin(tx.drop_own_busy(business, shop.calendar.id, "a"))).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.busy(business, None, between(0, 600)))).await, []);
    }

    async fn a_calendar_that_does_not_block_makes_nobody_busy(db: Db) {
        let shop = db.shop(1).await;
        let (business, calendar, chair) = (shop.business.id, shop.calendar.id, shop.resource.id);
        put(&db, generation(&shop, 1), vec![], vec![slot("a", 0, 30)]).await;
        serve(&db, &shop, 1, 30 * 60_000_000).await;
        db.write(move |tx| Box::pin(tx.assign_calendar(business, calendar, Some(chair), false, true))).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.busy(business, Some(chair), between(0, 600)))).await, []);
    }
}
