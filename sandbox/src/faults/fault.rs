//! A fault: which calls it strikes, how often, and with what.

use serde::{Deserialize, Serialize};

use super::effect::{Effect, PUSH, REFRESH};
use crate::api;

/// A fault: which calls it strikes, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The method's id, such as `calendar.events.list`, `oauth2.refresh` or `push`; a trailing `*` stands for any rest.
    pub method: String,
    /// Strikes only calls for this calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// Strikes only calls in the name of this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Strikes only this page of a list, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<u32>,
    /// Strikes only lists of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// Strikes only pushes of this channel, and calls that open or stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// How many matching calls pass before the first is struck.
    #[serde(default)]
    pub skip: u32,
    /// How many calls it strikes; until it is removed when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The percentage of matching calls that is struck, at random; all when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Decides which calls `rate` strikes: the same ones for the same order of calls. Drawn when missing, and listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// What happens to a call that is struck.
    pub effect: Effect,
}

/// Whether a list asks for everything or for what has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Without a sync token.
    Full,
    /// With a sync token.
    Incremental,
}

/// A call or push that a fault may strike.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Target<'a> {
    pub(crate) method: &'a str,
    pub(crate) calendar: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) page: Option<u32>,
    pub(crate) shape: Option<Shape>,
    pub(crate) channel: Option<&'a str>,
}

impl Fault {
    /// A fault that strikes every call of a method once.
    #[must_use]
    pub fn once(method: &str, effect: Effect) -> Self {
        Self {
            method: method.to_owned(),
            calendar: None,
            user: None,
            page: None,
            shape: None,
            channel: None,
            skip: 0,
            times: Some(1),
            rate: None,
            seed: None,
            effect,
        }
    }

    /// A fault that strikes a percentage of a method's calls, chosen by a seed, until it is removed.
    #[must_use]
    pub fn at_random(method: &str, rate: f64, seed: u64, effect: Effect) -> Self {
        Self { times: None, rate: Some(rate), seed: Some(seed), ..Self::once(method, effect) }
    }

    pub(super) fn matches(&self, target: Target) -> bool {
        let fits =
            |wanted: &Option<String>, given: Option<&str>| wanted.as_deref().is_none_or(|wanted| given == Some(wanted));
        self.times != Some(0)
            && self.covers(target.method)
            && fits(&self.calendar, target.calendar)
            && fits(&self.user, target.user)
            && fits(&self.channel, target.channel)
            && (self.page.is_none() || self.page == target.page)
            && (self.shape.is_none() || self.shape == target.shape)
    }

    fn covers(&self, method: &str) -> bool {
        let named = match self.method.strip_suffix('*') {
            Some(prefix) => method.starts_with(prefix),
            None => self.method == method,
        };
        named && self.effect.concern().covers(method)
    }

    /// What is wrong with the fault, with the field's name, if it could never strike or makes no sense.
    pub(super) fn check(&self) -> Result<(), String> {
        self.effect.check()?;
        if let Some(rate) = self.rate
            && !(rate > 0.0 && rate <= 100.0)
        {
            return Err(format!("rate: {rate} is no percentage; give one above 0, up to 100"));
        }
        if self.page == Some(0) {
            return Err("page: pages are counted from 1".to_owned());
        }
        if self.times == Some(0) {
            return Err("times: give at least 1, or leave it out to strike until the fault is removed".to_owned());
        }
        let known: Vec<&str> = api::method_ids().chain([REFRESH, PUSH]).collect();
        let named = Self { effect: Effect::Delay { ms: 0 }, ..self.clone() };
        if !known.iter().any(|method| named.covers(method)) {
            return Err(format!("method: {:?} is not known; give one of {}", self.method, known.join(", ")));
        }
        if !known.iter().any(|method| self.covers(method)) {
            let fitting: Vec<&str> = known.into_iter().filter(|method| self.effect.concern().covers(method)).collect();
            let (kind, fitting) = (self.effect.name(), fitting.join(", "));
            return Err(format!("method: {kind} never strikes {:?}; give one of {fitting}", self.method));
        }
        Ok(())
    }
}
