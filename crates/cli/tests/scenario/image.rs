//! A small image, made by GNU tar and gzip as an OCI layout, and pushed by skopeo.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use lapstrake_oci::{Algorithm, Digest};
use serde_json::{Value, json};

/// Makes the image below `dir` and pushes it, with these arguments for skopeo.
pub(crate) fn push(dir: &Path, reference: &str, arguments: &[&str]) {
    let layout = layout(dir);
    let pushed = Command::new("skopeo")
        .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
        .args(arguments)
        .arg(format!("oci:{}:app", layout.display()))
        .arg(format!("docker://{reference}"))
        .output()
        .unwrap();
    assert!(pushed.status.success(), "{pushed:?}");
}

fn layout(dir: &Path) -> PathBuf {
    let layout = dir.join("layout");
    fs::create_dir_all(layout.join("blobs/sha256")).unwrap();
    let (below, above) = (dir.join("below"), dir.join("above"));
    program(&below, Path::new("/bin/cat"));
    for (path, contents) in [
        ("etc/kept", "kept\n"),
        ("etc/replaced", "old\n"),
        ("etc/removed", "old\n"),
        ("made/anew/old", "old\n"),
    ] {
        write(&below.join(path), contents.as_bytes());
    }
    for (path, contents) in [
        ("etc/replaced", "new\n"),
        ("etc/.wh.removed", ""),
        ("made/anew/.wh..wh..opq", ""),
        ("made/anew/new", "new\n"),
    ] {
        write(&above.join(path), contents.as_bytes());
    }
    let layers = [below, above].map(|tree| layer(&layout, &tree));
    let diff_ids = layers.iter().map(|(diff_id, _)| diff_id.to_string());
    let config = put(
        &layout,
        &json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Cmd": ["/bin/cat", "/etc/kept"] },
            "rootfs": { "type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>() },
        }),
    );
    let layers = layers
        .iter()
        .map(|(_, blob)| described("layer.v1.tar+gzip", blob));
    let manifest = put(
        &layout,
        &json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("config.v1+json", &config),
            "layers": layers.collect::<Vec<_>>(),
        }),
    );
    let mut entry = described("manifest.v1+json", &manifest);
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "app" });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] });
    write(&layout.join("index.json"), index.to_string().as_bytes());
    write(
        &layout.join("oci-layout"),
        br#"{"imageLayoutVersion":"1.0.0"}"#,
    );
    layout
}

/// A program with the libraries that it loads, as `ldd` lists them.
fn program(root: &Path, program: &Path) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries = listed
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in libraries.map(Path::new).chain([program]) {
        let to = root.join(path.strip_prefix("/").unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, &to).unwrap();
    }
}

struct Blob {
    digest: Digest,
    size: u64,
}

fn described(kind: &str, blob: &Blob) -> Value {
    json!({
        "mediaType": format!("application/vnd.oci.image.{kind}"),
        "digest": blob.digest.to_string(),
        "size": blob.size,
    })
}

/// The tree as a layer: the digest of its tar, and its gzipped blob.
fn layer(layout: &Path, tree: &Path) -> (Digest, Blob) {
    let tar = tree.with_extension("tar");
    let made = Command::new("tar")
        .args(["--sort=name", "--numeric-owner", "-C"])
        .arg(tree)
        .arg("-cf")
        .arg(&tar)
        .arg(".")
        .status()
        .unwrap();
    assert!(made.success());
    let diff_id = Algorithm::Sha256.digest(&fs::read(&tar).unwrap());
    let zipped = Command::new("gzip").arg("-c").arg(&tar).output().unwrap();
    (diff_id, put_bytes(layout, &zipped.stdout))
}

fn put(layout: &Path, document: &Value) -> Blob {
    put_bytes(layout, document.to_string().as_bytes())
}

fn put_bytes(layout: &Path, bytes: &[u8]) -> Blob {
    let digest = Algorithm::Sha256.digest(bytes);
    write(&layout.join("blobs/sha256").join(digest.hex()), bytes);
    Blob {
        digest,
        size: bytes.len() as u64,
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    File::create(path).unwrap().write_all(bytes).unwrap();
}
