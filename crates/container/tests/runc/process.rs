//! Who a container's process is, what it is told, and where it runs.

use lapstrake_container::settings::Namespace;

use crate::{check, words};

#[test]
fn privileged_it_runs_with_dockers_environment() {
    check(
        "echo $PATH $HOSTNAME $HOME; pwd; hostname; cat /proc/sys/kernel/domainname",
        |settings| settings.execution.domainname = Some("d.example".to_owned()),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin box /root\n/\nbox\nd.example",
    );
}

#[test]
fn privileged_the_working_directory_is_made() {
    check(
        "pwd; stat -c %u:%a /a/b",
        |settings| settings.execution.working_dir = Some("/a/b".to_owned()),
        "/a/b\n0:755",
    );
}

#[test]
fn privileged_users_are_known_by_name() {
    check(
        "id; echo $HOME; grep Cap[PE] /proc/self/status",
        |settings| {
            settings.execution.user = Some("app".to_owned());
            settings.host.security.groups = words(&["77"]);
        },
        "uid=1000(app) gid=1001(app) groups=50(staff),60(games),77,1001(app)\n/home/app\n\
         CapPrm:\t0000000000000000\nCapEff:\t0000000000000000",
    );
}

#[test]
fn privileged_a_terminal_is_one() {
    // The runtime hands it over by a socket, which is the monitor's: here it only has to be asked for.
    check(
        "tty || true; [ -e /dev/console ] || echo none",
        |_| {},
        "not a tty\nnone",
    );
}

#[test]
fn privileged_an_init_is_the_first_process() {
    check(
        "tr '\\0' ' ' < /proc/1/cmdline | cut -d ' ' -f 1-3; [ $$ != 1 ] && echo child",
        |settings| settings.host.init = true,
        "/sbin/docker-init -- sh\nchild",
    );
}

#[test]
fn privileged_limits_of_processes_are_kept() {
    check(
        "ulimit -n; ulimit -H -n; ulimit -c",
        |settings| {
            let limit = |name: &str, soft, hard| lapstrake_container::settings::Rlimit {
                name: name.to_owned(),
                soft,
                hard,
            };
            settings.host.resources.rlimits = vec![limit("nofile", 100, 200), limit("core", 0, 0)];
        },
        "100\n200\n0",
    );
}

#[test]
fn privileged_namespaces_are_its_own_or_the_hosts() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let uts = std::fs::read_link("/proc/self/ns/uts").unwrap();
    check(
        "readlink /proc/self/ns/uts; hostname; echo $$",
        |settings| settings.host.uts = Namespace::Host,
        &format!("{}\n{}\n1", uts.display(), host.trim()),
    );
}
