//! The host's side: boots the virtual machine again and again with one disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::journal::{Journal, Verb};

/// What the guest does. It is the only place that formats a disk or cuts power.
const SCRIPT: &str = r#"
[ "$IN_VM" = tcg ] || [ "$IN_VM" = uml ] || { echo "this is no guest" >&2; exit 99; }
set -e
case $TEST_FS in ext4) mkfs='mkfs.ext4 -q' ;; xfs) mkfs='mkfs.xfs -q' ;; esac
[ -e "$TEST_SHARE/formatted" ] || { $mkfs /dev/vda && : >"$TEST_SHARE/formatted"; }
mkdir -p /mnt
mount -t $TEST_FS /dev/vda /mnt
mkfifo /run/cut
(read word </run/cut; echo b >/proc/sysrq-trigger) &
exec "$0" --exact in_the_guest --ignored --nocapture
"#;
/// What `vm-run` answers if the machine went down before the command ended.
const WENT_DOWN: i32 = 125;

/// Cuts power several times on one file system, and looks at the store after each.
pub(crate) fn power_cuts(file_system: &str) {
    let Some(vm_run) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED power cuts on {file_system}: LAPSTRAKE_VM_RUN names no vm-run");
        return;
    };
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().unwrap())
    };
    let cuts = number("LAPSTRAKE_POWER_CUTS", 2);
    let seed = number("LAPSTRAKE_POWER_SEED", 1);
    let dir = tempfile::tempdir().unwrap();
    let boots = Boots {
        vm_run,
        file_system,
        dir: dir.path(),
    };
    std::fs::create_dir(boots.share()).unwrap();
    let journal = Journal::at(&boots.share());
    let mut came = BTreeMap::<String, usize>::new();
    for cut in 0..cuts {
        let verb = Verb::ALL[usize::try_from(cut % 3).unwrap()];
        // The moment, in thousandths of how long the verb takes.
        let moment = mixed(seed * 1000 + cut) % 1000;
        let status = boots.boot(&[
            ("TEST_CUT_VERB", verb.word()),
            ("TEST_CUT_MOMENT", &moment.to_string()),
        ]);
        assert_eq!(status, WENT_DOWN, "{file_system}, cut {cut}: see above");
        *came.entry(journal.end()).or_default() += 1;
    }
    let status = boots.boot(&[]);
    assert_eq!(status, 0, "{file_system}, the last boot: see above");
    eprintln!(
        "{file_system}: {cuts} power cuts, {came:?}; {}",
        journal.summary()
    );
}

struct Boots<'a> {
    vm_run: OsString,
    file_system: &'a str,
    dir: &'a Path,
}

impl Boots<'_> {
    fn share(&self) -> std::path::PathBuf {
        self.dir.join("share")
    }

    fn boot(&self, variables: &[(&str, &str)]) -> i32 {
        let disk = format!("{}:1G", self.dir.join("disk").display());
        let mut command = Command::new(&self.vm_run);
        command.args(["--kernel", "6.12", "--timeout", "120", "--disk", &disk]);
        command.arg("--share").arg(self.share());
        command.args(["--", "sh", "-c", SCRIPT]);
        command.arg(std::env::current_exe().unwrap());
        command.env("TEST_FS", self.file_system);
        command.env("TEST_SHARE", self.share());
        for (name, value) in variables {
            command.env(name, value);
        }
        command.status().unwrap().code().unwrap_or(-1)
    }
}

/// splitmix64.
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
