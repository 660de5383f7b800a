//! The profile of containers that ask for none: what ordinary programs need, and no call that reaches
//! beyond the container or that the kernel lets nobody but root make, unless a capability stands for it.
//!
//! It lets through what Docker's does. Calls that it does not name fail with EPERM.

use super::profile::{Architecture, Argument, Condition, Profile, Rule};

/// Opening, reading and writing.
const FILES: &[&str] = &[
    "_llseek",
    "cachestat",
    "close",
    "close_range",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "flock",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioctl",
    "lseek",
    "memfd_create",
    "memfd_secret",
    "open",
    "openat",
    "openat2",
    "pipe",
    "pipe2",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readv",
    "sendfile",
    "sendfile64",
    "splice",
    "sync",
    "sync_file_range",
    "syncfs",
    "tee",
    "truncate",
    "truncate64",
    "vmsplice",
    "write",
    "writev",
];
/// What is where in a file system, and its attributes.
const NAMES: &[&str] = &[
    "access",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "faccessat",
    "faccessat2",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fgetxattr",
    "flistxattr",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "futimesat",
    "getcwd",
    "getdents",
    "getdents64",
    "getxattr",
    "getxattrat",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listmount",
    "listxattr",
    "listxattrat",
    "llistxattr",
    "lremovexattr",
    "lsetxattr",
    "lstat",
    "lstat64",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "name_to_handle_at",
    "newfstatat",
    "readlink",
    "readlinkat",
    "removexattr",
    "removexattrat",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "setxattr",
    "setxattrat",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statmount",
    "statx",
    "symlink",
    "symlinkat",
    "umask",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
];
/// Memory.
const MEMORY: &[&str] = &[
    "brk",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "mincore",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "mseal",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "process_mrelease",
    "remap_file_pages",
];
/// Processes, threads, and facts about the system.
const PROCESSES: &[&str] = &[
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "fork",
    "get_thread_area",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getrandom",
    "getsid",
    "gettid",
    "pidfd_open",
    "prctl",
    "seccomp",
    "set_thread_area",
    "set_tid_address",
    "setpgid",
    "setsid",
    "sysinfo",
    "uname",
    "uretprobe",
    "vfork",
    "wait4",
    "waitid",
    "waitpid",
];
/// Users, groups and capabilities.
const IDENTITY: &[&str] = &[
    "capget",
    "capset",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getuid",
    "getuid32",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setuid",
    "setuid32",
];
/// Signals.
const SIGNALS: &[&str] = &[
    "kill",
    "pause",
    "pidfd_send_signal",
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "tgkill",
    "tkill",
];
/// Clocks, timers and sleep.
const TIMES: &[&str] = &[
    "adjtimex",
    "alarm",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "getitimer",
    "gettimeofday",
    "nanosleep",
    "setitimer",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
];
/// Waiting for events, and for other threads.
const EVENTS: &[&str] = &[
    "_newselect",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "get_robust_list",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "rseq",
    "select",
    "set_robust_list",
];
/// Sockets, but for making one.
const SOCKETS: &[&str] = &[
    "accept",
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "listen",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "send",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "socketcall",
    "socketpair",
];
/// Queues, semaphores and memory that processes share.
const QUEUES: &[&str] = &[
    "ipc",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
];
/// Scheduling and limits.
const SCHEDULING: &[&str] = &[
    "getcpu",
    "getpriority",
    "getrlimit",
    "getrusage",
    "ioprio_get",
    "ioprio_set",
    "prlimit64",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "setpriority",
    "setrlimit",
    "ugetrlimit",
];
/// Calls that one of these capabilities stands for.
const BY_CAPABILITY: &[(&str, &[&str])] = &[
    (
        "CAP_SYS_ADMIN",
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    ("CAP_BPF", &["bpf"]),
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_PERFMON", &["perf_event_open"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    (
        "CAP_SYS_MODULE",
        &["delete_module", "finit_module", "init_module"],
    ),
    (
        "CAP_SYS_NICE",
        &[
            "get_mempolicy",
            "mbind",
            "set_mempolicy",
            "set_mempolicy_home_node",
        ],
    ),
    ("CAP_SYS_PACCT", &["acct"]),
    (
        "CAP_SYS_PTRACE",
        &[
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
        ],
    ),
    ("CAP_SYS_RAWIO", &["ioperm", "iopl"]),
    (
        "CAP_SYS_TIME",
        &["clock_settime", "clock_settime64", "settimeofday", "stime"],
    ),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
];

/// Calls that only some architectures have.
const BY_ARCHITECTURE: &[(&[&str], &[&str])] = &[
    (&["ppc64le"], &["swapcontext", "sync_file_range2"]),
    (
        &["arm", "arm64"],
        &[
            "arm_fadvise64_64",
            "arm_sync_file_range",
            "breakpoint",
            "cacheflush",
            "set_tls",
            "sync_file_range2",
        ],
    ),
    (&["amd64", "x32"], &["arch_prctl"]),
    (&["amd64", "x32", "x86"], &["modify_ldt"]),
    (
        &["s390", "s390x"],
        &[
            "s390_pci_mmio_read",
            "s390_pci_mmio_write",
            "s390_runtime_instr",
        ],
    ),
    (&["riscv64"], &["riscv_flush_icache", "riscv_hwprobe"]),
];

/// Architectures, each with those whose programs it runs too.
const ARCHITECTURES: &[(&str, &[&str])] = &[
    ("SCMP_ARCH_X86_64", &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]),
    ("SCMP_ARCH_AARCH64", &["SCMP_ARCH_ARM"]),
    ("SCMP_ARCH_PPC64LE", &[]),
    ("SCMP_ARCH_RISCV64", &[]),
    ("SCMP_ARCH_S390X", &["SCMP_ARCH_S390"]),
    ("SCMP_ARCH_LOONGARCH64", &[]),
];

const ALLOW: &str = "SCMP_ACT_ALLOW";
const REFUSE: &str = "SCMP_ACT_ERRNO";
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// Sockets to the machine that this one is a guest of: no namespace keeps them apart.
const AF_VSOCK: u64 = 40;
/// The flags of clone(2) that make namespaces.
const NAMESPACES: u64 = 0x7E02_0000;
/// Linux, with and without UNAME26 and addresses that are not shuffled; and the question which it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xFFFF_FFFF];

/// The profile.
pub(super) fn profile() -> Profile {
    let everywhere = [
        FILES, NAMES, MEMORY, PROCESSES, IDENTITY, SIGNALS, TIMES, EVENTS, SOCKETS, QUEUES,
        SCHEDULING,
    ];
    let mut rules = vec![allow(&everywhere.concat())];
    // Before, a tracer got around a filter.
    rules.push(Rule {
        includes: Condition {
            min_kernel: Some("4.8".to_owned()),
            ..Condition::default()
        },
        ..allow(&["process_vm_readv", "process_vm_writev", "ptrace"])
    });
    rules.push(when(allow(&["socket"]), 0, "SCMP_CMP_NE", (AF_VSOCK, 0)));
    for persona in PERSONALITIES {
        rules.push(when(
            allow(&["personality"]),
            0,
            "SCMP_CMP_EQ",
            (persona, 0),
        ));
    }
    for (capability, names) in BY_CAPABILITY {
        rules.push(Rule {
            includes: Condition {
                caps: vec![(*capability).to_owned()],
                ..Condition::default()
            },
            ..allow(names)
        });
    }
    for (arches, names) in BY_ARCHITECTURE {
        rules.push(Rule {
            includes: on(arches),
            ..allow(names)
        });
    }
    rules.extend(clones());
    Profile {
        default_action: REFUSE.to_owned(),
        default_errno: Some(EPERM),
        arch_map: ARCHITECTURES.iter().map(architecture).collect(),
        rules,
        ..Profile::default()
    }
}

/// Without the right to administer, nobody makes namespaces. The flags of clone3(2) are behind a pointer,
/// where no filter sees them: libraries that are told it does not exist use clone(2).
fn clones() -> [Rule; 3] {
    let clone = |index| {
        when(
            allow(&["clone"]),
            index,
            "SCMP_CMP_MASKED_EQ",
            (NAMESPACES, 0),
        )
    };
    let s390: &[&str] = &["s390", "s390x"];
    [
        Rule {
            excludes: without_admin(on(s390)),
            ..clone(0)
        },
        Rule {
            includes: on(s390),
            excludes: without_admin(Condition::default()),
            ..clone(1)
        },
        Rule {
            action: REFUSE.to_owned(),
            errno: Some(ENOSYS),
            excludes: without_admin(Condition::default()),
            ..allow(&["clone3"])
        },
    ]
}

/// Where nobody administers.
fn without_admin(condition: Condition) -> Condition {
    // Not by assigning to a field of an argument: rustc 1.95 and 1.96, when they optimize, free what was assigned
    // twice (rust-lang/rust#158830).
    Condition {
        caps: vec!["CAP_SYS_ADMIN".to_owned()],
        ..condition
    }
}

fn allow(names: &[&str]) -> Rule {
    Rule {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        action: ALLOW.to_owned(),
        ..Rule::default()
    }
}

fn when(mut rule: Rule, index: u32, op: &str, (value, value_two): (u64, u64)) -> Rule {
    rule.arguments.push(Argument {
        index,
        value,
        value_two,
        op: op.to_owned(),
    });
    rule
}

fn on(arches: &[&str]) -> Condition {
    Condition {
        arches: arches.iter().map(|&arch| arch.to_owned()).collect(),
        ..Condition::default()
    }
}

fn architecture((name, sub): &(&str, &[&str])) -> Architecture {
    Architecture {
        architecture: (*name).to_owned(),
        sub_architectures: sub.iter().map(|&name| name.to_owned()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::spec::{Facts, capability};

    /// The calls that are let through whatever their arguments.
    fn allowed(held: &[&str], architecture: &'static str) -> BTreeSet<String> {
        let facts = Facts {
            architecture,
            ..Facts::example()
        };
        let made = super::super::select(&profile(), held, &facts);
        let rules = made["syscalls"].as_array().unwrap().clone();
        let plain = |rule: &&Value| rule["action"] == ALLOW && rule.get("args").is_none();
        let names = rules
            .iter()
            .filter(plain)
            .flat_map(|rule| rule["names"].as_array().unwrap());
        names
            .map(|name| name.as_str().unwrap().to_owned())
            .collect()
    }

    fn more(held: &[&str]) -> Vec<String> {
        let (before, after) = (allowed(&[], "x86_64"), allowed(held, "x86_64"));
        after.difference(&before).cloned().collect()
    }

    #[test]
    fn capabilities_open_what_they_stand_for() {
        assert_eq!(more(&["CAP_SYS_CHROOT"]), ["chroot"]);
        assert_eq!(more(&["CAP_BPF"]), ["bpf"]);
        assert_eq!(more(&["CAP_SYSLOG", "CAP_SYS_BOOT"]), ["reboot", "syslog"]);
        assert_eq!(more(&["CAP_SYS_ADMIN"]).len(), 23);
        let all = allowed(&capability::ALL, "x86_64");
        for never in [
            "keyctl",
            "add_key",
            "request_key",
            "kexec_load",
            "swapon",
            "userfaultfd",
            "io_uring_setup",
            "nfsservctl",
        ] {
            assert!(!all.contains(never), "{never}");
        }
    }

    #[test]
    fn by_default_nothing_reaches_beyond_the_container() {
        let all = allowed(&capability::DEFAULT, "x86_64");
        for refused in [
            "mount",
            "unshare",
            "setns",
            "bpf",
            "clone",
            "clone3",
            "socket",
            "reboot",
            "init_module",
            "perf_event_open",
            "fsopen",
            "move_mount",
            "settimeofday",
            "open_by_handle_at",
            "kexec_load",
        ] {
            assert!(!all.contains(refused), "{refused}");
        }
        for let_through in [
            "execve",
            "openat2",
            "ptrace",
            "chroot",
            "arch_prctl",
            "futex_waitv",
            "prctl",
        ] {
            assert!(all.contains(let_through), "{let_through}");
        }
    }

    #[test]
    fn architectures_have_their_own() {
        let (x86, arm) = (allowed(&[], "x86_64"), allowed(&[], "aarch64"));
        assert!(x86.contains("modify_ldt") && !arm.contains("modify_ldt"));
        assert!(arm.contains("set_tls") && !x86.contains("set_tls"));
        assert!(allowed(&[], "riscv64").contains("riscv_hwprobe"));
    }

    #[test]
    fn no_call_is_named_twice() {
        let everywhere = [
            FILES, NAMES, MEMORY, PROCESSES, IDENTITY, SIGNALS, TIMES, EVENTS, SOCKETS, QUEUES,
            SCHEDULING,
        ]
        .concat();
        let unique: BTreeSet<_> = everywhere.iter().collect();
        assert_eq!(unique.len(), everywhere.len());
    }
}
