//! An owner who edits calendars at random, as the clients of Google let people do.

use chrono::{DateTime, TimeDelta, Utc};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    dice::Dice,
    resources::{Hit, Maker, Start, ZONES, cut_before, is_timed, resized, rezoned, shifted, start_of},
    seen::Seen,
};
use crate::stage::Owner;

/// Live singles and series of one calendar above which more is deleted than made.
const SINGLES_MAX: usize = 60;
const SERIES_MAX: usize = 30;

/// A calendar and what its owner knows of it.
pub(super) struct Diary {
    /// Google's id.
    pub(super) id: String,
    /// The address of the account that it belongs to.
    pub(super) owner: &'static str,
    singles: Vec<Known>,
    series: Vec<Known>,
    gone: Vec<Known>,
}

/// An event as Google answered last.
#[derive(Clone)]
struct Known {
    id: String,
    body: Value,
    /// Ids of instances that were changed or cancelled.
    touched: Vec<String>,
}

/// One line of the history of a run.
pub(super) struct Entry {
    pub(super) number: usize,
    pub(super) calendar: usize,
    /// Of the event, or of the series.
    pub(super) id: String,
    pub(super) what: String,
    pub(super) status: u16,
}

pub(super) struct Editing {
    pub(super) diaries: Vec<Diary>,
    pub(super) log: Vec<Entry>,
    pub(super) seen: Seen,
    pub(super) refused: usize,
    maker: Maker,
    dice: Dice,
    number: usize,
}

#[derive(Debug, Clone, Copy)]
enum Edit {
    Create,
    CreateSeries,
    Move,
    Resize,
    Retitle,
    Transparency,
    Rezone,
    MoveInstance,
    CancelInstance,
    RestoreInstance,
    Split,
    ChangeRule,
    MoveSeries,
    Repeat,
    Unrepeat,
    Delete,
    Revive,
    Invite,
    Respond,
    RezoneCalendar,
    Share,
}

const EDITS: &[(usize, Edit)] = &[
    (18, Edit::Create),
    (12, Edit::CreateSeries),
    (7, Edit::Move),
    (3, Edit::Resize),
    (4, Edit::Retitle),
    (4, Edit::Transparency),
    (3, Edit::Rezone),
    (12, Edit::MoveInstance),
    (7, Edit::CancelInstance),
    (4, Edit::RestoreInstance),
    (4, Edit::Split),
    (4, Edit::ChangeRule),
    (5, Edit::MoveSeries),
    (2, Edit::Repeat),
    (1, Edit::Unrepeat),
    (7, Edit::Delete),
    (3, Edit::Revive),
    (3, Edit::Invite),
    (3, Edit::Respond),
    (1, Edit::RezoneCalendar),
    (1, Edit::Share),
];

impl Diary {
    pub(super) fn new(id: &str, owner: &'static str) -> Self {
        Self { id: id.to_owned(), owner, singles: Vec::new(), series: Vec::new(), gone: Vec::new() }
    }

    fn path(&self, event: &str) -> String {
        format!("/calendars/{}/events/{event}", self.id)
    }
}

impl Editing {
    pub(super) fn new(diaries: Vec<Diary>, maker: Maker, dice: Dice) -> Self {
        Self { diaries, log: Vec::new(), seen: Seen::default(), refused: 0, maker, dice, number: 0 }
    }

    /// How many edits were made.
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    /// Makes one edit. One that Google would refuse as things are is made another time.
    pub(super) async fn edit(&mut self, google: &Owner) {
        self.number += 1;
        loop {
            let calendar = self.dice.below(self.diaries.len());
            let diary = &self.diaries[calendar];
            let crowded = diary.singles.len() > SINGLES_MAX || diary.series.len() > SERIES_MAX;
            let edit = if crowded && self.dice.percent(50) { Edit::Delete } else { self.dice.weighted(EDITS) };
            if self.make(google, calendar, edit).await.is_some() {
                return;
            }
        }
    }

    async fn make(&mut self, google: &Owner, calendar: usize, edit: Edit) -> Option<()> {
        match edit {
            Edit::Create => self.create(google, calendar, false).await,
            Edit::CreateSeries => self.create(google, calendar, true).await,
            Edit::MoveInstance => self.move_instance(google, calendar).await,
            Edit::CancelInstance => self.cancel_instance(google, calendar).await,
            Edit::RestoreInstance => self.restore_instance(google, calendar).await,
            Edit::Split => self.split(google, calendar).await,
            Edit::ChangeRule | Edit::MoveSeries => self.reshape(google, calendar, edit).await,
            Edit::Repeat | Edit::Unrepeat => self.convert(google, calendar, edit).await,
            Edit::Delete => self.delete(google, calendar).await,
            Edit::Revive => self.revive(google, calendar).await,
            Edit::Invite => self.invite(google, calendar).await,
            Edit::Respond => self.respond(google, calendar).await,
            Edit::RezoneCalendar => {
                let zone = self.dice.pick(&ZONES).name();
                assert!(google.sandbox.set_time_zone(&self.diaries[calendar].id, zone));
                self.seen.note("the zone of a calendar changes");
                self.note(calendar, "", format!("calendar to {zone}"), 200);
                Some(())
            }
            Edit::Share => {
                google.let_edit(&self.diaries[calendar].id);
                self.note(calendar, "", "share".to_owned(), 200);
                Some(())
            }
            Edit::Move | Edit::Resize | Edit::Retitle | Edit::Transparency | Edit::Rezone => {
                self.change(google, calendar, edit).await
            }
        }
    }

    fn note(&mut self, calendar: usize, id: &str, what: String, status: u16) {
        let id = id.split('_').next().unwrap_or_default().to_owned();
        self.log.push(Entry { number: self.number, calendar, id, what, status });
    }

    /// Sends a change of one event. `None` when Google refuses it.
    async fn send(
        &mut self,
        google: &Owner,
        calendar: usize,
        (method, id): (Method, &str),
        body: &Value,
    ) -> Option<Value> {
        let path = self.diaries[calendar].path(id);
        let path = path.trim_end_matches('/').to_owned();
        let answer = google.editor().json(method.clone(), &path, &[], body).await;
        let done = (200..300).contains(&answer.status);
        let answered = answer.json();
        let known = answered["id"].as_str().unwrap_or(id).to_owned();
        self.note(calendar, &known, format!("{method} {id} {body}"), answer.status);
        self.refused += usize::from(!done);
        done.then_some(answered)
    }

    async fn patch(&mut self, google: &Owner, calendar: usize, id: &str, body: &Value) -> Option<Value> {
        self.send(google, calendar, (Method::PATCH, id), body).await
    }

    fn hit(&mut self, hit: Hit) {
        match hit {
            Hit::Nothing => {}
            Hit::Gap => self.seen.note("a time that a clock change leaves out"),
            Hit::Fold => self.seen.note("a time that a clock change repeats"),
        }
    }

    fn keep(&mut self, calendar: usize, body: Value) {
        let known = Known { id: body["id"].as_str().unwrap().to_owned(), body, touched: Vec::new() };
        let diary = &mut self.diaries[calendar];
        let list = if known.body["recurrence"].is_array() { &mut diary.series } else { &mut diary.singles };
        list.push(known);
    }

    async fn create(&mut self, google: &Owner, calendar: usize, recurring: bool) -> Option<()> {
        let title = format!("Event {}", self.number);
        let (body, hit) = self.maker.event(&mut self.dice, &title, recurring);
        self.hit(hit);
        let made = self.send(google, calendar, (Method::POST, ""), &body).await?;
        self.keep(calendar, made);
        Some(())
    }

    fn any_series(&mut self, calendar: usize) -> Option<(usize, Known)> {
        let series = &self.diaries[calendar].series;
        let place = self.dice.below(series.len());
        series.get(place).map(|known| (place, known.clone()))
    }

    fn any(&mut self, calendar: usize) -> Option<(bool, usize, Known)> {
        let diary = &self.diaries[calendar];
        let recurring = self.dice.percent(35);
        let list = if recurring { &diary.series } else { &diary.singles };
        let place = self.dice.below(list.len());
        list.get(place).map(|known| (recurring, place, known.clone()))
    }

    fn update(&mut self, calendar: usize, (recurring, place): (bool, usize), body: Value) {
        let diary = &mut self.diaries[calendar];
        let list = if recurring { &mut diary.series } else { &mut diary.singles };
        list[place].body = body;
    }

    async fn change(&mut self, google: &Owner, calendar: usize, edit: Edit) -> Option<()> {
        let (recurring, place, known) = self.any(calendar)?;
        let dice = &mut self.dice;
        let patch = match edit {
            Edit::Move => shifted(&known.body, dice.between(-9, 9), 15 * dice.between(-8, 8)),
            Edit::Resize => resized(dice, &known.body),
            Edit::Rezone => rezoned(dice, &known.body),
            Edit::Transparency => {
                let free = known.body["transparency"] == "transparent";
                json!({ "transparency": if free { "opaque" } else { "transparent" } })
            }
            _ => json!({ "summary": format!("Title {}", self.number) }),
        };
        let body = self.patch(google, calendar, &known.id, &patch).await?;
        self.update(calendar, (recurring, place), body);
        self.check_fallen(google, calendar, &known).await;
        Some(())
    }

    /// Notes whether the last change made a changed instance of a series fall away.
    async fn check_fallen(&mut self, google: &Owner, calendar: usize, known: &Known) {
        if let Some(touched) = known.touched.first()
            && google.editor().get(&self.diaries[calendar].path(touched)).await.status == 404
        {
            self.seen.note("changed instances fall away with their series");
        }
    }

    /// Some of the instances of a series, changed or not.
    async fn instances(&mut self, google: &Owner, calendar: usize, id: &str, query: &str) -> Vec<Value> {
        let path = format!("{}/instances?maxResults=30{query}", self.diaries[calendar].path(id));
        let answer = google.editor().get(&path).await;
        answer.json()["items"].as_array().cloned().unwrap_or_default()
    }

    async fn any_instance(&mut self, google: &Owner, calendar: usize) -> Option<(usize, Known, Value)> {
        let (place, known) = self.any_series(calendar)?;
        let from = if self.dice.percent(50) { 0 } else { self.dice.between(-20, 60) };
        let from = (self.maker.now() + TimeDelta::days(from)).format("%Y-%m-%dT00:00:00Z");
        let query = if self.dice.percent(30) { String::new() } else { format!("&timeMin={from}") };
        let instances = self.instances(google, calendar, &known.id, &query).await;
        if instances.is_empty() {
            return None;
        }
        let instance = self.dice.pick(&instances).clone();
        Some((place, known, instance))
    }

    fn touch(&mut self, calendar: usize, place: usize, instance: &Value) {
        let id = instance["id"].as_str().unwrap().to_owned();
        let touched = &mut self.diaries[calendar].series[place].touched;
        if !touched.contains(&id) {
            touched.push(id);
        }
    }

    async fn move_instance(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let (place, known, instance) = self.any_instance(google, calendar).await?;
        let id = instance["id"].as_str()?;
        let (what, patch) = match self.dice.below(8) {
            0 => ("an instance moves out of the window", shifted(&instance, 700, 0)),
            1 => {
                let (Start::At(first, _), Start::At(at, _)) = (start_of(&known.body), start_of(&instance)) else {
                    return None;
                };
                ("an instance moves before its series", shifted(&instance, (first - at).num_days() - 3, 0))
            }
            2 => ("an instance is renamed", json!({ "summary": "Just this one" })),
            3 => ("an instance is made free", json!({ "transparency": "transparent" })),
            4 => ("an instance changes its length", resized(&mut self.dice, &instance)),
            5 => ("an instance moves within its day", shifted(&instance, 0, 15 * self.dice.between(1, 12))),
            _ => ("an instance moves across days", shifted(&instance, self.dice.between(1, 9), 30)),
        };
        self.patch(google, calendar, id, &patch).await?;
        self.seen.note(what);
        self.touch(calendar, place, &instance);
        Some(())
    }

    async fn cancel_instance(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let (place, _, instance) = self.any_instance(google, calendar).await?;
        let id = instance["id"].as_str()?;
        if self.dice.percent(50) {
            self.send(google, calendar, (Method::DELETE, id), &json!({})).await?;
        } else {
            self.patch(google, calendar, id, &json!({ "status": "cancelled" })).await?;
        }
        self.seen.note("an instance is cancelled");
        self.touch(calendar, place, &instance);
        Some(())
    }

    async fn restore_instance(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let (_, known) = self.any_series(calendar)?;
        let instances = self.instances(google, calendar, &known.id, "&showDeleted=true").await;
        let cancelled = instances.iter().find(|instance| instance["status"] == "cancelled")?;
        let id = cancelled["id"].as_str()?;
        self.patch(google, calendar, id, &json!({ "status": "confirmed" })).await?;
        self.seen.note("an instance is restored");
        Some(())
    }

    /// "This and following": the old series ends, a new one goes on.
    async fn split(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let (place, known, instance) = self.any_instance(google, calendar).await?;
        let original = json!({ "start": instance["originalStartTime"], "end": instance["originalStartTime"] });
        let at = start_of(&original);
        let first = match (start_of(&known.body), &at) {
            (Start::At(first, _), Start::At(at, _)) => first >= *at,
            (Start::Date(first), Start::Date(at)) => first >= *at,
            _ => true,
        };
        if first {
            return None;
        }
        let rest_first = self.dice.percent(50);
        let head = json!({ "recurrence": cut_before(&known.body["recurrence"], &at) });
        let mut rest = if self.dice.percent(50) { times_of(&instance) } else { shifted(&instance, 0, 60) };
        let rules: Vec<Value> = known.body["recurrence"]
            .as_array()?
            .iter()
            .filter(|line| line.as_str().is_some_and(|line| line.starts_with("RRULE") && !line.contains("UNTIL")))
            .cloned()
            .collect();
        rest["recurrence"] = if rules.is_empty() { json!(["RRULE:FREQ=WEEKLY;COUNT=5"]) } else { json!(rules) };
        rest["summary"] = known.body["summary"].clone();
        if rest_first {
            let made = self.send(google, calendar, (Method::POST, ""), &rest).await?;
            self.keep(calendar, made);
        }
        let body = self.patch(google, calendar, &known.id, &head).await?;
        self.update(calendar, (true, place), body);
        if !rest_first {
            let made = self.send(google, calendar, (Method::POST, ""), &rest).await?;
            self.keep(calendar, made);
        }
        self.seen.note(if rest_first {
            "a series is split, its rest first"
        } else {
            "a series is split, its head first"
        });
        self.check_fallen(google, calendar, &known).await;
        Some(())
    }

    /// Changes what a series repeats, or when; at times there and back again.
    async fn reshape(&mut self, google: &Owner, calendar: usize, edit: Edit) -> Option<()> {
        let (place, known) = self.any_series(calendar)?;
        let patch = if matches!(edit, Edit::ChangeRule) {
            json!({ "recurrence": Maker::rules(&mut self.dice, &known.body) })
        } else {
            shifted(&known.body, *self.dice.pick(&[0, 0, 1, -1, 7]), *self.dice.pick(&[0, 30, 60, -120]))
        };
        let body = self.patch(google, calendar, &known.id, &patch).await?;
        self.update(calendar, (true, place), body);
        self.check_fallen(google, calendar, &known).await;
        if self.dice.percent(20) {
            let mut back = times_of(&known.body);
            back["recurrence"] = known.body["recurrence"].clone();
            let body = self.patch(google, calendar, &known.id, &back).await?;
            self.update(calendar, (true, place), body);
            self.seen.note("a series is changed there and back");
        }
        Some(())
    }

    /// Makes a single event repeat, or a series happen once.
    async fn convert(&mut self, google: &Owner, calendar: usize, edit: Edit) -> Option<()> {
        let repeat = matches!(edit, Edit::Repeat);
        let diary = &self.diaries[calendar];
        let list = if repeat { &diary.singles } else { &diary.series };
        let place = self.dice.below(list.len());
        let known = list.get(place)?.clone();
        let mut patch = times_of(&known.body);
        patch["recurrence"] = if repeat { Maker::rules(&mut self.dice, &known.body) } else { Value::Null };
        let body = self.patch(google, calendar, &known.id, &patch).await?;
        let diary = &mut self.diaries[calendar];
        if repeat {
            diary.singles.swap_remove(place);
            self.seen.note("an event becomes a series");
        } else {
            diary.series.swap_remove(place);
            self.seen.note("a series becomes one event");
        }
        self.keep(calendar, body);
        Some(())
    }

    async fn delete(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let (recurring, place, known) = self.any(calendar)?;
        self.send(google, calendar, (Method::DELETE, &known.id), &json!({})).await?;
        let diary = &mut self.diaries[calendar];
        if recurring {
            diary.series.swap_remove(place);
            self.seen.note("a series is deleted");
        } else {
            diary.singles.swap_remove(place);
        }
        diary.gone.push(known);
        Some(())
    }

    async fn revive(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let place = self.dice.below(self.diaries[calendar].gone.len());
        let known = self.diaries[calendar].gone.get(place)?.clone();
        let mut patch = times_of(&known.body);
        patch["status"] = json!("confirmed");
        if known.body["recurrence"].is_array() {
            patch["recurrence"] = known.body["recurrence"].clone();
        }
        let body = self.patch(google, calendar, &known.id, &patch).await?;
        self.diaries[calendar].gone.swap_remove(place);
        self.keep(calendar, body);
        self.seen.note("a deleted event is revived");
        Some(())
    }

    /// Somebody invites the owner: a copy appears in the owner's calendar, and at times in another one too.
    async fn invite(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let recurring = self.dice.percent(30);
        let (mut body, _) = self.maker.event(&mut self.dice, "Invitation", recurring);
        let owners: Vec<Value> = self
            .diaries
            .iter()
            .map(|diary| json!({ "email": diary.owner, "responseStatus": "needsAction" }))
            .chain([json!({ "email": "host@example.com", "responseStatus": "accepted", "organizer": true })])
            .collect();
        body["attendees"] = json!(owners);
        body["iCalUID"] = json!(format!("invitation-{}@example.com", self.number));
        let other = self.dice.below(self.diaries.len());
        let mut calendars = vec![calendar];
        if other != calendar {
            calendars.push(other);
        }
        for calendar in calendars {
            let made = self.send(google, calendar, (Method::POST, ""), &body).await?;
            self.keep(calendar, made);
        }
        self.seen.note("an invitation comes");
        Some(())
    }

    async fn respond(&mut self, google: &Owner, calendar: usize) -> Option<()> {
        let recurring = self.dice.percent(40);
        let diary = &self.diaries[calendar];
        let list = if recurring { &diary.series } else { &diary.singles };
        let invited: Vec<usize> = (0..list.len()).filter(|place| list[*place].body["attendees"].is_array()).collect();
        if invited.is_empty() {
            return None;
        }
        let place = *self.dice.pick(&invited);
        let (known, owner) = (list[place].clone(), diary.owner);
        let answer = *self.dice.pick(&["accepted", "declined", "declined", "tentative"]);
        let mut attendees = known.body["attendees"].clone();
        for attendee in attendees.as_array_mut()? {
            if attendee["email"] == owner {
                attendee["responseStatus"] = json!(answer);
            }
        }
        let body = self.patch(google, calendar, &known.id, &json!({ "attendees": attendees })).await?;
        self.update(calendar, (recurring, place), body);
        if answer == "declined" {
            self.seen.note("the owner declines");
        }
        Some(())
    }

    /// What was done to an event, or to its series and instances, in order.
    pub(super) fn history(&self, calendar: &str, id: &str) -> Vec<String> {
        let id = id.split('_').next().unwrap_or_default();
        let of =
            |entry: &&Entry| self.diaries[entry.calendar].id == calendar && (entry.id == id || entry.id.is_empty());
        let lines: Vec<String> = self
            .log
            .iter()
            .filter(of)
            .map(|entry| format!("  #{} {} → {}", entry.number, entry.what, entry.status))
            .collect();
        lines[lines.len().saturating_sub(12)..].to_vec()
    }
}

fn times_of(body: &Value) -> Value {
    debug_assert!(is_timed(body) || body["start"]["date"].is_string());
    json!({ "start": body["start"], "end": body["end"] })
}

impl Maker {
    /// About now.
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.today().and_time(chrono::NaiveTime::MIN).and_utc()
    }
}
