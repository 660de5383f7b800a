//! Whatever settings say, the answer is a configuration or an error.

use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Facts, Files, HostDevices, HostMount, Identity, Join, ReadOnly, Request, Shown, exec, files,
    resources,
};
use crate::settings::{
    BlockRate, HostSettings, Namespace, NetworkMode, Propagation, Resources, Rlimit, Security,
    Settings,
};

/// Words that mean something somewhere, and words that mean nothing.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "",
        "ALL",
        "cap_chown",
        "NET_ADMIN",
        "seccomp=unconfined",
        "seccomp={}",
        "no-new-privileges",
        "label=x",
        "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":null}",
        "nofile",
        "c 1:* rwm",
        "a *:* m",
        "0-3",
        "1,2-",
        "18446744073709551616",
        "/a/../b",
        "..",
        "size=1",
        "exec",
        "net.ipv4.x",
        "kernel.sem",
        "10.0.0.1",
        "a:::1",
        "A=1",
        "=",
        ":",
        "\0",
        "é",
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        ".{0,12}"
    ]
}

fn number() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![
        Just(None),
        any::<i64>().prop_map(Some),
        (-2..20_000_000i64).prop_map(Some),
    ]
}

fn unsigned() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![
        Just(None),
        any::<u64>().prop_map(Some),
        (0..200u64).prop_map(Some)
    ]
}

fn namespace() -> impl Strategy<Value = Namespace> {
    prop_oneof![
        Just(Namespace::Private),
        Just(Namespace::Shareable),
        Just(Namespace::Host),
        Just(Namespace::None),
        word().prop_map(Namespace::Container),
    ]
}

fn limits() -> impl Strategy<Value = Resources> {
    let numbers = (number(), number(), number(), number(), number(), number());
    let more = (unsigned(), unsigned(), unsigned(), any::<bool>());
    let text = (prop::option::of(word()), prop::option::of(word()));
    let lists = (
        vec((word(), any::<u64>()), 0..3),
        vec((word(), any::<i64>(), any::<i64>()), 0..3),
    );
    (numbers, more, text, lists).prop_map(|(numbers, more, text, (rates, limits))| Resources {
        memory: numbers.0,
        memory_swap: numbers.1,
        memory_reservation: numbers.2,
        nano_cpus: numbers.3,
        cpu_quota: numbers.4,
        pids: numbers.5,
        swappiness: more.0,
        cpu_shares: more.1,
        cpu_period: more.2,
        oom_kill_disable: more.3,
        cpuset_cpus: text.0,
        cgroup_parent: text.1,
        block_weights: rates
            .into_iter()
            .map(|(path, rate)| BlockRate { path, rate })
            .collect(),
        rlimits: limits
            .into_iter()
            .map(|(name, soft, hard)| Rlimit { name, soft, hard })
            .collect(),
        ..Resources::default()
    })
}

fn security() -> impl Strategy<Value = Security> {
    let lists = (vec(word(), 0..3), vec(word(), 0..3), vec(word(), 0..3));
    (any::<bool>(), any::<bool>(), lists).prop_map(|(privileged, read_only_root, lists)| Security {
        privileged,
        read_only_root,
        cap_add: lists.0,
        cap_drop: lists.1,
        options: lists.2,
        ..Security::default()
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let host = (namespace(), namespace(), namespace(), security(), limits());
    let lists = (
        vec(word(), 0..3),
        vec(word(), 0..3),
        vec(word(), 0..3),
        vec(word(), 0..3),
    );
    let network = prop_oneof![
        Just(NetworkMode::Host),
        Just(NetworkMode::Default),
        word().prop_map(NetworkMode::Container),
    ];
    (
        host,
        lists,
        network,
        prop::option::of(word()),
        any::<bool>(),
        any::<Option<i32>>(),
    )
        .prop_map(
            |((ipc, pid, uts, security, resources), lists, network, dir, flag, oom_score)| {
                let mut settings = Settings {
                    tty: flag,
                    host: HostSettings {
                        ipc,
                        pid,
                        uts,
                        security,
                        resources,
                        network,
                        oom_score,
                        init: flag,
                        device_rules: lists.1.clone(),
                        dns: lists.2.clone(),
                        extra_hosts: lists.2,
                        sysctls: lists
                            .3
                            .into_iter()
                            .map(|key| (key, "1".to_owned()))
                            .collect(),
                        ..HostSettings::default()
                    },
                    ..Settings::default()
                };
                settings.execution.env.clone_from(&lists.0);
                settings.execution.cmd = Some(lists.0);
                settings.execution.working_dir.clone_from(&dir);
                settings.execution.domainname = dir;
                settings
            },
        )
}

fn mounts() -> impl Strategy<Value = Vec<HostMount>> {
    let shown = prop_oneof![
        vec(word(), 0..3).prop_map(|options| Shown::Memory { options }),
        (word(), any::<bool>()).prop_map(|(source, recursive)| Shown::Host {
            source: source.into(),
            recursive,
            propagation: recursive.then_some(Propagation::Rslave),
        }),
    ];
    let mount = (word(), shown).prop_map(|(at, shown)| HostMount {
        destination: at.into(),
        shown,
        read_only: ReadOnly::Recursive,
    });
    vec(mount, 0..3)
}

proptest! {
    #[test]
    fn settings_give_a_configuration_or_an_error(settings in settings(), mounts in mounts()) {
        let facts = Facts::example();
        let valid = super::validate(&settings, &facts).is_ok();
        let request = Request {
            id: "ID",
            settings: &settings,
            hostname: "h",
            root: Path::new("/root"),
            user: &Identity::default(),
            mounts: &mounts,
            files: &Files { shm: Some("/s".into()), ..Files::default() },
            join: &Join {
                network: Some("/n".into()),
                ipc: Some("/i".into()),
                pid: Some("/p".into()),
            },
            devices: &HostDevices::default(),
        };
        let has_program = settings.arguments().iter().any(|word| !word.is_empty());
        let rates = !settings.host.resources.block_weights.is_empty();
        let made = super::config(&request, &facts);
        // What was valid when it was made can be started, as far as that depends on settings.
        prop_assert!(made.is_ok() || !valid || !has_program || rates, "{:?}", made);
        let arguments = ["x".to_owned()];
        let process = exec::process(&exec::Request {
            settings: &settings,
            hostname: "h",
            arguments: &arguments,
            env: &settings.execution.env,
            directory: settings.execution.working_dir.as_deref(),
            user: &Identity::default(),
            privileged: false,
            tty: settings.tty,
            console_size: Some((0, 1)),
        }, &facts);
        prop_assert!(process.is_ok() || !valid);
        drop(files::hosts(&settings, "h", "x", &[], None));
        drop(files::resolv_conf(&settings, "nameserver"));
    }

    #[test]
    fn updates_give_limits_or_an_error(old in limits(), new in limits()) {
        let facts = Facts::example();
        if let Ok(merged) = resources::merge(&old, &new) {
            drop(super::validate_resources(&merged, &facts));
            drop(resources::update(&merged, &HostDevices::default(), &facts));
        }
    }

    #[test]
    fn lines_of_mounts_are_read_or_left_out(text in ".{0,60}") {
        drop(super::check_propagation(&[], &text));
        prop_assert!(!files::is_stub(&text) || text.contains("127"));
    }
}
