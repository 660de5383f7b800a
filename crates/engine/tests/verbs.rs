//! Names, lists, histories, and what the disk is used for, on a store with images in it.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

mod shared;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use lapstrake_engine::{
    Access, Doing, Engine, Error, IfUsed, ImageFilter, ImageName, ImageSummary, Opening, Prune,
    Reference, RoomLimit, Which,
};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::tar;

/// A store with two images that share a layer.
struct Scene {
    dir: tempfile::TempDir,
    engine: Option<Engine>,
    app: Reference,
    other: Reference,
}

fn layer(name: &str, bytes: usize) -> Layer {
    let contents = name.as_bytes().repeat(bytes / name.len());
    Layer::plain(tar::of_file(name, &contents))
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::Builder::new().tempdir_in("/var/tmp").unwrap();
        let registry = Registry::start(registry::Access::Open);
        let base = || layer("base", 100_000);
        let app = registry.add_image("app", "1", &[base(), layer("app", 200_000)]);
        let other = registry.add_image("other", "1", &[base(), layer("other", 50_000)]);
        let mut scene = Self {
            dir,
            engine: None,
            app: app.reference,
            other: other.reference,
        };
        scene.reopen("boot");
        shared::pull(scene.engine(), &scene.app);
        shared::pull(scene.engine(), &scene.other);
        scene
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn reopen(&mut self, boot: &str) {
        self.engine = None;
        let surroundings = shared::surroundings(self.dir.path(), boot);
        self.engine = Some(Engine::open(&surroundings, Opening::Own(None)).unwrap());
    }

    fn read(&self) -> Engine {
        let surroundings = shared::surroundings(self.dir.path(), "boot");
        Engine::open(&surroundings, Opening::ReadOnly).unwrap()
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }
}

/// Bytes and inodes below a directory and of it, as `du` counts them.
fn du(dir: &Path) -> (u64, u64) {
    fn walk(path: &Path, seen: &mut HashSet<u64>, sum: &mut (u64, u64)) {
        let metadata = fs::symlink_metadata(path).unwrap();
        if seen.insert(metadata.ino()) {
            sum.0 += metadata.blocks() * 512;
            sum.1 += 1;
        }
        if metadata.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                walk(&entry.unwrap().path(), seen, sum);
            }
        }
    }
    let mut sum = (0, 0);
    walk(dir, &mut HashSet::new(), &mut sum);
    sum
}

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn short(images: &[ImageSummary]) -> Vec<String> {
    let mut names: Vec<_> = (images.iter())
        .map(|image| image.reference.rsplit('/').next().unwrap().to_owned())
        .map(|name| name.split('@').next().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_tag_is_a_further_name_that_outlives_a_crash_and_the_image() {
    let mut scene = Scene::new();
    let mine: Reference = "mine:1".parse().unwrap();
    let tagged = scene.engine().tag(&scene.app, &mine).unwrap();
    assert_eq!(tagged.instead_of, None);
    // Under another boot id, only what was proved is trusted.
    scene.reopen("another boot");
    let id = scene.engine().resolve(&scene.app).unwrap().config;
    assert_eq!(scene.engine().resolve(&mine).unwrap().config, id);
    let removed = scene
        .engine()
        .remove_images(
            &[ImageName::from(&scene.app)],
            IfUsed::Refuse,
            SystemTime::now(),
        )
        .unwrap();
    assert_eq!((removed.names.len(), removed.layers), (1, 0));
    assert_eq!(
        scene
            .engine()
            .resolve(name(&id.hex()[..12]))
            .unwrap()
            .config,
        id
    );

    // A name that moves leaves the image one by digest.
    let moved = scene.engine().tag(&scene.other, &mine).unwrap();
    assert_eq!(moved.instead_of.unwrap().config, id);
    let kept = scene.engine().resolve(name(&id.to_string())).unwrap();
    assert!(kept.reference.contains("/mine@sha256:"), "{kept:?}");

    let pinned = name(&kept.reference).reference().unwrap();
    let refused = scene.engine().tag(&scene.other, &pinned);
    assert!(matches!(refused, Err(Error::TagWithDigest(_))));
    let missing = scene.engine().tag(name("mime:1"), &mine).unwrap_err();
    assert!(
        missing.to_string().contains("did you mean mine:1?"),
        "{missing}"
    );
}

#[test]
fn lists_say_what_is_shared_and_take_filters() {
    let scene = Scene::new();
    let engine = scene.engine();
    let images = engine.images().unwrap();
    assert_eq!(short(&images), ["app:1", "other:1"]);
    let shared: HashSet<_> = images.iter().map(|image| image.shared_bytes).collect();
    assert_eq!(shared.len(), 1);
    assert!(
        images
            .iter()
            .all(|image| (100_000..image.bytes).contains(&image.shared_bytes))
    );

    let mine: Reference = "mine:1".parse().unwrap();
    engine.tag(&scene.app, &mine).unwrap();
    engine.tag(&scene.other, &mine).unwrap();
    // The names of one image are not several images that share.
    let shared_now: HashSet<_> = (engine.images().unwrap().iter())
        .map(|image| image.shared_bytes)
        .collect();
    assert_eq!(shared_now, shared);
    let listed = |filter: ImageFilter| short(&engine.list_images(&filter).unwrap());
    let pattern = ImageFilter {
        references: vec!["mi*".to_owned()],
        ..ImageFilter::default()
    };
    assert_eq!(listed(pattern), ["mine:1"]);
    let dangling = ImageFilter {
        dangling: Some(true),
        ..ImageFilter::default()
    };
    assert_eq!(listed(dangling), Vec::<String>::new());
    let missing = ImageFilter {
        before: vec![name("nothing")],
        ..ImageFilter::default()
    };
    assert!(engine.list_images(&missing).is_err());
}

#[test]
fn readers_beside_an_owner_see_history_and_details() {
    let scene = Scene::new();
    let reader = scene.read();
    let history = reader.history(&scene.app).unwrap();
    assert_eq!(history.steps.len(), 2);
    assert!(history.steps[0].bytes > 200_000 && history.steps[1].bytes > 100_000);
    let details = reader.inspect_image(&scene.app).unwrap();
    assert_eq!(details.tags, [scene.app.familiar()]);
    assert_eq!(details.digests.len(), 1);
    assert_eq!(details.layers.len(), 2);
    for layer in &details.layers {
        // Directory, data, skeleton, spans and index.
        assert_eq!(layer.held.inodes, 5);
        assert!(!layer.sources.is_empty());
        assert!(layer.held.bytes >= layer.record.as_ref().unwrap().data_len);
    }
    assert_eq!(reader.inspect_writable("mine").unwrap(), None);
}

#[test]
fn privileged_what_is_used_adds_up_to_what_the_file_system_says() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED used: needs root");
        return;
    }
    let mut scene = Scene::new();
    let engine = scene.engine();
    let target = scene.dir.path().join("target");
    let access = Access::Writable("mine".to_owned());
    engine.mount(&scene.app, &target, &access).unwrap();
    let write = fs::File::create(target.join("written"))
        .and_then(|mut file| std::io::Write::write_all(&mut file, &[1; 300_000]));
    let file = fs::File::open(target.join("written")).unwrap();
    file.sync_all().unwrap();
    write.unwrap();
    drop(file);
    let mounted = engine.disk_usage(SystemTime::now()).unwrap();
    engine.unmount(&target).unwrap();
    assert_eq!(mounted.mounts.len(), 1);
    assert_eq!(mounted.mounts[0].target, target);
    assert!(mounted.writables[0].mounted);

    let limit = RoomLimit {
        bytes: Some(20 << 20),
        inodes: None,
    };
    engine.create(&scene.other, "limited", limit).unwrap();
    // With all that is written by the way out of the way.
    scene.reopen("boot");
    let (app, engine) = (scene.app.to_string(), scene.engine());
    let usage = engine.disk_usage(SystemTime::now()).unwrap();
    assert_eq!((usage.total.bytes, usage.total.inodes), du(&scene.root()));
    let app = usage
        .images
        .iter()
        .find(|image| app.ends_with(&image.names[0]));
    let app = app.unwrap();
    assert_eq!(app.writables, ["mine"]);
    // Nothing of it comes back while a writable layer lies on it.
    assert_eq!(app.alone.bytes, 0);
    assert!(app.shared.bytes > 300_000 && usage.shared.bytes > app.shared.bytes);
    assert!(usage.unknown.is_empty(), "{:?}", usage.unknown);
    let written = usage.writables.iter().find(|layer| layer.name == "mine");
    assert!(written.unwrap().held.bytes >= 300_000);
    for name in ["mine", "limited"] {
        engine.remove_writable(name).unwrap();
    }
}

#[test]
fn what_would_be_pruned_is_what_pruning_frees() {
    let scene = Scene::new();
    let engine = scene.engine();
    let mine: Reference = "mine:1".parse().unwrap();
    engine.tag(&scene.app, &mine).unwrap();
    engine
        .remove_images(
            &[ImageName::from(&scene.app)],
            IfUsed::Refuse,
            SystemTime::now(),
        )
        .unwrap();
    // Its last name moves, so that it has one by digest.
    engine.tag(&scene.other, &mine).unwrap();
    for which in [Which::Dangling, Which::Unused] {
        let now = SystemTime::now();
        let usage = engine.disk_usage(now).unwrap();
        let said = match which {
            Which::Dangling => usage.prunable,
            Which::Unused => usage.prunable_all,
        };
        let before = du(&scene.root().join("content")).0 + du(&scene.root().join("state/index")).0;
        let would = engine
            .prune(&Prune::all_of(which), Doing::Nothing, now)
            .unwrap();
        let did = engine.prune(&Prune::all_of(which), Doing::It, now).unwrap();
        engine.empty_trash().unwrap();
        let after = du(&scene.root().join("content")).0 + du(&scene.root().join("state/index")).0;
        assert_eq!(would, did);
        assert_eq!(said, did.bytes);
        assert_eq!(before - after, said);
        assert!(said > 200_000 || which == Which::Unused, "{said}");
    }
    assert_eq!(engine.images().unwrap(), []);
}

#[test]
fn state_is_for_its_owner_alone_also_if_an_older_version_made_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("root/state");
    for _opening in 0..2 {
        let around = shared::surroundings(dir.path(), "boot");
        drop(Engine::open(&around, Opening::Own(None)).unwrap());
        let mode = std::fs::metadata(&state).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o710);
        std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}
