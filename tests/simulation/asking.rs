//! Which request comes next.

use slotd::{domain::BookingId, store::Moment};

use crate::{
    callers::Request,
    gate::Point,
    oracle::Tables,
    template::{CAPACITIES, SERVICES},
    world::{Used, Verdict, Work, World},
};

/// So many calls are on the line, and come back.
const CALLS: usize = 4;

impl World {
    fn some_call(&mut self) -> String {
        format!("call {}", self.dice.below(CALLS))
    }

    fn known(&mut self, is: impl Fn(&crate::oracle::Booking) -> bool) -> Option<BookingId> {
        let known: Vec<BookingId> = self
            .tables
            .bookings
            .iter()
            .filter(|(_, booking)| is(booking))
            .filter_map(|(id, _)| id.parse().ok())
            .collect();
        if known.is_empty() { None } else { Some(*self.dice.pick(&known)) }
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        let tag = format!("R-{}", self.tags);
        self.attempted.insert(tag.clone());
        tag
    }

    /// Somebody calls, or calls again.
    pub(crate) fn call(&mut self, node: usize) {
        if !self.keys.is_empty() && self.dice.percent(18) {
            return self.call_again(node);
        }
        let Some(request) = self.some_request() else { return };
        let keyed = !matches!(request, Request::Release { .. } | Request::HangUp { .. }) && self.dice.percent(55);
        let key = keyed.then(|| format!("key {}", self.keys.len()));
        if let Some(key) = &key {
            self.keys.insert(key.clone(), Used { request: request.clone(), answer: None });
        }
        let hung_up = self.dice.percent(15);
        if hung_up {
            self.seen.note("a caller hangs up before the answer");
        }
        self.begin(node, Work::Call { request, key, hung_up });
    }

    fn call_again(&mut self, node: usize) {
        let keys: Vec<String> = self.keys.keys().cloned().collect();
        let key = self.dice.pick(&keys).clone();
        let used = &self.keys[&key];
        // Only what was answered shows that another request is refused.
        let wrong = used.answer.is_some() && self.dice.percent(25);
        let mut request = used.request.clone();
        if wrong {
            request = request.garbled();
        }
        if let Request::Book { tag, .. } | Request::BookHold { tag, .. } = &request {
            self.attempted.insert(tag.clone());
        }
        self.begin(node, Work::Call { request, key: Some(key), hung_up: false });
    }

    fn some_request(&mut self) -> Option<Request> {
        let what = self.dice.below(SERVICES.len());
        let chair = if self.dice.percent(60) { Some(self.dice.below(CAPACITIES.len())) } else { None };
        let start = self.some_start();
        let minutes = self.dice.between(1, 12);
        Some(match self.dice.below(20) {
            0..4 => Request::Hold { call: self.some_call(), what, chair, start, minutes },
            4 => Request::Extend { hold: self.known(|booking| booking.state == "held")?, minutes },
            5 => Request::Swap { hold: self.known(|booking| booking.state == "held")?, start },
            6..10 => {
                let call = if self.dice.percent(40) { Some(self.some_call()) } else { None };
                Request::Book { call, what, chair, start, tag: self.tag() }
            }
            10..13 => {
                let hold = self.known(|booking| booking.call.is_some() && booking.state != "confirmed")?;
                let own = self.tables.bookings[&hold.to_string()].call.clone();
                let call = match self.dice.below(4) {
                    0 => None,
                    1 => {
                        self.seen.note("a call asks for what another call holds");
                        Some(self.some_call())
                    }
                    _ => own,
                };
                Request::BookHold { hold, call, tag: self.tag() }
            }
            13..16 => Request::Move { booking: self.known(|booking| booking.state == "confirmed")?, start, chair },
            16 => {
                let name = format!("Ada {}", self.dice.below(1_000));
                Request::Edit { booking: self.known(|booking| booking.state == "confirmed")?, name }
            }
            17 | 18 => Request::Cancel { booking: self.known(crate::oracle::Booking::stands)? },
            _ if self.dice.percent(50) => Request::Release { hold: self.known(|booking| booking.state == "held")? },
            _ => Request::HangUp { call: self.some_call() },
        })
    }

    /// Notes what a transaction did that is worth a name.
    pub(crate) fn note_changes(&mut self, after: &Tables) -> Verdict {
        for (id, booking) in &after.bookings {
            let former = self.tables.bookings.get(id);
            let steps = former.map_or(0, |former| former.steps.len());
            for step in &booking.steps[steps.min(booking.steps.len())..] {
                let event = booking.event.as_deref().unwrap_or_default();
                let owners = self.owner.spans.get(event).is_some_and(|spans| spans.contains(&step.span));
                if (step.what.as_str(), step.source.as_str()) == ("rescheduled", "owner") && !owners {
                    return Err(format!("booking {id} follows a move that the owner did not make"));
                }
                if self.keeps && step.source == "owner" && matches!(step.what.as_str(), "rescheduled" | "cancelled") {
                    return Err(format!("booking {id} was to be kept, and followed its event"));
                }
                self.seen.note(match (step.what.as_str(), step.source.as_str()) {
                    ("created", _) => "a booking is made",
                    ("held", _) => "a hold is taken",
                    ("extended", _) => "a hold is extended",
                    ("confirmed", _) => "a hold is booked",
                    ("rescheduled", "owner") => "a booking follows the owner",
                    ("rescheduled", _) => "a caller moves a booking",
                    ("edited", _) => "a booking is edited",
                    ("cancelled", "owner") => "a booking ends with its event",
                    ("cancelled", _) => "a caller cancels a booking",
                    ("completed", _) => "a booking is over",
                    ("expired", _) => "a hold runs out",
                    ("released", _) => "a hold is given back",
                    ("conflict", _) => "a conflict is recorded",
                    _ => "another step",
                });
            }
            if booking.gone.as_deref() == Some("asked") {
                self.seen.note("the owner is asked about many deletions");
            }
            if former.is_some_and(|former| former.chair != booking.chair) {
                self.owner.reseated.insert(id.clone());
            }
            if former.is_some_and(|former| former.event.is_some() && former.event != booking.event) {
                self.seen.note("a booking gets another event id");
            }
        }
        Ok(())
    }

    pub(crate) fn note_point(&mut self, point: &Point) {
        match point {
            Point::Answers(ask, 409) if ask.verb == "POST" => self.seen.note("an id is known to Google already"),
            Point::Answers(_, 412) => self.seen.note("412: the event changed meanwhile"),
            Point::Answers(ask, 410) if ask.full_list == Some(false) => self.seen.note("410: the token has ended"),
            Point::Answers(_, 410) => self.seen.note("410: the event was deleted before"),
            Point::Answers(_, 404) => self.seen.note("404: there is no such event"),
            Point::Store(Moment::BeforeRead | Moment::BeforeWrite | Moment::Committed)
            | Point::Asks(_)
            | Point::Answers(..) => {}
        }
    }
}
