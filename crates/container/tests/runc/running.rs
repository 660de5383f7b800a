//! Containers that run: further processes in them, changed limits, and what they use.

use std::time::{Duration, Instant};

use lapstrake_container::settings::{Namespace, Resources};
use lapstrake_container::spec::{CgroupVersion, HostDevices, exec, resources, user};
use lapstrake_container::usage::{cgroup::Groups, network, top};

use crate::scene::Scene;

#[test]
fn privileged_further_processes_have_what_the_container_has() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let mut settings = scene.settings("sleep 60");
    settings.execution.env = crate::words(&["A=1", "B=2"]);
    let running = scene.start(&settings);
    let line = "echo $A $B $C; pwd; id -u; id -G; grep -E 'CapBnd|Seccomp:' /proc/self/status";
    let user = user::resolve(&scene.root(), "app", &[]).unwrap();
    let arguments = crate::words(&["sh", "-c", line]);
    let request = exec::Request {
        settings: &settings,
        hostname: "box",
        arguments: &arguments,
        env: &crate::words(&["B=3", "C=4"]),
        directory: Some("/tmp"),
        user: &user,
        privileged: false,
        tty: false,
        console_size: None,
    };
    let process = exec::process(&request, &scene.facts).unwrap();
    let said = running.exec(&process);
    assert_eq!(
        said,
        "1 3 4\n/tmp\n1000\n1001 50 60\nCapBnd:\t00000000a80425fb\nSeccomp:\t2\n"
    );
}

#[test]
fn privileged_limits_change_while_it_runs() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let mut settings = scene.settings("sleep 60");
    settings.host.resources.memory = Some(64 << 20);
    settings.host.cgroup = Namespace::Host;
    let running = scene.start(&settings);
    let new = Resources {
        memory: Some(128 << 20),
        memory_swap: Some(-1),
        pids: Some(77),
        nano_cpus: Some(250_000_000),
        ..Resources::default()
    };
    let merged = resources::merge(&settings.host.resources, &new).unwrap();
    let update = resources::update(&merged, &HostDevices::default(), &scene.facts).unwrap();
    running.update(&update);
    let usage = Groups::of(running.pid()).unwrap().usage().unwrap();
    assert_eq!(
        (usage.memory.limit, usage.pids.limit),
        (128 << 20, Some(77))
    );
}

#[test]
fn privileged_what_it_uses_is_counted() {
    let Some(scene) = Scene::new() else {
        return;
    };
    let running = scene.start(&scene.settings("sleep 60 & sleep 61 & wait"));
    let groups = Groups::of(running.pid()).unwrap();
    let pids = running.wait_for(3, &groups);
    let usage = groups.usage().unwrap();
    assert_eq!(usage.pids.current, 3);
    assert!(usage.memory.usage > 0 && usage.cpu.total > 0, "{usage:?}");
    if scene.facts.cgroup == CgroupVersion::V1 {
        assert!(
            usage.memory.stat["hierarchical_memory_limit"] > 0,
            "{usage:?}"
        );
    }
    assert_eq!(network::interfaces(running.pid()).unwrap(), []);
    // A process that was forked is not yet what it will be.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let table = top::list("-o pid,args", &pids).unwrap();
        let mut programs: Vec<_> = table.lines.iter().map(|line| line[1].as_str()).collect();
        programs.sort_unstable();
        if programs == ["sh -c sleep 60 & sleep 61 & wait", "sleep 60", "sleep 61"] {
            break;
        }
        assert!(Instant::now() < deadline, "{programs:?}");
    }
    assert!(!groups.are_frozen().unwrap());
    running.order(&["pause"]);
    assert!(groups.are_frozen().unwrap());
    running.order(&["resume"]);
    assert!(!groups.are_frozen().unwrap());
}
