//! The table of choices: what was found, what was asked for, and what comes of it.

use std::path::PathBuf;

use super::*;

/// A current kernel, everything on ext4.
fn facts() -> Facts {
    Facts {
        release: "6.18.1".to_owned(),
        erofs: Erofs::Devices,
        overlay: true,
        loop_devices: true,
        content: Content {
            kind: "ext4".to_owned(),
            backs_mounts: true,
        },
        state: State {
            path: PathBuf::from("/s"),
            kind: "ext4".to_owned(),
            d_type: true,
            xattrs: true,
            upper: Ok(()),
            shares_blocks: false,
        },
        vfs_without_xattrs: false,
        realised: vec![(DriverName::Overlay2, 0), (DriverName::Vfs, 0)],
    }
}

fn on(kind: &str) -> Facts {
    let mut facts = facts();
    facts.state.kind = kind.to_owned();
    facts
}

#[track_caller]
fn check(facts: &Facts, expected: DriverName) {
    match choose(None, facts) {
        Ok(choice) => assert_eq!(choice.driver, expected, "{choice:#?}"),
        Err(error) => panic!("{error}"),
    }
}

/// `wanted` is refused, in these words.
#[track_caller]
fn check_refused(facts: &Facts, wanted: DriverName, words: &[&str]) {
    let error = choose(Some(wanted), facts)
        .expect_err("refused")
        .to_string();
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn the_best_that_works() {
    check(&facts(), DriverName::Erofs);
    check(&on("btrfs"), DriverName::Erofs);
    check(&on("tmpfs"), DriverName::Erofs);
}

#[test]
fn no_erofs() {
    for erofs in [Erofs::Missing, Erofs::OneDevice] {
        check(&Facts { erofs, ..facts() }, DriverName::Overlay2);
    }
    let missing = Facts {
        erofs: Erofs::Missing,
        ..facts()
    };
    let words = ["no EROFS", "modprobe erofs", "overlay2 or vfs would work"];
    check_refused(&missing, DriverName::Erofs, &words);
    let old = Facts {
        erofs: Erofs::OneDevice,
        ..facts()
    };
    check_refused(&old, DriverName::Erofs, &["Linux 5.16"]);
}

#[test]
fn files_that_back_no_mounts_go_through_loop_devices() {
    let mut facts = facts();
    facts.content.backs_mounts = false;
    check(&facts, DriverName::Erofs);
    let choice = choose(None, &facts).expect("erofs");
    let notes = choice.candidates[0].verdict.as_ref().expect("works");
    assert!(notes[0].contains("loop devices"), "{notes:?}");
    facts.loop_devices = false;
    check(&facts, DriverName::Overlay2);
    check_refused(&facts, DriverName::Erofs, &["modprobe loop", "6.12"]);
}

#[test]
fn no_overlay() {
    let facts = Facts {
        overlay: false,
        ..facts()
    };
    check(&facts, DriverName::Vfs);
    check_refused(
        &facts,
        DriverName::Overlay2,
        &["modprobe overlay", "vfs would work"],
    );
    check_refused(&facts, DriverName::Erofs, &["modprobe overlay"]);
}

#[test]
fn file_systems_that_hold_no_writable_layers() {
    for kind in ["nfs", "cifs", "overlay", "aufs", "ecryptfs", "vfat", "9p"] {
        let facts = on(kind);
        check(&facts, DriverName::Vfs);
        for driver in [DriverName::Erofs, DriverName::Overlay2] {
            check_refused(&facts, driver, &[kind, "keep /s on a local ext4"]);
        }
    }
}

#[test]
fn no_d_type() {
    let mut facts = on("xfs");
    facts.state.d_type = false;
    check(&facts, DriverName::Vfs);
    check_refused(
        &facts,
        DriverName::Overlay2,
        &["d_type", "mkfs.xfs -n ftype=1"],
    );
    facts.state.kind = "other".to_owned();
    check_refused(&facts, DriverName::Overlay2, &["d_type", "keep /s on"]);
}

#[test]
fn no_attributes() {
    let mut facts = on("fuse");
    facts.state.xattrs = false;
    let error = choose(None, &facts).expect_err("none").to_string();
    for word in ["erofs: ", "overlay2: ", "vfs: ", "i_want_broken_containers"] {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    facts.vfs_without_xattrs = true;
    check(&facts, DriverName::Vfs);
}

#[test]
fn a_trial_that_failed() {
    let mut facts = on("strange");
    facts.state.upper = Err("not supported as upperdir".to_owned());
    check(&facts, DriverName::Vfs);
    check_refused(
        &facts,
        DriverName::Overlay2,
        &["strange", "not supported as upperdir"],
    );
}

#[test]
fn what_was_asked_for() {
    for driver in DriverName::ALL {
        let choice = choose(Some(driver), &facts()).expect("all work");
        assert_eq!((choice.driver, &*choice.why), (driver, "it was asked for"));
    }
}

#[test]
fn what_others_left_is_told_and_does_not_decide() {
    let facts = Facts {
        realised: vec![(DriverName::Overlay2, 7), (DriverName::Vfs, 0)],
        ..facts()
    };
    let choice = choose(None, &facts).expect("erofs");
    assert_eq!(choice.driver, DriverName::Erofs);
    assert_eq!(choice.notes.len(), 1);
    assert!(choice.notes[0].contains("overlay2 has unpacked 7 layers"));
    let choice = choose(Some(DriverName::Overlay2), &facts).expect("works");
    assert_eq!(choice.notes, [""; 0]);
}

#[test]
fn names_that_are_none() {
    for name in [
        "aufs",
        "devicemapper",
        "overlay",
        "btrfs",
        "zfs",
        "fuse-overlayfs",
    ] {
        let error = name.parse::<DriverName>().expect_err("retired");
        assert!(matches!(error, NameError::Retired { .. }), "{error}");
    }
    for name in ["", "EROFS", "windowsfilter"] {
        let error = name.parse::<DriverName>().expect_err("unknown");
        assert!(
            error.to_string().contains("erofs, overlay2 and vfs"),
            "{error}"
        );
    }
    for driver in DriverName::ALL {
        assert_eq!(driver.as_str().parse(), Ok(driver));
    }
}
