//! Services that need several resources at once, as requests say it.

use crate::{availability::GROUPS_MAX, domain::ResourceId, http::Problem, store::resources::Resource};

/// Most resources of one group. A booking locks all of them that could be taken.
const GROUP_MAX: usize = 20;

/// Reads groups of ids or names. `any` are the resources of which one alone would be enough.
pub(super) fn read(
    groups: &[Vec<String>],
    any: &[ResourceId],
    known: &[Resource],
) -> Result<Vec<Vec<ResourceId>>, Problem> {
    if groups.is_empty() {
        return Ok(Vec::new());
    }
    if !any.is_empty() {
        return Err(Problem::invalid(
            "/resources",
            "give `resources`, when one of them is enough, or `needs`, not both",
        ));
    }
    if !(2..=GROUPS_MAX).contains(&groups.len()) {
        let detail = format!("2 to {GROUPS_MAX} groups are expected; when one resource is enough, give `resources`");
        return Err(Problem::invalid("/needs", detail));
    }
    let mut read: Vec<Vec<ResourceId>> = Vec::with_capacity(groups.len());
    for (place, group) in groups.iter().enumerate() {
        if !(1..=GROUP_MAX).contains(&group.len()) {
            let detail = format!("1 to {GROUP_MAX} resources are expected, of which one is taken");
            return Err(Problem::invalid(format!("/needs/{place}"), detail));
        }
        let mut members = Vec::with_capacity(group.len());
        for (at, text) in group.iter().enumerate() {
            let wrong = |detail: String| Problem::invalid(format!("/needs/{place}/{at}"), detail);
            let resource = Resource::find(known, text).ok_or_else(|| wrong("there is no such resource".to_owned()))?;
            if let Some(earlier) = read.iter().position(|earlier| earlier.contains(&resource.id)) {
                return Err(wrong(format!("it is in group {earlier} already: a resource is taken once")));
            }
            members.push(resource.id);
        }
        members.sort_unstable();
        members.dedup();
        read.push(members);
    }
    Ok(read)
}
