//! What holds whatever there is.

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::decision::Goes;
use super::*;

const OBJECTS: usize = 8;

/// Containers are on images of smaller numbers.
#[derive(Debug, Clone)]
struct Drawn {
    is_container: bool,
    used: u64,
    protected: bool,
    hindered: bool,
    holds: std::collections::BTreeSet<usize>,
    on: usize,
    own: u64,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    let rest = (
        0..NOW,
        btree_set(0..OBJECTS, 0..4),
        any::<usize>(),
        0_u64..20,
    );
    (flags, rest).prop_map(
        |((is_container, protected, hindered), (used, holds, on, own))| Drawn {
            is_container,
            used,
            protected,
            hindered,
            holds,
            on,
            own,
        },
    )
}

/// Objects of one file; some files have two names, in neighbouring objects.
fn all_facts() -> impl Strategy<Value = Facts> {
    let objects = vec((prop::bool::weighted(0.1), any::<bool>()), OBJECTS);
    (objects, vec(drawn(), 0..10)).prop_map(|(objects, drawn)| {
        let file = |(at, (held, linked)): (usize, (bool, bool))| {
            let inode = if linked { at / 2 } else { at + 100 };
            Object {
                files: vec![FileUse {
                    inode: (1, inode as u64),
                    links: if linked { 2 } else { 1 },
                    bytes: EACH + (inode as u64),
                }],
                is_layer: true,
                held,
            }
        };
        let mut facts = Facts {
            objects: objects.into_iter().enumerate().map(file).collect(),
            candidates: Vec::new(),
        };
        for (number, one) in drawn.iter().enumerate() {
            let named = number.to_string();
            let mut holds = one.holds.clone();
            let images: Vec<usize> = (0..number).filter(|at| !drawn[*at].is_container).collect();
            if one.is_container && !images.is_empty() {
                let image = images[one.on % images.len()];
                holds = drawn[image].holds.clone();
                let users = &mut facts.candidates[image].users;
                users.insert(named.clone(), named.clone());
            }
            let label = one.protected.then(|| ("keep".to_owned(), String::new()));
            facts.candidates.push(Candidate {
                subject: if one.is_container {
                    container(&named)
                } else {
                    image(&named)
                },
                used: at(one.used),
                labels: label.into_iter().collect(),
                hindrance: one.hindered.then_some(Why::Mounted),
                users: BTreeMap::new(),
                holds: holds.into_iter().collect(),
                own: Held {
                    bytes: if one.is_container { one.own } else { 0 },
                    inodes: 0,
                },
            });
        }
        facts
    })
}

fn by_subject<'a>(facts: &'a Facts, subject: &Subject) -> &'a Candidate {
    let mut all = facts.candidates.iter();
    all.find(|one| one.subject == *subject).unwrap()
}

/// What is free when these have gone: the oracle, which looks at everything anew.
fn freed(facts: &Facts, gone: &[Goes]) -> u64 {
    let is_gone = |one: &&Candidate| gone.iter().any(|goes| goes.subject == one.subject);
    let left = facts.candidates.iter().filter(|one| !is_gone(one));
    let holds: std::collections::BTreeSet<_> = left.flat_map(|one| &one.holds).collect();
    let objects = facts.objects.iter().enumerate();
    let free = objects.filter(|(at, object)| !object.held && !holds.contains(at));
    let files = free.flat_map(|(_, object)| &object.files);
    let own = facts
        .candidates
        .iter()
        .filter(is_gone)
        .map(|one| one.own.bytes);
    lapstrake_store::freed(files) + own.sum::<u64>()
}

proptest! {
    #[test]
    fn decisions_are_safe_exact_and_no_more_than_needed(
        facts in all_facts(),
        free in 0_u64..150,
        turn in any::<usize>(),
    ) {
        let decision = decided(&facts, free, Stage::Watching);
        let candidates = decision.goes.iter().filter(|goes| goes.subject != Subject::Loose);
        for goes in candidates.clone() {
            let one = by_subject(&facts, &goes.subject);
            prop_assert!(one.hindrance.is_none() && !one.labels.contains_key("keep"));
            prop_assert!(one.used <= at(NOW - 100));
            for user in one.users.keys() {
                let before = decision.goes.iter().take_while(|before| *before != goes);
                prop_assert!(before.clone().any(|before| before.subject == container(user)));
            }
        }

        // Of those that had to wait for nothing, the order is that of last use.
        let at_once = |goes: &&Goes| {
            let one = by_subject(&facts, &goes.subject);
            let alone = |at: &usize| {
                let others = facts.candidates.iter().filter(|other| other.holds.contains(at));
                !facts.objects[*at].held && others.count() == 1
            };
            one.users.is_empty() && one.holds.iter().any(alone)
        };
        let free_to_go = candidates.filter(at_once);
        let order: Vec<_> = free_to_go.map(|goes| goes.used).collect();
        prop_assert!(order.is_sorted());

        // What is said to be freed is.
        for count in 0..=decision.goes.len() {
            let gone = &decision.goes[..count];
            let said: u64 = gone.iter().map(|goes| goes.frees.bytes).sum();
            // Content that nothing holds counts from the first removal on.
            let loose = freed(&facts, &[]);
            let truly = freed(&facts, gone) - if count == 0 { loose } else { 0 };
            prop_assert_eq!(said, truly);
        }

        // It stops as soon as there is enough.
        let until = TOTAL / 100 * 12;
        let sums: Vec<u64> = decision.goes.iter().scan(free, |sum, goes| {
            *sum += goes.frees.bytes;
            Some(*sum)
        }).collect();
        match decision.verdict {
            Verdict::Enough => prop_assert!(free >= 100 && sums.is_empty()),
            Verdict::Reached => {
                prop_assert!(free < 100 && sums.last().copied().unwrap_or(free) >= until);
                prop_assert!(sums.iter().rev().skip(1).all(|sum| *sum < until));
            }
            Verdict::Impossible => prop_assert!(false, "12 % can be free"),
            Verdict::Short(missing) => {
                let reached = sums.last().copied().unwrap_or(free);
                prop_assert_eq!(missing.bytes, until - reached);
                prop_assert!(decision.stays.iter().all(|one| one.why != Why::NotNeeded));
            }
        }

        // Nothing is left out, and it does not matter in which order one looked.
        let loose = decision.goes.iter().filter(|goes| goes.subject == Subject::Loose).count();
        prop_assert_eq!(decision.goes.len() - loose + decision.stays.len(), facts.candidates.len());
        let mut turned = facts.clone();
        if !turned.candidates.is_empty() {
            let by = turn % turned.candidates.len();
            turned.candidates.rotate_left(by);
        }
        prop_assert_eq!(decided(&turned, free, Stage::Watching), decision);
    }
}
