//! Registries that want to know who asks: users behind TLS, and a server of tokens.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lapstrake_testkit::registry::{Access, Fault, Layer, Registry};
use lapstrake_testkit::tar;

use super::registry::DockerRegistry;
use super::{Scene, image, text};

/// `me` with the password `hush`, as an authfile and a header have it.
const ME: &str = "bWU6aHVzaA==";
/// The same with bcrypt.
const USERS: &str = "me:$2y$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa\n";
const LAYER_BYTES: usize = 4 << 20;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path)
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
}

/// A file of credentials in which `me` has this password at a registry.
fn authfile(scene: &Scene, name: &str, host: &str, auth: &str) -> PathBuf {
    let path = scene.path(name);
    let text = serde_json::json!({ "auths": { host: { "auth": auth } } });
    write(&path, &text.to_string());
    path
}

/// A certificate for 127.0.0.1 that signs itself, and its key.
fn certificate(dir: &Path) -> [PathBuf; 2] {
    fs::create_dir_all(dir).unwrap();
    let files = ["server.crt", "server.key"].map(|name| dir.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"])
        .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-subj", "/CN=test", "-addext"])
        .args(["subjectAltName=IP:127.0.0.1", "-addext"])
        .args(["basicConstraints=critical,CA:FALSE", "-out"])
        .arg(&files[0])
        .arg("-keyout")
        .arg(&files[1])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    files
}

#[test]
fn privileged_scenario_users_behind_tls() {
    let Some(scene) = Scene::new("users behind TLS") else {
        return;
    };
    if Command::new("openssl").arg("version").output().is_err() {
        eprintln!("SKIPPED users behind TLS: needs openssl");
        return;
    }
    let [certificate, key] = certificate(&scene.path("tls"));
    write(&scene.path("users"), USERS);
    let settings = format!(
        "  tls: {{ certificate: {certificate:?}, key: {key:?} }}\n\
         auth: {{ htpasswd: {{ realm: test, path: {:?} }} }}\n",
        scene.path("users")
    );
    let locked = DockerRegistry::start_with(&scene.path("locked"), &settings);
    let certs = scene.path("certs.d");
    let trusted = certs.join(locked.host()).join("ca.crt");
    fs::create_dir_all(trusted.parent().unwrap()).unwrap();
    fs::copy(&certificate, &trusted).unwrap();
    let right = authfile(&scene, "right.json", &locked.host(), ME);
    // `me` with another password.
    let wrong = authfile(&scene, "wrong.json", &locked.host(), "bWU6bm9pc3k=");
    let reference = format!("{}/team/app:1", locked.host());
    image::push(
        &scene.path("image"),
        &reference,
        &["--dest-creds", "me:hush"],
    );

    let run = |verb, authfile, names: &[&str], code| {
        let known = [verb, "--certs-dir", text(&certs), "--authfile", authfile];
        scene.done_with(&[&known, names].concat(), code)
    };
    let [right, wrong] = [text(&right), text(&wrong)];
    run("pull", wrong, &[&reference], 4);
    run("pull", right, &[&reference], 0);
    let to = format!("{}/other/app:2", locked.host());
    run("push", wrong, &[&reference, &to], 4);
    run("push", right, &["--same-digest", &reference, &to], 0);
    scene.done(&["rmi", &reference]);
    run("pull", right, &[&to], 0);
}

#[test]
fn privileged_scenario_a_token_runs_out_in_mid_pull() {
    let Some(scene) = Scene::new("a token runs out") else {
        return;
    };
    let registry = Registry::start(Access::TokenFor(format!("Basic {ME}")));
    let mut state = 1_u32;
    let noise = (0..LAYER_BYTES).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let tar = tar::of_file("noise", &noise.collect::<Vec<_>>());
    let added = registry.add_image("team/app", "v1", &[Layer::plain(tar)]);
    let layer = added.layers[0].digest.clone();
    registry.slow_down(Duration::ZERO, LAYER_BYTES as u64);
    registry.fault(&layer, Fault::CutAfter(LAYER_BYTES / 2));
    let authfile = authfile(&scene, "auth.json", &registry.host(), ME);
    let reference = added.reference.to_string();

    let pull = ["pull", "--authfile", text(&authfile), &reference];
    std::thread::scope(|threads| {
        let pull = threads.spawn(|| scene.done(&pull));
        let deadline = Instant::now() + Duration::from_secs(20);
        let asked = |what: &str| {
            let requests = registry.requests().into_iter();
            requests
                .filter(|request| request.target.contains(what))
                .count()
        };
        while asked(&layer.to_string()) == 0 || asked("/token") == 0 {
            assert!(Instant::now() < deadline, "the layer was not asked for");
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = asked("/token");
        // Until something of the layer is under way, the next request would only be its first.
        std::thread::sleep(Duration::from_millis(100));
        registry.expire_tokens();
        pull.join().unwrap();
        assert!(asked("/token") > before, "no other token was asked for");
    });
    assert!(scene.done(&["images"]).contains("team/app"));
}
