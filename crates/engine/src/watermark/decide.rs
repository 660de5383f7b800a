//! What goes and what stays: a pure function.
//!
//! In the order of last use, each candidate goes that nothing keeps, until the mark is met. One of which others have
//! every layer waits for those: its name would be lost for nothing if they stay. What a removal frees is
//! counted as the file system will give it back: an object goes with the last that holds it, a file with its last name.
//! An image on which containers lie can go when those have gone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::time::{Duration, SystemTime};

use lapstrake_oci::Digest;
use lapstrake_store::FileUse;

use super::policy::Policy;
use super::space::Space;
use crate::Label;
use crate::df::Held;

/// What goes or stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Content that nothing keeps alive, such as layers of pulls that failed. It goes first.
    Loose,
    /// A container that does not run, with its log; its volumes stay.
    Container {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
    },
    /// An image with all its names.
    Image {
        /// Its id.
        id: Digest,
        /// Its manifest.
        manifest: Digest,
        /// Its names.
        names: Vec<String>,
    },
}

impl Subject {
    /// What it is known by, whatever its names are.
    pub(super) fn key(&self) -> String {
        match self {
            Self::Loose => String::new(),
            Self::Container { id, .. } => id.clone(),
            Self::Image { manifest, .. } => manifest.to_string(),
        }
    }
}

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Containers lie on it, or have it mounted: their names.
    UsedBy(Vec<String>),
    /// It is mounted.
    Mounted,
    /// It is being pulled, loaded or made.
    Leased,
    /// The container runs, or is about to.
    Running,
    /// Somebody began to use it meanwhile.
    Busy,
    /// It has this label.
    Protected(Label),
    /// It may be protected: its labels can't be read.
    Unreadable,
    /// It was used a shorter time ago than is asked for.
    Young,
    /// All its layers are others' too that stay.
    FreesNothing,
    /// Other hosts use the same content, and may have it in use: these.
    OtherHosts(Vec<String>),
    /// It is on another file system than the one that is short.
    Elsewhere,
    /// There is enough without it.
    NotNeeded,
}

/// Something that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goes {
    /// What.
    pub subject: Subject,
    /// When it was last used; loose content never is.
    pub used: Option<SystemTime>,
    /// What that frees, when all before it has gone.
    pub frees: Held,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stays {
    /// What.
    pub subject: Subject,
    /// When it was last used.
    pub used: SystemTime,
    /// What its removal alone would free, were it removed.
    pub alone: Held,
    /// Why.
    pub why: Why,
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Enough is free: nothing goes.
    Enough,
    /// What goes brings the mark back.
    Reached,
    /// All that may go goes, and so much is missing then.
    Short(Held),
}

/// All decisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is free now.
    pub space: Space,
    /// What goes, in this order.
    pub goes: Vec<Goes>,
    /// What stays, the least recently used first.
    pub stays: Vec<Stays>,
    /// How it ends.
    pub verdict: Verdict,
}

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
    let (mut freed, mut goes) = (Held::default(), Vec::new());
    let mut gone: Vec<bool> = vec![false; order.len()];
    let mut gone_containers: BTreeSet<&str> = BTreeSet::new();
    if !enough && lacks(freed) != Held::default() {
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
    while !enough && lacks(freed) != Held::default() {
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

/// What is freed as one after the other goes.
struct Freeing<'a> {
    objects: &'a [Object],
    /// How many candidates hold each object.
    holders: Vec<usize>,
    /// How many names of a file are gone.
    names: HashMap<(u64, u64), u64>,
}

impl<'a> Freeing<'a> {
    fn of(facts: &'a Facts) -> Self {
        let mut holders = vec![0; facts.objects.len()];
        for at in facts.candidates.iter().flat_map(|one| &one.holds) {
            holders[*at] += 1;
        }
        Self {
            objects: &facts.objects,
            holders,
            names: HashMap::new(),
        }
    }

    /// What nothing holds goes.
    fn loose(&mut self) -> Held {
        let loose = self.objects.iter().zip(&self.holders);
        let loose = loose.filter(|(object, holders)| !object.held && **holders == 0);
        gone(&mut self.names, loose.flat_map(|(object, _)| &object.files))
    }

    /// A candidate goes.
    fn let_go(&mut self, one: &Candidate) -> Held {
        let mut freed = one.own;
        for at in &one.holds {
            self.holders[*at] -= 1;
            if self.holders[*at] == 0 && !self.objects[*at].held {
                freed.add(gone(&mut self.names, &self.objects[*at].files));
            }
        }
        freed
    }

    /// Whether it is the last that holds a layer, or takes room of its own.
    fn frees_layer(&self, one: &Candidate) -> bool {
        let mut holds = one.holds.iter();
        matches!(one.subject, Subject::Container { .. })
            || holds.any(|at| {
                let object = &self.objects[*at];
                object.is_layer && !object.held && self.holders[*at] == 1
            })
    }

    /// What it would free if it went first.
    fn alone(&self, one: &Candidate) -> Held {
        let only = |at: &&usize| self.holders[**at] == 1 && !self.objects[**at].held;
        let files = one.holds.iter().filter(only);
        let files = files.flat_map(|at| &self.objects[*at].files);
        let mut freed = one.own;
        freed.add(gone(&mut HashMap::new(), files));
        freed
    }
}

/// These names are gone, after those that are counted: a file is free with its last.
fn gone<'a>(
    names: &mut HashMap<(u64, u64), u64>,
    files: impl IntoIterator<Item = &'a FileUse>,
) -> Held {
    let mut freed = Held::default();
    for file in files {
        let seen = names.entry(file.inode).or_insert(0);
        *seen += 1;
        if *seen == file.links {
            freed.add(Held {
                bytes: file.bytes,
                inodes: 1,
            });
        }
    }
    freed
}

impl Candidate {
    fn used_by(&self) -> Why {
        Why::UsedBy(self.users.values().cloned().collect())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UsedBy(users) => write!(f, "used by {}", users.join(", ")),
            Self::Mounted => f.write_str("mounted"),
            Self::Leased => f.write_str("being pulled, loaded or made"),
            Self::Running => f.write_str("running"),
            Self::Busy => f.write_str("somebody began to use it meanwhile"),
            Self::Protected(label) => write!(f, "protected by label={label}"),
            Self::Unreadable => f.write_str("its labels can't be read (lapstrake check says why)"),
            Self::Young => f.write_str("used a short time ago (min-age)"),
            Self::FreesNothing => f.write_str("others that stay have all its layers"),
            Self::OtherHosts(hosts) => write!(
                f,
                "other hosts use the same content and may have it in use: {}",
                hosts.join(", ")
            ),
            Self::Elsewhere => f.write_str("on another file system"),
            Self::NotNeeded => f.write_str("not needed"),
        }
    }
}
