//! What becomes of volumes that need no mount.

use lapstrake_container::mounts::WantedVolume;
use lapstrake_engine::{ANONYMOUS_LABEL, Doing, Label, NewVolume, PruneVolumes, VolumeErrorClass};

use crate::scene::{Scene, map, named, nobody, with_options};

#[test]
fn a_volume_is_made_once_and_stays_as_it_was_made() {
    let scene = Scene::new();
    let first = NewVolume {
        labels: map(&[("a", "b")]),
        ..named("data")
    };
    let (details, new) = scene.volumes.create(&first).unwrap();
    assert!(new);
    assert_eq!(details.labels, map(&[("a", "b")]));
    assert_eq!(details.mountpoint, scene.home("data/_data"));
    assert!(details.mountpoint.is_dir());
    let second = NewVolume {
        labels: map(&[("c", "d")]),
        driver: Some("local".to_owned()),
        ..with_options("data", &[("size", "1m")])
    };
    assert_eq!(
        scene.volumes.create(&second).unwrap(),
        (details.clone(), false)
    );
    let scene = scene.again("boot");
    assert_eq!(scene.volumes.get("data").unwrap(), details);
    assert_eq!(scene.volumes.list(), [details]);
}

#[test]
fn what_cannot_be_made_leaves_nothing() {
    let scene = Scene::new();
    let other_driver = NewVolume {
        driver: Some("other".to_owned()),
        ..named("data")
    };
    for (new, class, words) in [
        (
            other_driver,
            VolumeErrorClass::NotFound,
            "create data: error looking up volume plugin other: plugin \"other\" not found",
        ),
        (
            with_options("data", &[("x", "y")]),
            VolumeErrorClass::Invalid,
            "create data: invalid option: \"x\"",
        ),
        (
            named("a/b"),
            VolumeErrorClass::Invalid,
            "create a/b: \"a/b\" includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use \
             absolute path",
        ),
    ] {
        let error = scene.volumes.create(&new).unwrap_err();
        assert_eq!((error.class(), error.to_string().as_str()), (class, words));
    }
    assert_eq!(scene.names(), [""; 0]);
    assert_eq!(scene.again("boot").names(), [""; 0]);
}

#[test]
fn a_volume_that_is_used_is_not_removed() {
    let scene = Scene::new();
    scene.volumes.create(&named("data")).unwrap();
    let users = |_name: &str| vec!["c1".to_owned(), "c2".to_owned()];
    let refused = scene.volumes.remove("data", &users).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "remove data: volume is in use - [c1, c2]"
    );
    assert_eq!(refused.class(), VolumeErrorClass::Conflict);
    let path = scene.volumes.attach("data", "c3").unwrap();
    assert_eq!(path, scene.home("data/_data"));
    let refused = scene.volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(refused.to_string(), "remove data: volume is in use - [c3]");
    scene.volumes.detach("data", "c3").unwrap();
    scene.volumes.remove("data", &nobody).unwrap();
    assert!(!scene.home("data").exists());
    let gone = scene.volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(
        (gone.class(), gone.to_string().as_str()),
        (VolumeErrorClass::NotFound, "get data: no such volume")
    );
    assert_eq!(scene.again("boot").names(), [""; 0]);
}

fn wanted(name: &str, anonymous: bool) -> WantedVolume {
    WantedVolume {
        name: name.to_owned(),
        anonymous,
        ..WantedVolume::default()
    }
}

#[test]
fn claimed_volumes_stay_until_the_container_has_a_record() {
    let scene = Scene::new();
    scene.volumes.create(&named("old")).unwrap();
    let all = [
        wanted("old", false),
        wanted("new", false),
        wanted("f00d", true),
    ];
    let claim = scene.volumes.claim(&all, "c1").unwrap();
    assert_eq!(claim.made(), ["new", "f00d"]);
    let refused = scene.volumes.remove("old", &nobody).unwrap_err();
    assert_eq!(refused.to_string(), "remove old: volume is in use - [c1]");
    let everything = PruneVolumes {
        named: true,
        ..PruneVolumes::default()
    };
    let pruned = scene
        .volumes
        .prune(&everything, Doing::It, &nobody)
        .unwrap();
    assert_eq!(pruned.volumes, [""; 0]);
    scene.volumes.undo(claim);
    assert_eq!(scene.names(), ["old"]);
    let claim = scene.volumes.claim(&all, "c2").unwrap();
    scene.volumes.done(claim).unwrap();
    scene.volumes.remove("old", &nobody).unwrap();
    assert_eq!(scene.names(), ["f00d", "new"]);
}

#[test]
fn volumes_of_a_container_that_never_was_go_at_the_next_start() {
    let scene = Scene::new();
    let all = [
        wanted("named", false),
        wanted("f00d", true),
        wanted("beef", true),
    ];
    drop(scene.volumes.claim(&all[..2], "c1").unwrap());
    drop(scene.volumes.claim(&all[2..], "c2").unwrap());
    let scene = scene.again("boot");
    let settled = scene.volumes.settle(&|id| id == "c2").unwrap();
    assert_eq!(settled.removed, ["f00d"]);
    assert_eq!(scene.names(), ["beef", "named"]);
    // The next start asks no more.
    let scene = scene.again("boot");
    assert_eq!(scene.volumes.settle(&|_id| false).unwrap().removed, [""; 0]);
    assert_eq!(scene.names(), ["beef", "named"]);
}

#[test]
fn pruning_takes_what_no_container_uses() {
    let scene = Scene::new();
    let labelled = |name: &str, labels: &[(&str, &str)]| NewVolume {
        labels: map(labels),
        ..named(name)
    };
    let anonymous = NewVolume {
        anonymous: true,
        ..named("f00d")
    };
    for new in [
        anonymous,
        labelled("keep", &[("protected", "true")]),
        labelled("plain", &[]),
        labelled("used", &[]),
        with_options("optional", &[("size", "0")]),
    ] {
        scene.volumes.create(&new).unwrap();
    }
    std::fs::write(scene.home("f00d/_data/file"), vec![1; 100_000]).unwrap();
    let users = |name: &str| {
        let used = (name == "used").then(|| "c1".to_owned());
        used.into_iter().collect()
    };
    let label = |key: &str, value: Option<&str>| Label {
        key: key.to_owned(),
        value: value.map(str::to_owned),
    };
    let prune = |which: &PruneVolumes, doing| scene.volumes.prune(which, doing, &users).unwrap();
    let anonymous = PruneVolumes::default();
    let named = PruneVolumes {
        named: true,
        ..PruneVolumes::default()
    };
    let planned = prune(&anonymous, Doing::Nothing);
    assert_eq!(planned.volumes, ["f00d"]);
    assert!((100_000..140_000).contains(&planned.bytes), "{planned:?}");
    assert_eq!(prune(&anonymous, Doing::It), planned);
    let with_label = PruneVolumes {
        labels: vec![label(ANONYMOUS_LABEL, None)],
        ..named.clone()
    };
    assert_eq!(prune(&with_label, Doing::Nothing).volumes, [""; 0]);
    let without = PruneVolumes {
        not_labels: vec![label("protected", None)],
        ..named.clone()
    };
    assert_eq!(prune(&without, Doing::It).volumes, ["plain"]);
    let other_value = PruneVolumes {
        labels: vec![label("protected", Some("false"))],
        ..named.clone()
    };
    assert_eq!(prune(&other_value, Doing::It).volumes, [""; 0]);
    assert_eq!(prune(&named, Doing::It).volumes, ["keep"]);
    assert_eq!(scene.names(), ["optional", "used"]);
}

#[test]
fn sizes_are_kept_until_a_volume_is_attached_again() {
    let scene = Scene::new();
    scene.volumes.create(&named("data")).unwrap();
    let size = |scene: &Scene| scene.volumes.size("data").unwrap().unwrap().bytes;
    let empty = size(&scene);
    let path = scene.volumes.attach("data", "c1").unwrap();
    std::fs::write(path.join("file"), vec![1; 1 << 20]).unwrap();
    let used = size(&scene);
    assert_eq!(used - empty, 1 << 20);
    std::fs::write(path.join("more"), vec![1; 1 << 20]).unwrap();
    assert_eq!(size(&scene) - empty, 2 << 20);
    scene.volumes.detach("data", "c1").unwrap();
    scene.volumes.counted();
    // Behind our back, so that it can be told whether anybody looks.
    std::fs::write(path.join("unseen"), vec![1; 1 << 20]).unwrap();
    assert_eq!(size(&scene) - empty, 2 << 20);
    let scene = scene.again("boot");
    assert_eq!(size(&scene) - empty, 2 << 20);
    let scene = scene.again("another boot");
    assert_eq!(size(&scene) - empty, 3 << 20);
    let all = scene.volumes.sizes();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].bytes - empty, 3 << 20);
}

#[test]
fn a_volume_whose_record_was_lost_is_still_there() {
    let scene = Scene::new();
    scene.volumes.create(&named("data")).unwrap();
    std::fs::write(scene.home("data/_data/file"), "content").unwrap();
    let dir = {
        let Scene {
            dir,
            engine,
            volumes,
        } = scene;
        drop((engine, volumes));
        dir
    };
    for name in ["state.db", "state.db.kept", "state.db.seal"] {
        drop(std::fs::remove_file(
            dir.path().join("root/state").join(name),
        ));
    }
    let scene = Scene::open(dir, "boot");
    assert_eq!(scene.names(), ["data"]);
    let path = scene.volumes.attach("data", "c1").unwrap();
    assert_eq!(
        std::fs::read_to_string(path.join("file")).unwrap(),
        "content"
    );
}
