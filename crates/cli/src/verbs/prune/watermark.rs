//! `lapstrake prune --dry-run --watermark`: what a daemon's watermark policy would do now.

use std::time::SystemTime;

use lapstrake_engine::rfc3339;
use lapstrake_engine::watermark::{Decision, Policy, Subject, Verdict};
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::render::{self, bytes};
use crate::table::{Column, ago};

/// Shows what goes, in order, then what stays and why.
pub(super) fn run(context: &Context, now: SystemTime) -> Result<()> {
    let policy = &context.settings.watermark.policy();
    let policy = policy.as_ref().ok_or(Failure::NoWatermark)?;
    let decision = context.read()?.watermark(policy, now)?;
    if context.json {
        print_json(&decision);
    } else {
        print_table(&decision, now);
        context.say(&summary(&decision, policy));
    }
    Ok(())
}

fn print_table(decision: &Decision, now: SystemTime) {
    let columns = [
        Column::text("ACTION"),
        Column::text("KIND"),
        Column::long("NAME", 20),
        Column::text("LAST USED"),
        Column::number("FREES"),
        Column::long("WHY", 20),
    ];
    let goes = decision.goes.iter().map(|one| {
        let why = match one.used {
            None => "nothing needs it".to_owned(),
            Some(_) => String::new(),
        };
        let used = ago(one.used, now);
        row("goes", &one.subject, used, one.frees.bytes, why)
    });
    let stays = decision.stays.iter().map(|one| {
        let (used, why) = (ago(Some(one.used), now), one.why.to_string());
        row("stays", &one.subject, used, one.alone.bytes, why)
    });
    render::table(&columns, &goes.chain(stays).collect::<Vec<_>>());
}

fn row(action: &str, subject: &Subject, used: String, frees: u64, why: String) -> Vec<String> {
    let name = match subject {
        Subject::Loose => "-".to_owned(),
        Subject::Container { name, .. } => name.clone(),
        Subject::Image { names, .. } => names.join(", "),
    };
    let (action, kind) = (action.to_owned(), kind(subject).to_owned());
    vec![action, kind, name, used, bytes(frees), why]
}

fn summary(decision: &Decision, policy: &Policy) -> String {
    let space = &decision.space;
    let frees = decision.goes.iter().map(|one| one.frees.bytes).sum();
    let end = match decision.verdict {
        Verdict::Enough => "that is enough: nothing goes".to_owned(),
        Verdict::Impossible => "that is more than there is: nothing goes".to_owned(),
        Verdict::Reached => format!("would free: {}, which is enough", bytes(frees)),
        Verdict::Short(missing) => {
            let inodes = match missing.inodes {
                0 => String::new(),
                inodes => format!(" and {inodes} inodes"),
            };
            let missing = bytes(missing.bytes);
            format!(
                "would free: {}, and then {missing}{inodes} are missing",
                bytes(frees)
            )
        }
    };
    format!(
        "free: {} of {} ({}); keep-free {}, until-free {}; {end}",
        bytes(space.free.bytes),
        bytes(space.total.bytes),
        space.percent(),
        policy.keep_free,
        policy.until_free
    )
}

fn print_json(decision: &Decision) {
    for one in &decision.goes {
        let mut object = object("goes", &one.subject);
        object["used"] = json!(one.used.map(rfc3339));
        object["bytes"] = json!(one.frees.bytes);
        object["inodes"] = json!(one.frees.inodes);
        render::json(&object);
    }
    for one in &decision.stays {
        let mut object = object("stays", &one.subject);
        object["used"] = json!(rfc3339(one.used));
        object["bytes"] = json!(one.alone.bytes);
        object["inodes"] = json!(one.alone.inodes);
        object["why"] = json!(one.why.to_string());
        render::json(&object);
    }
    let (verdict, missing) = match decision.verdict {
        Verdict::Enough => ("enough", None),
        Verdict::Impossible => ("impossible", None),
        Verdict::Reached => ("reached", None),
        Verdict::Short(missing) => ("short", Some(missing)),
    };
    let space = &decision.space;
    render::json(&json!({
        "verdict": verdict,
        "free": space.free.bytes, "total": space.total.bytes,
        "free_inodes": space.free.inodes, "total_inodes": space.total.inodes,
        "missing": missing.map_or(0, |missing| missing.bytes),
        "missing_inodes": missing.map_or(0, |missing| missing.inodes),
    }));
}

fn object(action: &str, subject: &Subject) -> Value {
    let mut object = json!({ "dry_run": true, "action": action, "kind": kind(subject) });
    match subject {
        Subject::Loose => {}
        Subject::Container { id, name } => {
            object["id"] = json!(id);
            object["names"] = json!([name]);
        }
        Subject::Image { id, names, .. } => {
            object["id"] = json!(id);
            object["names"] = json!(names);
        }
    }
    object
}

fn kind(subject: &Subject) -> &'static str {
    match subject {
        Subject::Loose => "content",
        Subject::Container { .. } => "container",
        Subject::Image { .. } => "image",
    }
}
