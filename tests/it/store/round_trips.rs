//! What is saved reads back as it was.

use chrono::TimeDelta;
use chrono_tz::Tz;
use secrecy::ExposeSecret;
use slotd::{
    availability::WeeklyHours,
    store::{
        Error,
        accounts::{Account, AccountStatus},
        api_keys::{ApiKey, Scope},
        calls::Call,
        channels::Channel,
        idempotency::Remembered,
        oauth_states::OAuthState,
        offers::{OFFERS_OF_CALL_MAX, Offer},
    },
};

use crate::harness::{
    Db, on_both_engines,
    samples::{account, at, between, business, calendar, id, resource, service},
};

/// Everything that two accounts can differ in.
fn told(account: &Account) -> String {
    let credential = account.credential.as_ref().map(|secret| secret.expose_secret().to_owned());
    format!("{account:?} {credential:?}")
}

on_both_engines! {
    async fn a_business(db: Db) {
        let mut new = business();
        new.hours =
            WeeklyHours::new([vec![(540, 720), (780, 1020)], vec![], vec![], vec![], vec![], vec![(0, 1440)], vec![]])
                .unwrap();
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_business(&row).await })).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.business(new.id))).await.as_ref(), Some(&new));

        "Zahnarztpraxis Müller 🦷".clone_into(&mut new.name);
        (new.time_zone, new.region) = (Tz::America__New_York, "US".to_owned());
        (new.event_title, new.event_body) = ("{name}".to_owned(), String::new());
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.update_business(&row).await })).await.unwrap();
        let second = business();
        let row = second.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_business(&row).await })).await.unwrap();
        assert_eq!(db.read(|tx| Box::pin(tx.businesses(None, 10))).await, [new.clone(), second.clone()]);
        assert_eq!(db.read(move |tx| Box::pin(tx.businesses(Some(new.id), 10))).await, [second]);
        assert_eq!(db.read(|tx| Box::pin(tx.business(id()))).await, None);
    }

    async fn a_resource(db: Db) {
        let shop = db.shop(1).await;
        let mut new = resource(shop.business.id, 3);
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_resource(&row).await })).await.unwrap();
        (new.time_zone, new.hours, new.capacity) = (Some(Tz::Asia__Kolkata), Some(WeeklyHours::always()), u32::MAX);
        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.update_resource(&row).await })).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.resources(shop.business.id))).await, [shop.resource, new]);
    }

    async fn a_service_and_who_may_do_it(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let second = resource(business, 1);
        let (everybody, mut chosen) = (service(business, vec![]), service(business, vec![shop.resource.id, second.id]));
        let rows = (second.clone(), everybody.clone(), chosen.clone());
        let written = db.write(move |tx| {
            Box::pin(async move {
                tx.insert_resource(&rows.0).await?;
                tx.insert_service(&rows.1).await?;
                tx.insert_service(&rows.2).await
            })
        });
        written.await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.services(business))).await, [everybody.clone(), chosen.clone()]);

        chosen.resources = vec![second.id];
        chosen.rules.duration = TimeDelta::minutes(20);
        let row = chosen.clone();
        db.write(move |tx| Box::pin(async move { tx.update_service(&row).await })).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.services(business))).await, [everybody.clone(), chosen.clone()]);

        let mut both = everybody;
        both.needs = vec![vec![second.id], vec![shop.resource.id]];
        let row = both.clone();
        db.write(move |tx| Box::pin(async move { tx.update_service(&row).await })).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.services(business))).await, [both.clone(), chosen.clone()]);
        both.needs = vec![vec![shop.resource.id, second.id]];
        let row = both.clone();
        db.write(move |tx| Box::pin(async move { tx.update_service(&row).await })).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.services(business))).await, [both, chosen]);
    }

    async fn an_account(db: Db) {
        let shop = db.shop(1).await;
        let mut new = account(shop.business.id);
        let business = shop.business.id;
        for change in 0..3 {
            match change {
                1 => (new.credential, new.scopes, new.email) = (None, vec![], "neu@example.com".to_owned()),
                2 => (new.status, new.last_error) = (AccountStatus::Disconnected, Some("revoked".to_owned())),
                _ => {}
            }
            let row = new.clone();
            db.write(move |tx| Box::pin(async move { tx.save_account(&row).await })).await.unwrap();
            let all = db.read(move |tx| Box::pin(tx.accounts(business))).await;
            assert_eq!(all.iter().map(told).collect::<Vec<_>>(), [told(&shop.account), told(&new)]);
        }
        let one = db.read(move |tx| Box::pin(tx.account(business, new.id))).await.unwrap();
        assert_eq!(told(&one), told(&new));
    }

    async fn only_a_connected_account_comes_to_need_a_reconnect(db: Db) {
        let shop = db.shop(1).await;
        let (business, account) = (shop.business.id, shop.account.id);
        let mark = || db.write(move |tx| Box::pin(tx.mark_needs_reconnect(business, account, chrono::DateTime::<chrono::Utc>::MAX_UTC, "invalid_grant")));
        assert!(mark().await.unwrap());
        assert!(!mark().await.unwrap(), "once is enough");
        let marked = db.read(move |tx| Box::pin(tx.account(business, account))).await.unwrap();
        assert_eq!(
            (marked.status, marked.last_error.as_deref()),
            (AccountStatus::NeedsReconnect, Some("invalid_grant"))
        );
        assert!(marked.credential.is_some());
    }

    async fn an_api_key(db: Db) {
        let shop = db.shop(1).await;
        let new = ApiKey {
            id: id(),
            business: Some(shop.business.id),
            prefix: "slotd_abc".to_owned(),
            hash: vec![0, 255, 7],
            scope: Scope::Receptionist,
            label: "front desk".to_owned(),
            expires_at: Some(at(60)),
            revoked_at: None,
            created_at: at(0),
        };
        let platform = ApiKey {
            id: id(),
            business: None,
            prefix: "slotd_def".to_owned(),
            scope: Scope::Admin,
            expires_at: None,
            ..new.clone()
        };
        for row in [new.clone(), platform.clone()] {
            db.write(move |tx| Box::pin(async move { tx.insert_api_key(&row).await })).await.unwrap();
        }
        assert_eq!(db.read(|tx| Box::pin(tx.api_keys())).await, [new.clone(), platform.clone()]);
        assert_eq!(db.read(|tx| Box::pin(tx.api_key("slotd_def"))).await, Some(platform.clone()));

        db.clock.advance(TimeDelta::minutes(5));
        let revoke = || db.write(move |tx| Box::pin(tx.revoke_api_key(new.id)));
        assert!(revoke().await.unwrap());
        assert!(!revoke().await.unwrap());
        let revoked = db.read(|tx| Box::pin(tx.api_key("slotd_abc"))).await;
        assert_eq!(revoked, Some(ApiKey { revoked_at: Some(at(5)), ..new }));

        let twin = ApiKey { id: id(), ..platform };
        let refused = db.write(move |tx| Box::pin(async move { tx.insert_api_key(&twin).await })).await;
        assert!(matches!(refused, Err(Error::Exists)), "{refused:?}");
    }

    async fn a_calendar(db: Db) {
        let shop = db.shop(1).await;
        let (business, chair) = (shop.business.id, shop.resource.id);
        let second = calendar(&shop.account, None);
        let row = second.clone();
        db.write(move |tx| Box::pin(async move { tx.insert_calendar(&row).await })).await.unwrap();
        let all = db.read(move |tx| Box::pin(tx.calendars(business))).await;
        assert_eq!(format!("{all:?}"), format!("{:?}", [&shop.calendar, &second]));

        let assign =
            |target| db.write(move |tx| Box::pin(tx.assign_calendar(business, second.id, Some(chair), true, target)));
        let refused = assign(true).await;
        assert!(matches!(refused, Err(Error::Exists)), "a resource has one target: {refused:?}");
        assign(false).await.unwrap();
        let assigned = db.read(move |tx| Box::pin(tx.calendar(business, second.id))).await.unwrap();
        assert_eq!((assigned.resource, assigned.blocks, assigned.target), (Some(chair), true, false));
        assert_eq!(assigned.mirror.version, 1, "whoever asks sees other busy time now");
    }

    async fn a_channel(db: Db) {
        let shop = db.shop(1).await;
        let (business, calendar) = (shop.business.id, shop.calendar.id);
        let old = Channel {
            business,
            id: id(),
            calendar,
            token_hash: vec![1; 32],
            google_resource_id: None,
            stopping: false,
            expires_at: at(9),
        };
        let new = Channel { id: id(), token_hash: vec![2; 32], ..old.clone() };
        let rows = (old.clone(), new.clone());
        let written = db.write(move |tx| {
            Box::pin(async move {
                tx.insert_channel(&rows.0).await?;
                tx.channel_granted(&rows.0, "google 1", at(60)).await?;
                tx.insert_channel(&rows.1).await
            })
        });
        written.await.unwrap();
        assert_eq!(
            db.read(move |tx| Box::pin(tx.channel(new.id))).await,
            Some(new.clone()),
            "known before Google answers"
        );
        let watched = || {
            db.read(move |tx| {
                Box::pin(async move {
                    Ok(tx.calendar(business, calendar).await?.and_then(|calendar| calendar.mirror.watched_until))
                })
            })
        };
        assert_eq!(watched().await, Some(at(60)));

        let row = new.clone();
        db.write(move |tx| Box::pin(async move { tx.channel_granted(&row, "google 2", at(120)).await })).await.unwrap();
        assert_eq!(watched().await, Some(at(120)));
        let old =
            Channel { google_resource_id: Some("google 1".to_owned()), stopping: true, expires_at: at(60), ..old };
        let new = Channel { google_resource_id: Some("google 2".to_owned()), expires_at: at(120), ..new };
        let mut all = db.read(move |tx| Box::pin(tx.channels(business, calendar))).await;
        all.sort_by_key(|channel| channel.id);
        assert_eq!(all, [old.clone(), new.clone()]);
        db.write(move |tx| Box::pin(tx.delete_channel(business, old.id))).await.unwrap();
        assert_eq!(db.read(move |tx| Box::pin(tx.channels(business, calendar))).await, [new]);
    }

    async fn an_answer_that_is_given_again(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let answer = Remembered { request_hash: vec![7; 32], status: 201, body: b"{\"id\":\"1\"}\0\xff".to_vec() };
        let remember = || {
            let answer = answer.clone();
            db.write(move |tx| Box::pin(async move { tx.remember(business, "key 1", &answer).await }))
        };
        remember().await.unwrap();
        let again = remember().await;
        assert!(matches!(again, Err(Error::Exists)), "{again:?}");
        assert_eq!(db.read(move |tx| Box::pin(tx.remembered(business, "key 1"))).await, Some(answer.clone()));
        assert_eq!(db.read(move |tx| Box::pin(tx.remembered(id(), "key 1"))).await, None, "of another business");

        let forget = |before| db.write(move |tx| Box::pin(tx.forget_answers(before)));
        assert_eq!((forget(at(0)).await.unwrap(), forget(at(1)).await.unwrap()), (0, 1));
        assert_eq!(db.read(move |tx| Box::pin(tx.remembered(business, "key 1"))).await, None);
    }

    async fn a_consent_is_taken_once(db: Db) {
        let shop = db.shop(1).await;
        let new = |state: u8, expires_at| OAuthState {
            state_hash: vec![state; 32],
            business: shop.business.id,
            verifier: "code verifier".to_owned(),
            browser_hash: vec![9; 32],
            return_to: Some("/settings".to_owned()),
            expires_at,
        };
        for row in [new(1, at(10)), OAuthState { return_to: None, ..new(2, at(10)) }, new(3, at(1))] {
            db.write(move |tx| Box::pin(async move { tx.insert_oauth_state(&row).await })).await.unwrap();
        }
        let take = |state: u8| db.write(move |tx| Box::pin(async move { tx.take_oauth_state(&[state; 32]).await }));
        assert!(take(1).await.unwrap() == Some(new(1, at(10))));
        assert!(take(1).await.unwrap().is_none());
        db.clock.advance(TimeDelta::minutes(5));
        assert_eq!(db.write(|tx| Box::pin(tx.forget_oauth_states())).await.unwrap(), 1);
        assert!(take(3).await.unwrap().is_none());
        assert!(take(2).await.unwrap().is_some());
    }

    async fn a_call(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let touch = async |event: Option<&'static str>| {
            db.write(move |tx| Box::pin(tx.touch_call(business, "call 1", event))).await.unwrap();
            db.clock.advance(TimeDelta::minutes(1));
            db.read(move |tx| Box::pin(tx.call(business, "call 1"))).await.unwrap()
        };
        let call = |event: Option<&str>, seen_at| Call {
            call_id: "call 1".to_owned(),
            calendar_event_id: event.map(str::to_owned),
            started_at: at(0),
            seen_at,
            ended_at: None,
        };
        assert_eq!(touch(None).await, call(None, at(0)));
        assert_eq!(touch(Some("slotd0")).await, call(Some("slotd0"), at(1)));
        assert_eq!(touch(None).await, call(Some("slotd0"), at(2)), "a later touch forgets nothing");
        assert_eq!(touch(Some("slotd1")).await, call(Some("slotd1"), at(3)));
        db.write(move |tx| Box::pin(tx.hang_up(business, "call 1"))).await.unwrap();
        let over = db.read(move |tx| Box::pin(tx.call(business, "call 1"))).await.unwrap();
        assert_eq!(over, Call { ended_at: Some(at(4)), ..call(Some("slotd1"), at(4)) });
        assert_eq!(touch(None).await, call(Some("slotd1"), at(4)), "whoever is heard of again goes on");
    }

    async fn what_a_call_was_offered(db: Db) {
        let shop = db.shop(1).await;
        let business = shop.business.id;
        let offer = |minute| Offer { interval: between(minute, minute + 30), resource: shop.resource.id, service: None };
        let remember = async |offers: Vec<Offer>| {
            db.write(move |tx| Box::pin(async move { tx.remember_offers(business, "call 1", &offers).await })).await.unwrap();
        };
        let known = async |since| {
            let known = db.read(move |tx| Box::pin(tx.offers_of_call(business, "call 1", since))).await;
            known.into_iter().map(|one| (one.offer, one.at)).collect::<Vec<_>>()
        };
        remember(vec![offer(0), offer(30)]).await;
        db.clock.advance(TimeDelta::minutes(1));
        let again = Offer { service: Some(id()), ..offer(30) };
        remember(vec![again, offer(60)]).await;
        assert_eq!(known(at(-1)).await, [(offer(0), at(0)), (again, at(1)), (offer(60), at(1))]);
        assert_eq!(known(at(0)).await, [(again, at(1)), (offer(60), at(1))], "older ones are past");
        db.clock.advance(TimeDelta::minutes(1));
        let many: Vec<Offer> = (0..60).map(|number| offer(1_000 + number)).collect();
        remember(many.clone()).await;
        let kept = known(at(-1)).await;
        assert_eq!(kept.len(), OFFERS_OF_CALL_MAX, "and of those the first, which the caller heard first");
        assert!(kept.iter().zip(&many).all(|((kept, _), offered)| kept == offered));
        assert_eq!(db.write(move |tx| Box::pin(tx.forget_offers(at(3)))).await.unwrap(), 50);
        assert_eq!(known(at(-1)).await, []);
    }
}
