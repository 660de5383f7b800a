//! Requests and what comes of them, or the words of the refusal.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::settings::{BindOptions, MountRequest, TmpfsOptions, VolumeOptions};

/// A host with `/there`, a container `data`, and an image that has the file `/file`.
#[derive(Default)]
struct Scene {
    names: Cell<u32>,
}

impl Host for Scene {
    fn mounts_of(&self, container: &str) -> Option<Vec<MountPoint>> {
        let bind = MountPoint {
            kind: MountKind::Bind,
            source: "/host".into(),
            destination: "/bound".into(),
            mode: "ro".to_owned(),
            bind: BindOptions {
                propagation: Some(Propagation::Rslave),
                ..BindOptions::default()
            },
            ..MountPoint::default()
        };
        let volume = MountPoint {
            kind: MountKind::Volume,
            name: Some("theirs".to_owned()),
            destination: "/data".into(),
            driver: Some("local".to_owned()),
            mode: "z".to_owned(),
            writable: true,
            copy_up: true,
            anonymous: true,
            ..MountPoint::default()
        };
        let tmpfs = MountPoint {
            kind: MountKind::Tmpfs,
            destination: "/memory".into(),
            ..MountPoint::default()
        };
        match container {
            "data" => Some(vec![bind, volume, tmpfs]),
            "other" => Some(vec![MountPoint {
                name: Some("others".to_owned()),
                ..volume
            }]),
            _ => None,
        }
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(path.starts_with("/there"))
    }

    fn image(&self, name: &str) -> Result<String, String> {
        match name {
            "tools" => Ok("sha256:0123".to_owned()),
            _ => Err(format!("No such image: {name}:latest")),
        }
    }

    fn is_file_in_image(&self, path: &Path) -> bool {
        path == Path::new("/file")
    }

    fn new_volume_name(&self) -> String {
        self.names.set(self.names.get() + 1);
        format!("new{}", self.names.get())
    }
}

fn run(requests: &MountRequests) -> Result<Resolved, Error> {
    let rules = Rules {
        root: Path::new("/var/lib/lapstrake"),
        read_only_non_recursive: false,
    };
    resolve(requests, rules, &Scene::default())
}

fn binds(binds: &[&str]) -> MountRequests {
    MountRequests {
        binds: binds.iter().map(|bind| (*bind).to_owned()).collect(),
        ..MountRequests::default()
    }
}

fn mount(kind: MountKind, source: &str, destination: &str) -> MountRequest {
    MountRequest {
        kind,
        source: source.to_owned(),
        destination: destination.to_owned(),
        ..MountRequest::default()
    }
}

fn mounts(mounts: &[MountRequest]) -> MountRequests {
    MountRequests {
        mounts: mounts.to_vec(),
        ..MountRequests::default()
    }
}

/// What is mounted, a line each: `kind name-or-source destination options`.
fn lines(resolved: &Resolved) -> Vec<String> {
    let line = |mount: &MountPoint| {
        let source = mount.source.display().to_string();
        let mut words = vec![
            mount.kind.name().to_owned(),
            mount.name.clone().unwrap_or(source),
            mount.destination.display().to_string(),
            if mount.writable { "rw" } else { "ro" }.to_owned(),
        ];
        let propagation = mount.bind.propagation.map(Propagation::name);
        words.extend(propagation.map(str::to_owned));
        for (is, word) in [
            (mount.copy_up, "copy"),
            (mount.anonymous, "anonymous"),
            (mount.bind.create_source, "make"),
            (mount.shadowed, "shadowed"),
        ] {
            words.extend(is.then(|| word.to_owned()));
        }
        if !mount.mode.is_empty() {
            words.push(format!("[{}]", mount.mode));
        }
        words.join(" ")
    };
    resolved.mounts.iter().map(line).collect()
}

#[test]
fn short_forms_are_binds_by_an_absolute_source_and_else_volumes() {
    for (bind, expected) in [
        ("/home:/home", "bind /home /home rw rprivate make"),
        ("/a/../b//c/:/x/.", "bind /b/c /x rw rprivate make"),
        ("/with space:/a b", "bind /with space /a b rw rprivate make"),
        ("/rw:/ro", "bind /rw /ro rw rprivate make"),
        ("/a:/b:ro", "bind /a /b ro rprivate make [ro]"),
        ("/a:/b:rw", "bind /a /b rw rprivate make [rw]"),
        ("/a:/b:shared", "bind /a /b rw shared make [shared]"),
        ("/a:/b:ro,Z,slave", "bind /a /b ro slave make [ro,Z,slave]"),
        ("/a:/b:cached", "bind /a /b rw rprivate make [cached]"),
        ("/:/host", "bind / /host rw rslave make"),
        (
            "/var/lib/lapstrake/state:/s",
            "bind /var/lib/lapstrake/state /s rw rslave make",
        ),
        ("/var:/v:rshared", "bind /var /v rw rshared make [rshared]"),
        ("/variable:/v", "bind /variable /v rw rprivate make"),
        ("name:/n", "volume name /n rw copy [z]"),
        ("name:/n:rw", "volume name /n rw copy [rw]"),
        ("name:/n:ro", "volume name /n ro copy [ro]"),
        ("name:/n:nocopy", "volume name /n rw [nocopy]"),
        ("name:/n:z,nocopy,ro", "volume name /n ro [z,nocopy,ro]"),
        ("local/name:/n", "volume local/name /n rw copy [z]"),
        ("/only", "volume new1 /only rw copy anonymous [z]"),
    ] {
        let resolved = run(&binds(&[bind])).unwrap_or_else(|error| panic!("{bind}: {error}"));
        assert_eq!(lines(&resolved), [expected], "{bind}");
    }
}

#[test]
fn short_forms_are_refused_in_dockers_words() {
    let absolute = |path: &str| format!("invalid mount path: '{path}' mount path must be absolute");
    for (bind, words) in [
        ("", "invalid volume specification: ''"),
        (":", "invalid volume specification: ':'"),
        (":/test", "invalid volume specification: ':/test'"),
        ("::", "invalid volume specification: '::'"),
        ("/tmp:", "invalid volume specification: '/tmp:'"),
        ("tmp:", "invalid volume specification: 'tmp:'"),
        ("/a:/b:ro:x", "invalid volume specification: '/a:/b:ro:x'"),
        ("/tmp:::", "invalid volume specification: '/tmp:::'"),
        ("/path:rw", "invalid volume specification: '/path:rw'"),
        ("path:ro", "invalid volume specification: 'path:ro'"),
        (
            "/path:shared",
            "invalid volume specification: '/path:shared'",
        ),
        ("/path:z,ro", "invalid volume specification: '/path:z,ro'"),
        ("/path:/path:sw", "invalid mode: sw"),
        ("/path:/path:rwz", "invalid mode: rwz"),
        ("/path:/path:ro,rw", "invalid mode: ro,rw"),
        ("/path:/path:z,Z", "invalid mode: z,Z"),
        (
            "/path:/path:ro,rshared,rslave",
            "invalid mode: ro,rshared,rslave",
        ),
        ("/path:/path:,", "invalid mode: ,"),
        (
            "/path::ro",
            "invalid volume specification: '/path::ro': invalid mount config for type \"bind\": field \
             Target must not be empty",
        ),
        (
            "/path:/",
            "invalid volume specification: '/path:/': invalid mount config for type \"bind\": invalid \
             specification: destination can't be '/'",
        ),
        (
            "name:/a/..",
            "invalid volume specification: 'name:/a/..': invalid mount config for type \"volume\": \
             invalid specification: destination can't be '/'",
        ),
        (
            "/tmp:tmp",
            &format!(
                "invalid volume specification: '/tmp:tmp': invalid mount config for type \"bind\": {}",
                absolute("tmp")
            ),
        ),
        (
            "./",
            &format!(
                "invalid volume specification: './': invalid mount config for type \"volume\": {}",
                absolute("./")
            ),
        ),
        (
            "name:/n:shared",
            "invalid volume specification: 'name:/n:shared': invalid mount config for type \"volume\": \
             field BindOptions must not be specified",
        ),
        (
            "/a:/b:nocopy",
            "invalid volume specification: '/a:/b:nocopy': invalid mount config for type \"bind\": \
             field VolumeOptions must not be specified",
        ),
        (
            "/var/lib:/x:private",
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount \
             source is within the daemon root, daemon root: \"/var/lib/lapstrake\", bind mount source: \
             \"/var/lib\", propagation: \"private\"",
        ),
    ] {
        let error = run(&binds(&[bind])).unwrap_err();
        assert_eq!(error.to_string(), words, "{bind}");
    }
}

#[test]
fn long_forms_have_the_fields_of_their_kind() {
    let (bind, volume) = (MountKind::Bind, MountKind::Volume);
    let tmpfs = MountKind::Tmpfs;
    let with_volume = |request: MountRequest, options: VolumeOptions| MountRequest {
        volume: Some(options),
        ..request
    };
    let with_bind = |request: MountRequest, options: BindOptions| MountRequest {
        bind: Some(options),
        ..request
    };
    let subpath = |path: &str| VolumeOptions {
        subpath: Some(path.to_owned()),
        ..VolumeOptions::default()
    };
    let read_only = |request: MountRequest| MountRequest {
        read_only: true,
        ..request
    };
    for (request, expected) in [
        (mount(bind, "/there", "/x/"), "bind /there /x rw rprivate"),
        (
            read_only(mount(bind, "/there", "/x")),
            "bind /there /x ro rprivate",
        ),
        (
            with_bind(
                mount(bind, "/missing", "/x"),
                BindOptions {
                    create_source: true,
                    propagation: Some(Propagation::Shared),
                    ..BindOptions::default()
                },
            ),
            "bind /missing /x rw shared make",
        ),
        (mount(volume, "v", "/x"), "volume v /x rw copy [z]"),
        (
            mount(volume, "", "/x"),
            "volume new1 /x rw copy anonymous [z]",
        ),
        (
            read_only(mount(volume, "v", "/x")),
            "volume v /x ro copy [z]",
        ),
        (
            with_volume(
                mount(volume, "v", "/x"),
                VolumeOptions {
                    no_copy: true,
                    ..subpath("a/b")
                },
            ),
            "volume v /x rw [z]",
        ),
        (mount(tmpfs, "", "/x"), "tmpfs  /x rw"),
        (mount(MountKind::Image, "tools", "/x"), "image tools /x ro"),
    ] {
        let resolved = run(&mounts(std::slice::from_ref(&request)));
        let resolved = resolved.unwrap_or_else(|error| panic!("{request:?}: {error}"));
        assert_eq!(lines(&resolved), [expected], "{request:?}");
        assert_eq!(resolved.mounts[0].request.as_ref(), Some(&request));
    }
    let tmpfs_options = |options: &[&str]| MountRequest {
        tmpfs: Some(TmpfsOptions {
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            ..TmpfsOptions::default()
        }),
        ..mount(tmpfs, "", "/x")
    };
    for (request, kind, words) in [
        (
            mount(bind, "/there", ""),
            "bind",
            "field Target must not be empty",
        ),
        (
            mount(bind, "", "/x"),
            "bind",
            "field Source must not be empty",
        ),
        (
            mount(volume, "v", "/"),
            "volume",
            "invalid specification: destination can't be '/'",
        ),
        (
            mount(volume, "v", "x"),
            "volume",
            "invalid mount path: 'x' mount path must be absolute",
        ),
        (
            mount(bind, "x", "/x"),
            "bind",
            "invalid mount path: 'x' mount path must be absolute",
        ),
        (
            mount(bind, "/gone", "/x"),
            "bind",
            "bind source path does not exist: /gone",
        ),
        (
            with_volume(mount(bind, "/there", "/x"), VolumeOptions::default()),
            "bind",
            "field VolumeOptions must not be specified",
        ),
        (
            with_bind(mount(volume, "v", "/x"), BindOptions::default()),
            "volume",
            "field BindOptions must not be specified",
        ),
        (
            with_bind(mount(tmpfs, "", "/x"), BindOptions::default()),
            "tmpfs",
            "field BindOptions must not be specified",
        ),
        (
            MountRequest {
                image_subpath: Some(String::new()),
                ..mount(volume, "v", "/x")
            },
            "volume",
            "field ImageOptions must not be specified",
        ),
        (
            read_only(mount(volume, "", "/x")),
            "volume",
            "must not set ReadOnly mode when using anonymous volumes",
        ),
        (
            with_volume(mount(volume, "", "/x"), subpath("a")),
            "volume",
            "must not set Subpath when using anonymous volumes",
        ),
        (
            with_volume(mount(volume, "v", "/x"), subpath("../a")),
            "volume",
            "subpath must be a relative path within the volume",
        ),
        (
            with_volume(mount(volume, "v", "/x"), subpath("/a")),
            "volume",
            "subpath must be a relative path within the volume",
        ),
        (
            mount(tmpfs, "x", "/x"),
            "tmpfs",
            "field Source must not be specified",
        ),
        (tmpfs_options(&["size=1"]), "tmpfs", "invalid option: size"),
        (
            mount(MountKind::Image, "", "/x"),
            "image",
            "field Source must not be empty",
        ),
        (
            with_bind(
                mount(bind, "/there", "/x"),
                BindOptions {
                    read_only_non_recursive: true,
                    ..BindOptions::default()
                },
            ),
            "bind",
            "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive",
        ),
    ] {
        let error = run(&mounts(std::slice::from_ref(&request))).unwrap_err();
        let expected = format!("invalid mount config for type {kind:?}: {words}");
        assert_eq!(error.to_string(), expected, "{request:?}");
    }
    let gone = run(&mounts(&[mount(MountKind::Image, "nope", "/x")])).unwrap_err();
    assert_eq!(gone.to_string(), "No such image: nope:latest");
}

#[test]
fn volumes_that_must_be_there_and_directories_that_are_made_are_told() {
    let labelled = MountRequest {
        volume: Some(VolumeOptions {
            driver: Some("local".to_owned()),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            driver_options: [("size".to_owned(), "1g".to_owned())].into(),
            ..VolumeOptions::default()
        }),
        ..mount(MountKind::Volume, "labelled", "/l")
    };
    let requests = MountRequests {
        binds: vec!["named:/n".to_owned(), "/made:/m".to_owned()],
        mounts: vec![labelled, mount(MountKind::Bind, "/there", "/t")],
        volumes: vec!["/anonymous/".to_owned(), "/n".to_owned(), "/t".to_owned()],
        ..MountRequests::default()
    };
    let resolved = run(&requests).unwrap();
    assert_eq!(resolved.host_dirs, [Path::new("/made")]);
    let wanted = |name: &str, anonymous| WantedVolume {
        name: name.to_owned(),
        anonymous,
        ..WantedVolume::default()
    };
    let labelled = WantedVolume {
        driver: Some("local".to_owned()),
        options: [("size".to_owned(), "1g".to_owned())].into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        ..wanted("labelled", false)
    };
    assert_eq!(
        resolved.volumes,
        [wanted("new1", true), labelled, wanted("named", false)]
    );
    assert_eq!(
        lines(&resolved),
        [
            "volume new1 /anonymous rw copy anonymous",
            "volume labelled /l rw copy [z]",
            "bind /made /m rw rprivate make",
            "volume named /n rw copy [z]",
            "bind /there /t rw rprivate",
        ]
    );
}

#[test]
fn what_another_container_has_comes_first_and_gives_way() {
    let from = |from: &[&str], binds: &[&str]| MountRequests {
        volumes_from: from.iter().map(|from| (*from).to_owned()).collect(),
        volumes: vec!["/data".to_owned()],
        ..self::binds(binds)
    };
    for (requests, expected) in [
        (
            from(&["data"], &[]),
            [
                "bind /host /bound ro rslave",
                "volume theirs /data rw anonymous",
            ],
        ),
        (
            from(&["data:ro"], &[]),
            [
                "bind /host /bound ro rslave",
                "volume theirs /data ro anonymous",
            ],
        ),
        (
            from(&["data:z,rw", "other"], &[]),
            [
                "bind /host /bound ro rslave",
                "volume others /data rw anonymous",
            ],
        ),
        (
            from(&["data"], &["mine:/data"]),
            [
                "bind /host /bound ro rslave",
                "volume mine /data rw copy [z]",
            ],
        ),
    ] {
        let resolved = run(&requests).unwrap();
        assert_eq!(lines(&resolved), expected, "{requests:?}");
        assert_eq!(resolved.volumes.len(), 1, "{requests:?}");
    }
    for (spec, words) in [
        ("", "volumes-from specification cannot be an empty string"),
        ("data:shared", "invalid mode: shared"),
        ("data:nocopy", "invalid mode: nocopy"),
        ("data:ro:rw", "invalid mode: ro:rw"),
        ("gone", "No such container: gone"),
    ] {
        let error = run(&from(&[spec], &[])).unwrap_err();
        assert_eq!(error.to_string(), words, "{spec:?}");
    }
}

#[test]
fn a_place_is_asked_for_once() {
    let duplicate = |requests: &MountRequests| run(requests).unwrap_err().to_string();
    assert_eq!(
        duplicate(&binds(&["/a:/x", "b:/x/"])),
        "Duplicate mount point: /x"
    );
    let mut both = binds(&["/a:/x"]);
    both.mounts = vec![mount(MountKind::Volume, "v", "/x/")];
    assert_eq!(duplicate(&both), "Duplicate mount point: /x/");
    let twice = [
        mount(MountKind::Volume, "v", "/x"),
        mount(MountKind::Volume, "w", "/x"),
    ];
    assert_eq!(duplicate(&mounts(&twice)), "Duplicate mount point: /x");
    let mut tmpfs = binds(&["/a:/x"]);
    tmpfs.tmpfs = [("/x".to_owned(), String::new())].into();
    assert_eq!(duplicate(&tmpfs), "Duplicate mount point: /x");
}

#[test]
fn a_tmpfs_takes_the_place_of_what_was_not_a_bind() {
    let requests = MountRequests {
        tmpfs: ["/data", "/x", "/v"]
            .map(|path| (path.to_owned(), "size=1m,exec".to_owned()))
            .into(),
        mounts: vec![mount(MountKind::Volume, "v", "/x")],
        volumes: vec!["/v".to_owned()],
        volumes_from: vec!["other".to_owned()],
        ..MountRequests::default()
    };
    let resolved = run(&requests).unwrap();
    assert_eq!(
        lines(&resolved),
        [
            "volume others /data rw anonymous shadowed",
            "tmpfs  /data rw",
            "tmpfs  /v rw",
            "volume v /x rw copy shadowed [z]",
            "tmpfs  /x rw",
        ]
    );
    assert!(resolved.mounts[1].is_plain_tmpfs());
    for (destination, words) in [
        ("/", "invalid specification: destination can't be '/'"),
        ("x", "invalid mount path: 'x' mount path must be absolute"),
    ] {
        let requests = MountRequests {
            tmpfs: [(destination.to_owned(), String::new())].into(),
            ..MountRequests::default()
        };
        assert_eq!(run(&requests).unwrap_err().to_string(), words);
    }
}

#[test]
fn options_of_a_tmpfs_lie_over_its_own() {
    let options = |text: &str| {
        let requests = MountRequests {
            tmpfs: [("/x".to_owned(), text.to_owned())].into(),
            ..MountRequests::default()
        };
        run(&requests).and_then(|resolved| tmpfs_options(&resolved.mounts[0]))
    };
    for (text, expected) in [
        ("", "noexec,nosuid,nodev,rprivate"),
        ("rw,exec,size=64m", "nosuid,nodev,rprivate,rw,exec,size=64m"),
        (
            "size=1m,size=2m,shared",
            "noexec,nosuid,nodev,size=2m,shared",
        ),
        (
            "defaults,mode=1777,uid=5",
            "noexec,nosuid,nodev,rprivate,mode=1777,uid=5",
        ),
    ] {
        assert_eq!(options(text).unwrap().join(","), expected, "{text}");
    }
    for (text, words) in [
        ("foo", "invalid tmpfs option [\"foo\"]"),
        ("foo=1", "invalid tmpfs option [\"foo\" \"1\"]"),
        ("size", "invalid tmpfs option [\"size\"]"),
    ] {
        assert_eq!(options(text).unwrap_err().to_string(), words);
    }
    let long = MountRequest {
        read_only: true,
        tmpfs: Some(TmpfsOptions {
            size: Some(3 << 20),
            mode: Some(0o1770),
            options: vec!["exec".to_owned()],
        }),
        ..mount(MountKind::Tmpfs, "", "/x")
    };
    let resolved = run(&mounts(&[long])).unwrap();
    let options = tmpfs_options(&resolved.mounts[0]).unwrap();
    assert_eq!(
        options.join(","),
        "nosuid,nodev,rprivate,ro,mode=1770,size=3m,exec"
    );
}

#[test]
fn volumes_of_images_lie_below_the_root() {
    let volumes = |path: &str| MountRequests {
        volumes: vec![path.to_owned()],
        ..MountRequests::default()
    };
    for (path, place) in [
        ("/data/", "/data"),
        ("data", "/data"),
        ("./a/../b", "/b"),
        ("a:/b", "/a:/b"),
    ] {
        let resolved = run(&volumes(path)).unwrap();
        assert_eq!(resolved.mounts[0].destination, Path::new(place), "{path}");
    }
    for path in ["/", "", ".", "a/.."] {
        let words = "invalid specification: destination can't be '/'";
        assert_eq!(
            run(&volumes(path)).unwrap_err().to_string(),
            words,
            "{path}"
        );
    }
}

#[test]
fn a_new_volume_is_not_put_over_a_file() {
    let requests = MountRequests {
        volumes: vec!["/file".to_owned()],
        ..MountRequests::default()
    };
    let words = "cannot mount volume over existing file, file exists /file";
    assert_eq!(run(&requests).unwrap_err().to_string(), words);
}

#[test]
fn parents_are_mounted_before_what_lies_below_them() {
    let resolved = run(&binds(&["/1:/b/c/d", "/2:/a", "/3:/b", "/4:/a/z"])).unwrap();
    let order: Vec<_> = resolved
        .mounts
        .iter()
        .map(|mount| mount.destination.clone())
        .collect();
    assert_eq!(order, ["/a", "/b", "/a/z", "/b/c/d"].map(PathBuf::from));
}

proptest! {
    #[test]
    fn nothing_that_is_typed_panics(
        bind in "[a-z/:.,*\\\\]{0,24}",
        from in "[a-z:,]{0,12}",
        tmpfs in "[a-z/.]{0,8}",
        options in "[a-z=,0-9]{0,24}",
        volume in ".{0,12}",
        source in ".{0,12}",
        destination in ".{0,12}",
    ) {
        let requests = MountRequests {
            binds: vec![bind],
            volumes_from: vec![from],
            tmpfs: [(tmpfs, options)].into(),
            volumes: vec![volume],
            mounts: vec![mount(MountKind::Volume, &source, &destination)],
            volume_driver: None,
        };
        drop(run(&requests).map_err(|error| error.to_string()));
    }

    #[test]
    fn what_is_mounted_has_a_clean_place_of_its_own(binds in prop::collection::vec(
        ("(/[a-c.]{1,2}){1,3}", "(/[a-c.]{0,2}){1,3}", "(ro|rw|z|shared|nocopy)?"), 1..5
    )) {
        let binds: Vec<String> = binds
            .into_iter()
            .map(|(source, place, mode)| format!("{source}:{place}:{mode}"))
            .collect();
        let requests = MountRequests { binds, ..MountRequests::default() };
        if let Ok(resolved) = run(&requests) {
            let mut places = BTreeSet::new();
            for mount in &resolved.mounts {
                let place = mount.destination.to_str().unwrap();
                prop_assert_eq!(&path::clean(place), &mount.destination);
                prop_assert!(place.starts_with('/') && place != "/");
                prop_assert!(places.insert(mount.destination.clone()));
            }
            prop_assert_eq!(resolved.mounts.len(), requests.binds.len());
        }
    }
}
