//! What goes and what stays: a pure function.
//!
//! In the order of last use, each candidate goes that nothing keeps, until the mark is met. One of which others have
//! every layer waits for those: its name would be lost for nothing if they stay. What a removal frees is
//! counted as the file system will give it back: an object goes with the last that holds it, a file with its last name.
//! An image on which containers lie can go when those have gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use lapstrake_store::FileUse;

use super::decision::{Decision, Goes, Stays, Subject, Verdict, Why};
use super::freeing::Freeing;
use super::policy::Policy;
use super::space::Space;
use crate::Label;
use crate::df::Held;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Something goes if less is free than is to be kept.
    Watching,
    /// That was so, and more goes until there is enough.
    Freeing,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) policy: &'a Policy,
    pub(super) now: SystemTime,
    pub(super) space: Space,
    pub(super) stage: Stage,
}

/// A blob or a layer.
#[derive(Debug, Clone, Default)]
pub(super) struct Object {
    pub(super) files: Vec<FileUse>,
    pub(super) is_layer: bool,
    /// Whether something holds it that is no candidate.
    pub(super) held: bool,
}

/// What may go.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) subject: Subject,
    pub(super) used: SystemTime,
    pub(super) labels: BTreeMap<String, String>,
    /// Why it must stay, whatever is asked for.
    pub(super) hindrance: Option<Why>,
    /// Containers and writable layers that must have gone before: ids, and names to tell.
    pub(super) users: BTreeMap<String, String>,
    /// Objects that it holds, once each, by their place in [`Facts::objects`].
    pub(super) holds: Vec<usize>,
    /// What else goes with it.
    pub(super) own: Held,
}

/// What there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) objects: Vec<Object>,
    pub(super) candidates: Vec<Candidate>,
}

/// Decides what goes and what stays.
pub(super) fn decide(asked: Asked<'_>, facts: &Facts) -> Decision {
    let mut order: Vec<&Candidate> = facts.candidates.iter().collect();
    order.sort_by_key(|one| (one.used, &one.subject));
    let kept = reasons(asked, facts, &order);
    let mut freeing = Freeing::of(facts);
    let alone: Vec<_> = order.iter().map(|one| freeing.alone(one)).collect();

    let policy = asked.policy;
    let lacks = |freed| policy.missing(&asked.space.with(freed));
    let enough =
        asked.stage == Stage::Watching && asked.space.lacks(policy.keep_free) == Held::default();
    let in_vain = !enough && !policy.is_possible(&asked.space);
    let nothing_goes = enough || in_vain;
    let (mut freed, mut goes) = (Held::default(), Vec::new());
    let mut gone: Vec<bool> = vec![false; order.len()];
    let mut gone_containers: BTreeSet<&str> = BTreeSet::new();
    if !nothing_goes && lacks(freed) != Held::default() {
        let loose = freeing.loose();
        if loose != Held::default() {
            freed.add(loose);
            goes.push(Goes {
                subject: Subject::Loose,
                used: None,
                frees: loose,
            });
        }
    }
    while !nothing_goes && lacks(freed) != Held::default() {
        let may_go = |at: &usize| {
            let mut users = order[*at].users.keys();
            !gone[*at]
                && kept[*at].is_none()
                && users.all(|user| gone_containers.contains(user.as_str()))
        };
        // One that frees nothing by itself, for it lies below another, waits until that has gone.
        let frees = |at: &usize| may_go(at) && freeing.frees_layer(order[*at]);
        let next = (0..order.len()).find(frees);
        let Some(next) = next.or_else(|| (0..order.len()).find(may_go)) else {
            break;
        };
        gone[next] = true;
        if let Subject::Container { id, .. } = &order[next].subject {
            gone_containers.insert(id);
        }
        let frees = freeing.let_go(order[next]);
        freed.add(frees);
        goes.push(Goes {
            subject: order[next].subject.clone(),
            used: Some(order[next].used),
            frees,
        });
    }
    let verdict = match (enough, lacks(freed)) {
        (true, _) => Verdict::Enough,
        _ if in_vain => Verdict::Impossible,
        (false, missing) if missing == Held::default() => Verdict::Reached,
        (false, missing) => Verdict::Short(missing),
    };
    let stays = (order.iter().zip(kept).zip(alone).enumerate())
        .filter(|(at, _)| !gone[*at])
        .map(|(_, ((one, why), alone))| Stays {
            subject: one.subject.clone(),
            used: one.used,
            alone,
            why: why.unwrap_or_else(|| match one.users.is_empty() {
                true if in_vain => Why::InVain,
                true => Why::NotNeeded,
                false => one.used_by(),
            }),
        });
    Decision {
        space: asked.space,
        stays: stays.collect(),
        goes,
        verdict,
    }
}

/// Why each must stay, as long as what others use may go.
fn reasons(asked: Asked<'_>, facts: &Facts, order: &[&Candidate]) -> Vec<Option<Why>> {
    let policy = asked.policy;
    let own = |one: &&Candidate| {
        let protects = |label: &&Label| label.is_one_of(&one.labels);
        // A clock that was put back makes nothing old.
        let age = asked.now.duration_since(one.used);
        let is_young = age.unwrap_or(Duration::ZERO) < policy.min_age;
        (one.hindrance.clone())
            .or_else(|| {
                policy
                    .protect
                    .iter()
                    .find(protects)
                    .cloned()
                    .map(Why::Protected)
            })
            .or_else(|| is_young.then_some(Why::Young))
    };
    let mut why: Vec<Option<Why>> = order.iter().map(own).collect();
    let may_go: BTreeSet<&str> = (order.iter().zip(&why))
        .filter_map(|(one, why)| match (&one.subject, why) {
            (Subject::Container { id, .. }, None) => Some(id.as_str()),
            _ => None,
        })
        .collect();
    for (one, why) in order.iter().zip(&mut why) {
        // Who looks why it stays wants to know first of all who uses it.
        let all_may_go = one.users.keys().all(|user| may_go.contains(user.as_str()));
        let beside_users = matches!(
            one.hindrance,
            None | Some(Why::Mounted | Why::Leased | Why::Unreadable)
        );
        if beside_users && !all_may_go {
            *why = Some(one.used_by());
        }
    }
    let mut kept: Vec<bool> = facts.objects.iter().map(|object| object.held).collect();
    for (one, _) in order.iter().zip(&why).filter(|(_, why)| why.is_some()) {
        for at in &one.holds {
            kept[*at] = true;
        }
    }
    for (one, why) in order.iter().zip(&mut why) {
        let frees_no_layer = || {
            let mut layers = one.holds.iter().filter(|at| facts.objects[**at].is_layer);
            layers.all(|at| kept[*at])
        };
        if why.is_none() && matches!(one.subject, Subject::Image { .. }) && frees_no_layer() {
            *why = Some(Why::FreesNothing);
        }
    }
    why
}

impl Candidate {
    fn used_by(&self) -> Why {
        Why::UsedBy(self.users.values().cloned().collect())
    }
}
