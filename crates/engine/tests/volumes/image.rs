//! Images as mounts.

use std::path::Path;

use lapstrake_engine::{ImageName, VolumeErrorClass};
use lapstrake_testkit::registry::{self, Layer, Registry};
use lapstrake_testkit::tar::Tar;

use crate::mounted::{clean_up, mounts};
use crate::scene::{Scene, privileged};
use crate::shared;

#[test]
fn privileged_an_image_is_mounted_for_its_users_and_no_longer() {
    if !privileged("privileged_an_image_is_mounted_for_its_users_and_no_longer") {
        return;
    }
    let scene = Scene::new();
    let _clean_up = clean_up(&scene);
    let registry = Registry::start(registry::Access::Open);
    let layer = Tar::default()
        .directory("bin/", 0o755)
        .file("bin/tool", 0o755, b"of the image")
        .symlink("out", "/etc")
        .finish();
    let image = registry
        .add_image("tools", "1", &[Layer::plain(layer)])
        .reference;
    shared::pull(&scene.engine, &image);
    let attach = |subpath, user: &str| {
        let image: ImageName = image.to_string().parse().unwrap();
        scene
            .volumes
            .attach_image(&scene.engine, image, subpath, user)
    };
    let whole = attach(None, "c1").unwrap().path;
    assert_eq!(
        std::fs::read_to_string(whole.join("bin/tool")).unwrap(),
        "of the image"
    );
    let refused = std::fs::write(whole.join("new"), "").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    let part = attach(Some("bin"), "c1").unwrap().path;
    assert_eq!(
        std::fs::read_to_string(part.join("tool")).unwrap(),
        "of the image"
    );
    let file = attach(Some("bin/tool"), "c2").unwrap().path;
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "of the image");
    for (subpath, why) in [
        ("out/passwd", "it leads outside"),
        ("no", "no such file or directory"),
    ] {
        let error = attach(Some(subpath), "c3").unwrap_err();
        assert_eq!(error.class(), VolumeErrorClass::Invalid);
        assert!(error.to_string().ends_with(why), "{error}");
    }
    assert_eq!(scene.volumes.image_users().unwrap(), ["c1", "c2", "c3"]);
    for user in ["c1", "c2", "c3", "never"] {
        scene.volumes.detach_images(&scene.engine, user).unwrap();
    }
    assert_eq!(scene.volumes.image_users().unwrap(), [""; 0]);
    let run = scene.dir.path().join("run");
    assert_eq!(mounts(&run.join("volume-images")), 0);
    assert_eq!(entries(&run.join("volume-parts")), 0);
}

fn entries(dir: &Path) -> usize {
    std::fs::read_dir(dir).unwrap().count()
}
