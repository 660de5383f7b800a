//! What goes wrong in a pull: each is told clearly, keeps what was verified, leaves nothing half, and a
//! pull right after it works.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure is the test's"
)]

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lapstrake_oci::{Platform, media_type};
use lapstrake_registry_client::{Client, Options};
use lapstrake_store::{Commit, Disk, HostId, Place, RealDisk, Store};
use lapstrake_sys::publish::{Published, StagedFile};
use lapstrake_testkit::registry::{Access, Added, Fault, Layer, Registry};
use lapstrake_testkit::tar;
use lapstrake_transfer::{Class, Error, Limits, PullOptions, Pulled, check_layer, pull, stopped};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn small() -> Layer {
    Layer::plain(tar::of_file("small", b"hello"))
}

/// 3 MB of tar, of which gzip makes 1.
fn large() -> Layer {
    let bytes: Vec<u8> = (0..750_000_u32).flat_map(u32::to_le_bytes).collect();
    let plain = Layer::plain(tar::of_file("large", &bytes));
    Layer {
        blob: gzip(&plain.blob),
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        diff_id: plain.diff_id,
    }
}

struct Scene {
    registry: Registry,
    layers: [Layer; 2],
    image: Added,
}

impl Scene {
    fn of(large: Layer) -> Self {
        let registry = Registry::start(Access::Open);
        let layers = [small(), large];
        let image = registry.add_image("app", "1", &layers);
        Self {
            registry,
            layers,
            image,
        }
    }

    /// One layer at a time, the large one first, or last for who wants the small one to be there.
    async fn pull(&self, store: &Arc<Store>, limits: Limits) -> Result<Pulled, Error> {
        let client = Client::new(Options::of("test")).unwrap();
        let options = PullOptions {
            platform: Platform::host(),
            parallel: 2,
            limits,
        };
        pull(store, &client, &self.image.reference, &options, |_event| {}).await
    }

    /// A pull that fails so, and says all of this; then one that works.
    async fn check(&self, limits: Limits, class: Class, says: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path(), Arc::new(RealDisk));
        let error = self.pull(&store, limits).await.unwrap_err();
        let told = error.to_string();
        assert_eq!(error.class(), class, "{told}");
        let blob = self.image.layers[1].digest.to_string();
        for part in says.iter().chain([&blob.as_str()]) {
            assert!(told.contains(part), "{part}: {told}");
        }
        stopped(&store).await;
        is_clean(&store);
        assert!(!store.content.has_layer(&self.layers[1].diff_id));
    }

    async fn works(&self, store: &Arc<Store>) {
        self.pull(store, Limits::DEFAULT).await.unwrap();
        for layer in &self.layers {
            check_layer(store, &layer.diff_id).unwrap();
        }
        is_staged(store, 0);
    }
}

fn open(dir: &Path, disk: Arc<dyn Disk>) -> Arc<Store> {
    let host = HostId::from_hostname("h");
    let place = Place {
        root: dir,
        host: &host,
        boot_id: "boot",
    };
    Arc::new(Store::open_on(disk, place, None).unwrap())
}

fn is_staged(store: &Store, count: usize) {
    let tmp = store.root().join("content/tmp/h");
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), count);
}

/// No name, nothing staged.
fn is_clean(store: &Store) {
    assert_eq!(store.state().images().unwrap(), []);
    is_staged(store, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_that_is_wrong() {
    // In a plain blob nothing but the digest can tell.
    let plain = Layer::plain(tar::of_file("large", &[7; 3_000_000]));
    let scene = Scene::of(plain);
    let digest = &scene.image.layers[1].digest;
    scene.registry.fault(digest, Fault::WrongByte(2_000_000));
    let says = ["damaged or replaced", "3001536 bytes"];
    scene
        .check(Limits::DEFAULT, Class::DataLoss, &says[..1])
        .await;
    // The diff id is checked for itself.
    let mut other = large();
    other.diff_id = small().diff_id;
    let registry = Registry::start(Access::Open);
    let image = registry.add_image("app", "1", std::slice::from_ref(&other));
    let scene = Scene {
        registry,
        layers: [small(), other],
        image,
    };
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Arc::new(RealDisk));
    let error = scene.pull(&store, Limits::DEFAULT).await.unwrap_err();
    assert_eq!(error.class(), Class::DataLoss, "{error}");
    stopped(&store).await;
    is_clean(&store);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_cut() {
    // As it was published: its digest is right.
    let mut layer = large();
    layer.blob.truncate(500_000);
    let scene = Scene::of(layer);
    scene
        .check(Limits::DEFAULT, Class::Invalid, &["ends too early"])
        .await;
    // By the registry, however often it is asked.
    let scene = Scene::of(large());
    for _try in 0..6 {
        let digest = &scene.image.layers[1].digest;
        scene.registry.fault(digest, Fault::ShortBody(1000));
    }
    scene
        .check(
            Limits::DEFAULT,
            Class::Unavailable,
            &["the connection ended after"],
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb() {
    let zeros = Layer::plain(tar::of_file("zeros", &vec![0; 50_000_000]));
    let scene = Scene::of(Layer {
        blob: gzip(&zeros.blob),
        media_type: media_type::OCI_LAYER_GZIP.to_owned(),
        diff_id: zeros.diff_id,
    });
    let limits = Limits {
        tar_bytes: 10_000_000,
        ..Limits::DEFAULT
    };
    scene
        .check(
            limits,
            Class::Invalid,
            &["more than 10000000 bytes", "raise the limit"],
        )
        .await;
    let dir = tempfile::tempdir().unwrap();
    scene.works(&open(dir.path(), Arc::new(RealDisk))).await;
}

/// A disk with no room left after so many steps, until somebody makes some.
#[derive(Debug)]
struct Full(AtomicI64);

impl Full {
    fn step(&self) -> io::Result<()> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 {
            Ok(())
        } else {
            Err(io::ErrorKind::StorageFull.into())
        }
    }
}

impl Disk for Full {
    fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.make_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<File> {
        self.step()?;
        RealDisk.create(path)
    }

    fn publish(&self, staged: StagedFile, name: &Path) -> io::Result<Published> {
        self.step()?;
        RealDisk.publish(staged, name)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<Published> {
        self.step()?;
        RealDisk.rename_new(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        RealDisk.replace(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_file(&self, file: &File) -> io::Result<()> {
        RealDisk.sync_file(file)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }

    fn committed(&self, _path: &Path, _commit: Commit) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_at_every_step() {
    let scene = Scene::of(large());
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let full = Arc::new(Full(AtomicI64::new(i64::MAX)));
        let store = open(dir.path(), Arc::clone(&full) as Arc<dyn Disk>);
        full.0.store(steps, Ordering::SeqCst);
        let pulled = scene.pull(&store, Limits::DEFAULT).await;
        let was_enough = full.0.swap(i64::MAX, Ordering::SeqCst) >= 0;
        stopped(&store).await;
        match pulled {
            Ok(_pulled) => assert!(was_enough),
            Err(error) => {
                assert_eq!(error.class(), Class::ResourceExhausted, "{steps}: {error}");
                is_clean(&store);
            }
        }
        scene.works(&store).await;
        if was_enough {
            assert!(steps > 10, "only {steps} steps were seen");
            return;
        }
    }
}

/// Unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(megabytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={megabytes}m");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path());
        assert!(mount.status().unwrap().success());
        Self(dir)
    }

    fn resize(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-o", &options]).arg(self.0.path());
        assert!(mount.status().unwrap().success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn privileged_a_file_system_that_is_full_keeps_what_is_whole_and_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: a small file system needs root");
        return;
    }
    let bytes: Vec<u8> = (0..10_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let scene = Scene::of(Layer::plain(tar::of_file("large", &bytes)));
    let disk = Tmpfs::new(30);
    let store = open(disk.0.path(), Arc::new(RealDisk));
    let error = scene.pull(&store, Limits::DEFAULT).await.unwrap_err();
    let told = error.to_string();
    assert_eq!(error.class(), Class::ResourceExhausted, "{told}");
    assert!(
        told.contains("/data") && told.contains("lapstrake prune"),
        "{told}"
    );
    stopped(&store).await;
    is_clean(&store);
    check_layer(&store, &scene.layers[0].diff_id).unwrap();
    disk.resize(200);
    scene.works(&store).await;
}
