//! What pruning images says came back, against `du`.

use serde_json::Value;

use crate::daemon::Daemon;
use crate::disk::{du, list, number, tree};

/// Asks for a pruning and returns what it says came back.
pub(crate) fn reclaimed(daemon: &Daemon, request: &str) -> u64 {
    let (head, body) = daemon.raw(request);
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    number(&body["SpaceReclaimed"])
}

/// Where images are.
fn content(daemon: &Daemon) -> u64 {
    let dirs = ["content", "state/index", "state/drivers"];
    du(&dirs.map(|dir| daemon.path("root").join(dir))).0
}

#[test]
fn privileged_scenario_docker_image_prune_reclaims_what_it_says() {
    let Some(daemon) = Daemon::start("image_prune") else {
        return;
    };
    if !daemon.busybox("image_prune") {
        return;
    }
    let change = |name: &str, from: &str, script: &str, label: &str| {
        daemon.done(&[
            "run",
            "--network",
            "none",
            "--name",
            "maker",
            from,
            "sh",
            "-c",
            script,
        ]);
        daemon.done(&["commit", "-c", &format!("LABEL {label}"), "maker", name]);
        daemon.done(&["rm", "maker"]);
    };
    // Two share a layer of 400 kB; the name of one moves on, so that it dangles.
    change(
        "both:1",
        "busybox",
        "head -c 400000 /dev/zero > /both",
        "a=b",
    );
    change(
        "left:1",
        "both:1",
        "head -c 900000 /dev/zero > /left",
        "a=b",
    );
    change(
        "right:1",
        "both:1",
        "head -c 800000 /dev/zero > /right",
        "protected=true",
    );
    change(
        "moves:1",
        "both:1",
        "head -c 700000 /dev/zero > /dangles",
        "a=b",
    );
    daemon.done(&["tag", "left:1", "moves:1"]);
    change(
        "used:1",
        "both:1",
        "head -c 600000 /dev/zero > /used",
        "a=b",
    );
    daemon.done(&["create", "--name", "user", "used:1"]);
    rustix::fs::sync();

    let encoded = |filters: &str| {
        let bytes = filters.bytes();
        let encoded: String = bytes.map(|byte| format!("%{byte:02X}")).collect();
        format!("POST /images/prune?filters={encoded}")
    };
    let names = || {
        let shown = daemon.done(&["images", "--format", "{{.Repository}}"]);
        let mut names: Vec<_> = shown.lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names.join(" ")
    };
    let all = "both busybox left moves right used";
    // The layer that is shared, and what else is used, stays.
    for (filters, at_least, at_most, left) in [
        (r#"{"dangling":["true"],"until":["1h"]}"#, 0, 0, all),
        ("{}", 700_000, 1_000_000, all),
        (r#"{"dangling":["false"],"until":["1h"]}"#, 0, 0, all),
        (
            r#"{"dangling":["false"],"label!":["protected"]}"#,
            900_000,
            1_200_000,
            "right used",
        ),
        (
            r#"{"dangling":["false"],"label":["a=c"]}"#,
            0,
            0,
            "right used",
        ),
        (
            r#"{"dangling":["false"],"until":["0s"]}"#,
            800_000,
            1_100_000,
            "used",
        ),
    ] {
        let before = content(&daemon);
        let said = reclaimed(&daemon, &encoded(filters));
        let freed = before - content(&daemon);
        assert_eq!(freed, said, "{filters}");
        assert!((at_least..=at_most).contains(&said), "{filters}: {said}");
        assert_eq!(names(), left, "{filters}");
    }
    daemon.done(&["rm", "user"]);
    let before = content(&daemon);
    let said = reclaimed(&daemon, &encoded(r#"{"dangling":["false"]}"#));
    assert_eq!(before - content(&daemon), said);
    // Now what all shared goes, too.
    assert!(said > 1_000_000, "{said}");
    assert_eq!(list(&tree(&daemon)["images"]).len(), 0);
}
