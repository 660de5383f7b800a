//! What is decided, from facts that one can read aloud.

mod property;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapstrake_oci::Algorithm;
use lapstrake_store::FileUse;

use super::decide::{Asked, Candidate, Facts, Object, Stage, decide};
use super::decision::{Decision, Subject, Verdict, Why};
use super::{Mark, Policy, Space};
use crate::Label;
use crate::df::Held;

/// Each object takes ten bytes, and there are a thousand.
const EACH: u64 = 10;
const TOTAL: u64 = 1000;
const NOW: u64 = 10_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn image(name: &str) -> Subject {
    let digest = Algorithm::Sha256.digest(name.as_bytes());
    Subject::Image {
        id: digest.clone(),
        manifest: digest,
        names: vec![name.to_owned()],
    }
}

fn container(name: &str) -> Subject {
    Subject::Container {
        id: name.to_owned(),
        name: name.to_owned(),
    }
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::Loose => "loose".to_owned(),
        Subject::Container { name, .. } => name.clone(),
        Subject::Image { names, .. } => names[0].clone(),
    }
}

/// As a line of a table says it: `name used layers`, and then `key=value` or a hindrance.
fn candidate(line: &str, facts: &mut Facts, layers: &mut BTreeMap<String, usize>) -> Candidate {
    let mut words = line.split_whitespace();
    let named = words.next().unwrap();
    let used = words.next().unwrap().parse().unwrap();
    let mut one = Candidate {
        subject: match named.strip_prefix('-') {
            Some(named) => container(named),
            None => image(named),
        },
        used: at(used),
        labels: BTreeMap::new(),
        hindrance: None,
        users: BTreeMap::new(),
        holds: Vec::new(),
        own: Held::default(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("on", user)) => drop(one.users.insert(user.to_owned(), user.to_owned())),
            Some(("own", bytes)) => one.own.bytes = bytes.parse().unwrap(),
            Some((key, value)) => drop(one.labels.insert(key.to_owned(), value.to_owned())),
            None if word == "mounted" => one.hindrance = Some(Why::Mounted),
            None if word == "running" => one.hindrance = Some(Why::Running),
            None => {
                let place = *layers.entry(word.to_owned()).or_insert_with(|| {
                    facts.objects.push(object(facts.objects.len() as u64));
                    facts.objects.len() - 1
                });
                one.holds.push(place);
            }
        }
    }
    one
}

fn object(inode: u64) -> Object {
    Object {
        files: vec![FileUse {
            inode: (1, inode),
            links: 1,
            bytes: EACH,
        }],
        is_layer: true,
        held: false,
    }
}

fn facts(lines: &[&str]) -> Facts {
    let (mut facts, mut layers) = (Facts::default(), BTreeMap::new());
    for line in lines {
        let one = candidate(line, &mut facts, &mut layers);
        facts.candidates.push(one);
    }
    facts
}

/// Keeps 10 %, until 12 %; what has `keep` or `team=a` is protected; what was used in the last hundred seconds is young.
fn policy() -> Policy {
    let label = |key: &str, value: Option<&str>| Label {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    Policy {
        keep_free: Mark::Percent(10),
        until_free: Mark::Percent(12),
        protect: vec![label("keep", None), label("team", Some("a"))],
        min_age: Duration::from_secs(100),
        containers: true,
    }
}

fn space(free: u64) -> Space {
    Space {
        free: Held {
            bytes: free,
            inodes: 0,
        },
        total: Held {
            bytes: TOTAL,
            inodes: 0,
        },
        counts_inodes: false,
    }
}

fn decided(facts: &Facts, free: u64, stage: Stage) -> Decision {
    let asked = Asked {
        policy: &policy(),
        now: at(NOW),
        space: space(free),
        stage,
    };
    decide(asked, facts)
}

/// `name+bytes` of what goes, `name: why` of what stays.
fn check(lines: &[&str], free: u64, goes: &[&str], stays: &[&str], verdict: Verdict) {
    let decision = decided(&facts(lines), free, Stage::Watching);
    let going = decision.goes.iter();
    let going = going.map(|one| format!("{}+{}", name(&one.subject), one.frees.bytes));
    assert_eq!(going.collect::<Vec<_>>(), goes);
    let staying = decision.stays.iter();
    let staying = staying.map(|one| format!("{}: {}", name(&one.subject), one.why));
    assert_eq!(staying.collect::<Vec<_>>(), stays);
    assert_eq!(decision.verdict, verdict);
}

fn short(bytes: u64) -> Verdict {
    Verdict::Short(Held { bytes, inodes: 0 })
}

#[test]
fn nothing_goes_while_enough_is_free() {
    check(
        &["a 1 x", "b 2 y keep=1"],
        100,
        &[],
        &["a: not needed", "b: protected by label=keep"],
        Verdict::Enough,
    );
}

#[test]
fn the_least_recently_used_goes_first_and_no_more_than_is_needed() {
    let lines = ["c 30 z", "a 10 x", "d 40 w", "b 20 y"];
    check(
        &lines,
        99,
        &["a+10", "b+10", "c+10"],
        &["d: not needed"],
        Verdict::Reached,
    );
    // What was begun goes on above the lower mark, until the upper one.
    let facts = facts(&lines);
    let going = |free, stage| decided(&facts, free, stage).goes.len();
    assert_eq!(going(105, Stage::Watching), 0);
    assert_eq!(going(105, Stage::Freeing), 2);
    assert_eq!(going(120, Stage::Freeing), 0);
}

#[test]
fn what_is_protected_used_mounted_or_young_stays_and_it_is_said_what_is_missing() {
    check(
        &[
            "labelled 1 a keep=",
            "team 2 b team=a",
            "other 3 c team=b",
            "mounted 4 d mounted",
            "used 5 e on=box mounted",
            "young 9901 f",
            "future 20000 g",
        ],
        0,
        &["other+10"],
        &[
            "labelled: protected by label=keep",
            "team: protected by label=team=a",
            "mounted: mounted",
            "used: used by box",
            "young: used a short time ago (min-age)",
            "future: used a short time ago (min-age)",
        ],
        short(110),
    );
}

#[test]
fn a_shared_layer_is_free_with_the_last_that_has_it() {
    let lines = ["a 1 base x", "b 2 base y", "c 3 base z"];
    check(&lines, 90, &["a+10", "b+10", "c+20"], &[], Verdict::Reached);
    check(
        &["a 1 base x", "b 2 base y", "c 3 base z keep=1"],
        90,
        &["a+10", "b+10"],
        &["c: protected by label=keep"],
        short(10),
    );
}

#[test]
fn an_image_whose_layers_others_keep_is_left_alone() {
    check(
        &["base 1 x", "more 2 x y", "app 3 x z keep=1"],
        99,
        &["more+10"],
        &[
            "base: others that stay have all its layers",
            "app: protected by label=keep",
        ],
        short(11),
    );
}

#[test]
fn an_image_below_others_goes_after_them() {
    let lines = ["base 1 x", "app 2 x y", "new 3 z", "twin 4 w", "same 5 w"];
    check(
        &lines,
        99,
        &["app+10", "base+10", "new+10"],
        &["twin: not needed", "same: not needed"],
        Verdict::Reached,
    );
    // Where each waits for the other, the older begins.
    check(&lines[3..], 99, &["twin+0", "same+10"], &[], short(11));
}

#[test]
fn containers_go_before_their_image_and_only_those_that_do_not_run() {
    let lines = [
        "web 5 a b on=old",
        "-old 50 a b own=7",
        "db 6 c on=up",
        "-up 10000 c running own=9",
        "-kept 3 own=100 keep=1",
    ];
    check(
        &lines,
        99,
        &["old+7", "web+20"],
        &[
            "kept: protected by label=keep",
            "db: used by up",
            "up: running",
        ],
        Verdict::Reached,
    );
    // The image stays if the container was enough.
    let mut much = lines;
    much[1] = "-old 50 a b own=70";
    let decision = decided(&facts(&much), 99, Stage::Watching);
    assert_eq!(decision.goes.len(), 1);
    let web = decision
        .stays
        .iter()
        .find(|one| name(&one.subject) == "web");
    assert_eq!(web.unwrap().why.to_string(), "used by old");
}

#[test]
fn what_nothing_needs_goes_first() {
    let mut facts = facts(&["a 1 x", "b 2 y"]);
    facts.objects.push(object(100));
    let decision = decided(&facts, 99, Stage::Watching);
    let going: Vec<_> = decision.goes.iter().map(|one| name(&one.subject)).collect();
    assert_eq!(going, ["loose", "a", "b"]);
    assert_eq!(decision.verdict, Verdict::Reached);
}

#[test]
fn inodes_can_be_what_is_short() {
    let facts = facts(&["a 1 x", "b 2 y"]);
    let space = Space {
        free: Held {
            bytes: 900,
            inodes: 9,
        },
        total: Held {
            bytes: TOTAL,
            inodes: 100,
        },
        counts_inodes: true,
    };
    let asked = Asked {
        policy: &policy(),
        now: at(NOW),
        space,
        stage: Stage::Watching,
    };
    let decision = decide(asked, &facts);
    assert_eq!(decision.goes.len(), 2);
    let missing = Held {
        bytes: 0,
        inodes: 1,
    };
    assert_eq!(decision.verdict, Verdict::Short(missing));
}

#[test]
fn a_mark_above_what_there_is_takes_nothing() {
    for (keep_free, until_free) in [
        (Mark::Bytes(TOTAL + 1), Mark::Bytes(TOTAL + 1)),
        (Mark::Percent(10), Mark::Bytes(TOTAL + 1)),
    ] {
        let policy = Policy {
            keep_free,
            until_free,
            ..policy()
        };
        let asked = Asked {
            policy: &policy,
            now: at(NOW),
            space: space(50),
            stage: Stage::Watching,
        };
        let decision = decide(asked, &facts(&["a 1 x"]));
        assert!(decision.goes.is_empty());
        assert_eq!(decision.stays[0].why, Why::InVain);
        assert_eq!(decision.verdict, Verdict::Impossible);
    }
}

#[test]
fn what_each_would_free_alone_is_what_only_it_has() {
    let facts = facts(&["a 1 base x keep=1", "b 2 base y z keep=1"]);
    let decision = decided(&facts, 0, Stage::Watching);
    let alone = decision.stays.iter().map(|one| one.alone.bytes);
    assert_eq!(alone.collect::<Vec<_>>(), [10, 20]);
}
