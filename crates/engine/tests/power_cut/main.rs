//! Power cuts of a real kernel with a real file system: `echo b >/proc/sysrq-trigger` in a virtual machine,
//! in the middle of a pull, a commit or a prune.
//!
//! ```text
//! host: for each cut   boot ── look ── work ── cut        the same disk image every time
//!       at the end     boot ── look ── remove all ── look
//! ```
//!
//! The guest writes into a journal, in a directory that the host shares, what it begins and what was
//! acknowledged; each later boot holds the store to that. The store lives through all cuts of a test.
//!
//! `LAPSTRAKE_POWER_CUTS` says how many cuts there are on each file system, `LAPSTRAKE_POWER_SEED` when
//! they come. Nothing here touches the disks or the power of the machine that runs the tests: the commands
//! that would are in a script that ends at once if it is not in a guest.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

mod guest;
mod journal;
mod machine;

#[test]
fn vm_power_cuts_on_ext4() {
    machine::power_cuts("ext4");
}

#[test]
fn vm_power_cuts_on_xfs() {
    machine::power_cuts("xfs");
}

#[test]
#[ignore = "runs in the virtual machine of the tests beside it"]
fn in_the_guest() {
    guest::run();
}
