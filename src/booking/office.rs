//! What is known of a business when somebody asks: its people, services, calendars, and when they are busy.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    BookingError,
    days::Overrides,
    freshness::{Freshness, Standing, Terms},
};
use crate::{
    availability::{
        Agenda, Alternative, Course, Purpose, Rank, Reason, Rules, Timetable, Voice, WeekLoad, alternatives,
        alternatives_together, check,
    },
    domain::{
        BookingId, BusinessId, Interval, ResourceId, ServiceId,
        interval::merge,
        sabotage::{Bug, sabotaged},
    },
    store::{Tx, businesses::Business, calendars::Calendar, resources::Resource, services::Service},
};

/// Alternatives given with a no.
const ALTERNATIVES: usize = 3;
/// How far around the asked time alternatives are looked for.
const AROUND: TimeDelta = TimeDelta::days(16);

/// What is to be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A service, by its id or its name.
    Service(String),
    /// A bare time.
    Lasting(TimeDelta),
}

/// What somebody wants, apart from when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// What is to be booked.
    pub what: What,
    /// With whom, by id or name; whoever can, when absent.
    pub resource: Option<String>,
    /// In which call: what it holds itself does not stand in its way.
    pub call_id: Option<String>,
}

/// A wish in this business's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) rules: Rules,
    pub(super) service: Option<ServiceId>,
    /// Who may do it, in the order of their ids; who may lead, where several are needed.
    pub(super) candidates: Vec<ResourceId>,
    /// Further groups of which one each is needed.
    pub(super) besides: Vec<Vec<ResourceId>>,
    /// The one that was named.
    pub(super) named: Option<ResourceId>,
}

/// A business as it is set up.
#[derive(Debug)]
pub struct Office {
    /// The tenant.
    pub business: Business,
    /// Who or what is booked.
    pub resources: Vec<Resource>,
    /// What is booked.
    pub services: Vec<Service>,
    /// Its calendars and how their mirrors stand.
    pub calendars: Vec<Calendar>,
    /// Dates that are not like the week.
    pub overrides: Overrides,
}

/// When the resources of a business are busy, within the time that was read.
#[derive(Debug, Default)]
pub(super) struct Diary {
    busy: HashMap<ResourceId, Vec<Interval>>,
    claims: HashMap<ResourceId, Vec<Interval>>,
    /// The days on which the asked service has reached its cap.
    pub(super) capped: Vec<Interval>,
    /// What each has to do in the weeks around the asked time.
    pub(super) loads: HashMap<ResourceId, Vec<WeekLoad>>,
}

impl Office {
    /// Reads a business.
    pub(super) async fn read(tx: &mut Tx, id: BusinessId) -> Result<Self, BookingError> {
        let business = tx.business(id).await?.ok_or(BookingError::Unknown("business"))?;
        Ok(Self {
            resources: tx.resources(id).await?,
            services: tx.services(id).await?,
            calendars: tx.calendars(id).await?,
            overrides: Overrides::read(tx, id).await?,
            business,
        })
    }

    /// The zone in which a resource's hours lie and its times are told.
    pub(super) fn zone(&self, resource: Option<ResourceId>) -> Tz {
        let resource = resource.and_then(|id| self.resources.iter().find(|known| known.id == id));
        resource.and_then(|resource| resource.time_zone).unwrap_or(self.business.time_zone)
    }

    /// How times are told to whoever asked for `resource`, or for anybody. The zone is named where people might think of
    /// another one.
    pub(super) fn voice(&self, resource: Option<ResourceId>) -> Voice {
        let zone = self.zone(resource);
        let elsewhere = |known: &Resource| known.time_zone.is_some_and(|zone| zone != self.business.time_zone);
        let names_zone = match resource {
            Some(_) => zone != self.business.time_zone,
            None => self.resources.iter().any(elsewhere),
        };
        Voice { zone, names_zone, language: self.business.language }
    }

    /// The calendars that make one of `resources` busy.
    pub(super) fn blocking<'a>(&'a self, resources: &'a [ResourceId]) -> impl Iterator<Item = &'a Calendar> {
        self.calendars
            .iter()
            .filter(|calendar| calendar.blocks && calendar.resource.is_some_and(|id| resources.contains(&id)))
    }

    /// The calendar that bookings of a resource are written to.
    pub(super) fn target(&self, resource: ResourceId) -> Option<&Calendar> {
        self.calendars.iter().find(|calendar| calendar.target && calendar.resource == Some(resource))
    }

    /// The resource with this id or name.
    pub(super) fn resource(&self, text: &str) -> Result<ResourceId, BookingError> {
        let unknown = || unknown_name("resource", self.resources.iter().map(|resource| &resource.name));
        Ok(Resource::find(&self.resources, text).ok_or_else(unknown)?.id)
    }

    fn service(&self, text: &str) -> Result<&Service, BookingError> {
        let id = text.parse::<ServiceId>().ok();
        let found = self.services.iter().find(|known| Some(known.id) == id || same_name(&known.name, text));
        found.ok_or_else(|| unknown_name("service", self.services.iter().map(|s| &s.name)))
    }

    /// Understands a wish.
    pub(super) fn order(&self, wish: &Wish) -> Result<Order, BookingError> {
        let (rules, service, able) = match &wish.what {
            What::Lasting(duration) => (Rules::lasting(*duration), None, &[][..]),
            What::Service(text) => {
                let service = self.service(text)?;
                if !service.needs.is_empty() {
                    let named = wish.resource.as_deref().map(|text| self.resource(text)).transpose()?;
                    return Order::together(service, named);
                }
                (service.rules, Some(service.id), &service.resources[..])
            }
        };
        let everybody = || self.resources.iter().map(|resource| resource.id);
        let named = wish.resource.as_deref().map(|text| self.resource(text)).transpose()?;
        let candidates: Vec<ResourceId> = match named {
            Some(id) if !able.is_empty() && !able.contains(&id) => {
                let detail = "this resource does not do this service".to_owned();
                return Err(BookingError::Invalid { field: "resource", detail });
            }
            Some(id) => vec![id],
            None if able.is_empty() => everybody().collect(),
            None => everybody().filter(|id| able.contains(id)).collect(),
        };
        if candidates.is_empty() {
            let detail = "this business has no resource that can be booked yet".to_owned();
            return Err(BookingError::Invalid { field: "resource", detail });
        }
        Ok(Order { rules, service, candidates, besides: Vec::new(), named })
    }

    /// How the mirror of one resource stands, and what the business wants done with it.
    pub(super) fn course(&self, resource: ResourceId, terms: &Terms, now: DateTime<Utc>) -> (Standing, Course) {
        let standing = Standing::of(self.blocking(&[resource]), now, terms.fresh_for);
        (standing, terms.course(self.business.freshness, &standing))
    }

    /// The calendars that are to be looked at before `resources` are spoken of.
    pub(super) fn behind(&self, resources: &[ResourceId], terms: &Terms, now: DateTime<Utc>) -> Vec<Calendar> {
        let behind: Vec<ResourceId> =
            resources.iter().copied().filter(|id| self.course(*id, terms, now).1 == Course::Look).collect();
        self.blocking(&behind).filter(|calendar| terms.wants_look(calendar, now)).cloned().collect()
    }

    /// What is known of each of `resources`, on these terms, for the rules to judge.
    pub(super) fn agendas<'a>(
        &'a self,
        resources: &[ResourceId],
        diary: &'a Diary,
        terms: &Terms,
        now: DateTime<Utc>,
    ) -> Vec<Agenda<'a>> {
        let known = |id: &ResourceId| self.resources.iter().find(|resource| resource.id == *id);
        let agenda = |resource: &'a Resource| {
            let (standing, course) = self.course(resource.id, terms, now);
            let booked_unread = terms.purpose == Purpose::Booking && standing.freshness == Freshness::Unknown;
            Agenda {
                resource: resource.id,
                zone: resource.time_zone.unwrap_or(self.business.time_zone),
                hours: Timetable::new(
                    resource.hours.as_ref().unwrap_or(&self.business.hours),
                    self.overrides.own(resource.id),
                    self.overrides.shared(),
                ),
                capacity: resource.capacity,
                busy: diary.busy.get(&resource.id).map_or(&[], Vec::as_slice),
                claims: diary.claims.get(&resource.id).map_or(&[], Vec::as_slice),
                // A business that takes bookings on an unread calendar is not asked what the calendar covers.
                coverage: if booked_unread && course == Course::Warn { None } else { standing.coverage },
                withheld: match course {
                    Course::Refuse(reason) => Some(reason),
                    Course::Look | Course::Answer | Course::Warn => None,
                },
                capped: &diary.capped,
                load: diary.loads.get(&resource.id).map_or(&[], Vec::as_slice),
            }
        };
        resources.iter().filter_map(known).map(agenda).collect()
    }
}

impl Diary {
    /// Reads when `resources` are busy within `window`. The claims of `except` are left out: a booking that moves does not
    /// stand in its own way, nor does a call in that of its holds.
    pub(super) async fn read(
        tx: &mut Tx,
        business: BusinessId,
        resources: &[ResourceId],
        window: Interval,
        except: &[BookingId],
    ) -> Result<Self, BookingError> {
        let now = tx.now();
        // One resource has an index of its own to go by; for several one query is cheaper than many.
        let one = match resources {
            [one] => Some(*one),
            _ => None,
        };
        let mut diary = Self::default();
        for slot in tx.busy(business, one, window).await?.into_iter().filter(|_| !sabotaged(Bug::BusyUnchecked)) {
            diary.busy.entry(slot.resource).or_default().push(slot.interval);
        }
        for intervals in diary.busy.values_mut() {
            *intervals = merge(std::mem::take(intervals));
        }
        for claim in tx.claims(business, one, window, now).await? {
            if !except.contains(&claim.booking) && !sabotaged(Bug::OverlapUnchecked) {
                let closed = TimeDelta::microseconds(i64::from(sabotaged(Bug::NeighboursOverlap)));
                let interval = claim.interval.widen(closed, closed).unwrap_or(claim.interval);
                diary.claims.entry(claim.resource).or_default().push(interval);
            }
        }
        Ok(diary)
    }

    /// Whether a calendar of `resource` has anything in `time`.
    pub(super) fn is_busy(&self, resource: ResourceId, time: Interval) -> bool {
        self.busy.get(&resource).is_some_and(|busy| busy.iter().any(|busy| busy.overlaps(time)))
    }
}

/// The time to read to judge a booking at `start`.
pub(super) fn around(start: DateTime<Utc>, rules: &Rules) -> Result<Interval, BookingError> {
    let end = start.checked_add_signed(rules.duration);
    let booked = end.and_then(|end| Interval::new(start, end));
    let read = booked.and_then(|booked| booked.widen(rules.buffer_before, rules.buffer_after));
    read.ok_or_else(|| BookingError::Invalid { field: "start", detail: "the time lies beyond the calendar".to_owned() })
}

/// Who can do it, the one first who has least to do; or why nobody can: unknown when anybody's time is unknown, else the reason that
/// is nearest to a yes.
pub(super) fn judge(
    agendas: &[Agenda<'_>],
    rules: &Rules,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<ResourceId>, Reason> {
    let (mut able, mut reasons): (Vec<Rank>, Vec<Reason>) = (Vec::new(), Vec::new());
    for agenda in agendas {
        match check(agenda, rules, start, now) {
            Ok(()) => able.push(agenda.rank(start)),
            Err(reason) => reasons.push(reason),
        }
    }
    if !able.is_empty() {
        able.sort_unstable();
        return Ok(able.into_iter().map(|(_, _, resource)| resource).collect());
    }
    let nearness = |reason: &Reason| match reason {
        Reason::OutsideCoverage | Reason::Stale => 0,
        Reason::Past => 1,
        Reason::Notice => 2,
        Reason::Horizon => 3,
        Reason::Cap => 4,
        Reason::Buffer => 5,
        Reason::Busy => 6,
        Reason::Closed => 7,
    };
    Err(reasons.into_iter().min_by_key(nearness).unwrap_or(Reason::Closed))
}

/// Reads the time around `start` and finds what else can be offered. What is not known on these terms is no offer.
pub(super) async fn find_alternatives(
    tx: &mut Tx,
    office: &Office,
    order: &Order,
    start: DateTime<Utc>,
    except: &[BookingId],
    terms: &Terms,
) -> Result<Vec<Alternative>, BookingError> {
    let needs =
        office.services.iter().find(|known| Some(known.id) == order.service).filter(|one| !one.needs.is_empty());
    if let Some(service) = needs {
        // All of each group, also where one was named.
        let whole = Order { named: order.named, ..Order::together(service, None)? };
        let Some(window) = around(start, &order.rules)?.widen(AROUND, AROUND) else { return Ok(Vec::new()) };
        let mut diary = Diary::read(tx, office.business.id, &whole.everybody(), window, except).await?;
        diary.count(tx, office, order, window, except).await?;
        diary.weigh(tx, office, &whole.everybody(), window).await?;
        let groups = office.agendas_together(&whole, &diary, &terms.of_offers(), tx.now());
        return Ok(alternatives_together(&groups, &order.rules, start, order.named, tx.now(), ALTERNATIVES));
    }
    let everybody: Vec<ResourceId> = match (&order.named, order.service) {
        // Another resource may be offered as well, when it does the same service.
        (Some(_), service) => {
            let able = office.services.iter().find(|known| Some(known.id) == service).map(|known| &known.resources);
            let may = |id: &ResourceId| able.is_none_or(|able| able.is_empty() || able.contains(id));
            office.resources.iter().map(|resource| resource.id).filter(may).collect()
        }
        (None, _) => order.candidates.clone(),
    };
    let Some(window) = around(start, &order.rules)?.widen(AROUND, AROUND) else { return Ok(Vec::new()) };
    let mut diary = Diary::read(tx, office.business.id, &everybody, window, except).await?;
    diary.count(tx, office, order, window, except).await?;
    diary.weigh(tx, office, &everybody, window).await?;
    let agendas = office.agendas(&everybody, &diary, &terms.of_offers(), tx.now());
    Ok(alternatives(&agendas, &order.rules, start, order.named, tx.now(), ALTERNATIVES))
}

fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.trim().to_lowercase()
}

fn unknown_name<'a>(field: &'static str, names: impl Iterator<Item = &'a String>) -> BookingError {
    let names: Vec<&str> = names.map(String::as_str).take(20).collect();
    let detail = format!("there is no such {field}: its id or one of these names is expected: {}", names.join(", "));
    BookingError::Invalid { field, detail }
}
