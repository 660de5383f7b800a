//! Images that lose their last name while a container lies on them, by the docker command.

use std::collections::BTreeSet;

use crate::daemon::Daemon;

/// A daemon with the image `busybox`, and the image's id.
fn scene(test: &str) -> Option<(Daemon, String)> {
    let daemon = Daemon::start(test)?;
    if !daemon.busybox(test) {
        return None;
    }
    let id = daemon.done(&["image", "inspect", "-f", "{{.Id}}", "busybox"]);
    Some((daemon, id.trim().to_owned()))
}

fn images(daemon: &Daemon) -> BTreeSet<String> {
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    let listed = daemon.done(&["images", "-a", "--format", format]);
    listed.lines().map(str::to_owned).collect()
}

fn ends_whole(mut daemon: Daemon) {
    daemon.remove_everything();
    let check = daemon.stop_and_check();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn privileged_scenario_docker_image_is_gone_that_a_stopped_container_lies_on() {
    let Some((daemon, id)) = scene("nameless_stopped") else {
        return;
    };
    let short = &id[7..19];
    let ps = || daemon.done(&["ps", "-a", "--format", "{{.Image}}"]);
    let run = ["run", "--name", "stopped", "--network", "none", "busybox"];
    daemon.done(&[&run[..], &["echo", "said"]].concat());
    assert_eq!(ps(), "busybox\n");
    let removed = daemon.done(&["rmi", "-f", "busybox"]);
    assert_eq!(
        removed,
        format!("Untagged: busybox:latest\nDeleted: {id}\n")
    );

    assert_eq!(images(&daemon), BTreeSet::new());
    for name in [&*id, short] {
        for verb in [&["image", "inspect"][..], &["history"], &["rmi"]] {
            let said = daemon.refused(&[verb, &[name]].concat());
            assert!(said.contains("No such image: "), "{verb:?}: {said}");
        }
    }
    let format = "{{.Image}} {{.Config.Image}}";
    let inspected = daemon.done(&["inspect", "-f", format, "stopped"]);
    assert_eq!(inspected, format!("{id} busybox\n"));
    assert_eq!(ps(), format!("{short}\n"));
    // Nothing of it goes while the container needs it.
    daemon.done(&["image", "prune", "-f"]);
    assert_eq!(daemon.done(&["start", "-a", "stopped"]), "said\n");
    daemon.done(&["commit", "stopped", "again:1"]);
    let said = daemon.done(&["run", "--rm", "--network", "none", "again:1"]);
    assert_eq!(said, "said\n");
    // The name may lead to another image by now.
    daemon.done(&["tag", "again:1", "busybox"]);
    assert_eq!(ps(), format!("{short}\n"));
    ends_whole(daemon);
}

#[test]
fn privileged_scenario_docker_image_stays_without_a_name_that_a_running_container_lies_on() {
    let Some((daemon, id)) = scene("nameless_running") else {
        return;
    };
    let short = &id[7..19];
    let run = [
        "run",
        "-d",
        "--name",
        "runs",
        "--network",
        "none",
        "busybox",
    ];
    daemon.done(&[&run[..], &["sleep", "600"]].concat());
    let removed = daemon.done(&["rmi", "-f", "busybox"]);
    assert_eq!(removed, "Untagged: busybox:latest\n");

    let nameless = BTreeSet::from([format!("<none>:<none> {short}")]);
    assert_eq!(images(&daemon), nameless);
    let format = "{{.Id}} {{.RepoTags}} {{.RepoDigests}}";
    for name in [&*id, short] {
        let inspected = daemon.done(&["image", "inspect", "-f", format, name]);
        assert_eq!(inspected, format!("{id} [] []\n"));
        assert_eq!(daemon.done(&["history", "-q", name]), format!("{short}\n"));
        for rmi in [&["rmi"][..], &["rmi", "-f"]] {
            let said = daemon.refused(&[rmi, &[name]].concat());
            let used = format!(
                "unable to delete {short} (cannot be forced) - image is being used by running"
            );
            assert!(said.contains(&used), "{said}");
        }
    }
    let listed = daemon.done(&["ps", "--format", "{{.Image}}"]);
    assert_eq!(listed, format!("{short}\n"));
    daemon.done(&["image", "prune", "-a", "-f"]);
    assert_eq!(images(&daemon), nameless);

    // With a name, and without again.
    daemon.done(&["tag", short, "again:1"]);
    assert_eq!(
        images(&daemon),
        BTreeSet::from([format!("again:1 {short}")])
    );
    let said = daemon.refused(&["rmi", "again:1"]);
    assert!(said.contains("(must force) - container "), "{said}");
    assert_eq!(
        daemon.done(&["rmi", "-f", "again:1"]),
        "Untagged: again:1\n"
    );
    assert_eq!(images(&daemon), nameless);

    daemon.done(&["kill", "runs"]);
    daemon.done(&["wait", "runs"]);
    let said = daemon.refused(&["rmi", short]);
    assert!(said.contains("(must be forced) - image is being used by stopped container "));
    let removed = daemon.done(&["rmi", "-f", short]);
    assert_eq!(removed, format!("Deleted: {id}\n"));
    assert_eq!(images(&daemon), BTreeSet::new());
    ends_whole(daemon);
}
