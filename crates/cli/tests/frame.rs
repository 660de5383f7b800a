//! What all verbs have in common, from the outside: exit codes, JSON, quiet, pipes, a terminal.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use lapstrake_testkit::registry::{Access, Fault, Layer, Registry};
use lapstrake_testkit::tar;
use serde_json::Value;

struct Scene {
    registry: Registry,
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self {
            registry: Registry::start(Access::Open),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// An image of so many layers, each of 100 kB.
    fn image(&self, layers: u8) -> String {
        let layers: Vec<_> = (0..layers)
            .map(|byte| Layer::plain(tar::of_file("file", &[byte; 100_000])))
            .collect();
        self.registry
            .add_image("app", "1", &layers)
            .reference
            .to_string()
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        File::create(&path)
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        command
            .arg("--root")
            .arg(self.dir.path().join("root"))
            .arg("--run-dir")
            .arg(self.dir.path().join("run"))
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_kind_of_failure_has_its_code_and_its_object() {
    let scene = Scene::new();
    let image = scene.image(1);
    let done = scene.run(&["pull", &image]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let host = scene.registry.host();
    let nothing = format!("{host}/nothing:1");
    let nobody = "127.0.0.1:9/app:1";
    let misconfigured = scene.file("config.toml", "paralel = 3\n");
    let misconfigured = misconfigured.to_str().unwrap();
    for (arguments, code, class, words) in [
        (&["frobnicate"][..], 2, "usage", "unrecognized subcommand"),
        (&["pull", "UPPER:1"], 2, "usage", "UPPER"),
        (
            &["--config", misconfigured, "images"],
            2,
            "usage",
            "did you mean \"parallel\"?",
        ),
        (
            &["--config", "/nowhere.toml", "images"],
            2,
            "usage",
            "/nowhere.toml",
        ),
        (
            &["prune", "--filter", "until=never"],
            2,
            "usage",
            "until=never",
        ),
        (&["rmi", "nothing"], 3, "not_found", "no image"),
        (&["pull", &nothing], 3, "not_found", "does not have"),
        (&["pull", nobody], 5, "unavailable", "cannot reach"),
    ] {
        let plain = scene.run(arguments);
        assert_eq!(plain.status.code(), Some(code), "{arguments:?}: {plain:?}");
        assert!(said(&plain).contains(words), "{arguments:?}: {plain:?}");
        assert!(plain.stdout.is_empty(), "{plain:?}");
        let output = scene.run(&[&["--json"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {output:?}"
        );
        let text = said(&output);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 1, "{text}");
        let object: Value = serde_json::from_str(lines[0]).unwrap();
        assert_eq!(object["code"], code, "{text}");
        assert_eq!(object["class"], class, "{text}");
        assert!(object["error"].as_str().unwrap().contains(words), "{text}");
    }
}

#[test]
fn a_registry_that_refuses_is_told_apart_and_says_how_to_log_in() {
    let scene = Scene {
        registry: Registry::start(Access::Basic("Basic bWU6c2VjcmV0".to_owned())),
        dir: tempfile::tempdir().unwrap(),
    };
    let image = scene.image(1);
    let output = scene.run(&["pull", &image]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let text = said(&output);
    for words in ["docker login", "--authfile", &scene.registry.host()] {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn damage_on_the_way_is_told_apart() {
    let scene = Scene::new();
    let layers = [Layer::plain(tar::of_file("file", b"contents"))];
    let added = scene.registry.add_image("app", "1", &layers);
    for _every_try in 0..20 {
        scene
            .registry
            .fault(&added.layers[0].digest, Fault::WrongByte(600));
    }
    let output = scene.run(&["pull", &added.reference.to_string()]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
}

#[test]
fn another_owner_is_waited_for_and_named() {
    let scene = Scene::new();
    let image = scene.image(1);
    scene.run(&["pull", &image]);
    let owner = File::options()
        .write(true)
        .open(scene.dir.path().join("root/state/owner"))
        .unwrap();
    owner.try_lock().unwrap();
    let output = scene.run(&["--wait", "0", "tag", &image, "other:1"]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("in use by pid"), "{text}");
    assert!(!text.contains("waiting"), "{text}");
    let output = scene.run(&["--wait", "1", "tag", &image, "other:1"]);
    assert!(said(&output).contains("waiting up to 1 s"), "{output:?}");
    let output = scene.run(&["--json", "--wait", "1", "tag", &image, "other:1"]);
    for line in said(&output).lines() {
        serde_json::from_str::<Value>(line).unwrap();
    }
}

#[test]
fn nothing_but_text_goes_into_pipes_and_quiet_is_quiet() {
    let scene = Scene::new();
    let image = scene.image(3);
    let output = scene.run(&["pull", &image]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    assert_eq!(text.matches("fetching").count(), 3, "{text}");
    let output = scene.run(&["--quiet", "pull", &image]);
    assert_eq!(said(&output), "");
    assert!(!output.stdout.is_empty());
    let output = scene.run(&["--json", "pull", &image]);
    assert_eq!(said(&output), "");
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let object: Value = serde_json::from_str(line).unwrap();
        assert!(object["event"].is_string(), "{line}");
    }
}

#[test]
fn a_reader_that_goes_is_no_news_but_lost_results_are() {
    let scene = Scene::new();
    scene.run(&["pull", &scene.image(1)]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = scene.command(&["images"]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(141), "{output:?}");
    assert_eq!(said(&output), "");
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = scene.command(&["images"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        said(&output).contains("cannot write the results"),
        "{output:?}"
    );
}

#[test]
fn settings_are_shown_with_where_they_come_from() {
    let scene = Scene::new();
    let settings =
        "parallel = 7\nwait = 5\n[watermark]\nkeep-free = '20%'\nprotect = ['label=keep']\n";
    let file = scene.file("config.toml", settings);
    let output = scene
        .command(&["--json", "--wait", "4", "config"])
        .env("LAPSTRAKE_CONFIG", &file)
        .env("LAPSTRAKE_STORAGE_DRIVER", "vfs")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let from = |key: &str| {
        let mut rows = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let row = rows.find(|row| row["key"] == key).unwrap();
        (
            row["value"].to_string(),
            row["from"].as_str().unwrap().to_owned(),
        )
    };
    let file = file.to_str().unwrap().to_owned();
    assert_eq!(from("parallel"), ("7".to_owned(), file.clone()));
    for (key, value, origin) in [
        ("keep-free", "\"20%\"", &*file),
        ("until-free", "\"25%\"", "default"),
        ("protect", "[\"label=keep\"]", &file),
        ("min-age", "\"24h\"", "default"),
        ("interval", "\"1m\"", "default"),
        ("containers", "false", "default"),
    ] {
        let want = (value.to_owned(), origin.to_owned());
        assert_eq!(from(&format!("watermark.{key}")), want, "{key}");
    }
    assert_eq!(from("wait"), ("4".to_owned(), "command line".to_owned()));
    assert_eq!(
        from("storage-driver"),
        (
            "\"vfs\"".to_owned(),
            "environment (LAPSTRAKE_STORAGE_DRIVER)".to_owned()
        )
    );
    assert_eq!(from("certs-dir"), ("null".to_owned(), "default".to_owned()));
}

#[test]
fn completions_and_manual_pages_know_the_verbs() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = scene.run(&["completions", shell]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("commit") && text.contains("storage-driver"),
            "{shell}"
        );
    }
    let pages = scene.dir.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    let output = scene.run(&["man", pages.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for (page, words) in [
        ("lapstrake.1", "Exit codes"),
        ("lapstrake-pull.1", "platform"),
        ("lapstrake-check.1", "scrub"),
    ] {
        let text = std::fs::read_to_string(pages.join(page)).unwrap();
        assert!(text.contains(words), "{page}: {text}");
    }
    let missing = scene.run(&["man", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    assert!(
        said(&missing).contains("/nowhere/lapstrake.1"),
        "{missing:?}"
    );
}

/// What a pull of many layers draws on a terminal of 80 columns, by `script`.
#[test]
fn nothing_that_is_drawn_is_wider_than_the_terminal() {
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("SKIPPED nothing_that_is_drawn_is_wider_than_the_terminal: needs script");
        return;
    }
    let scene = Scene::new();
    let image = scene.image(30);
    scene
        .registry
        .slow_down(std::time::Duration::from_millis(20), 2_000_000);
    let (root, run) = (scene.dir.path().join("root"), scene.dir.path().join("run"));
    let line = format!(
        "stty rows 24 columns 80; exec {} --root {} --run-dir {} pull --parallel 30 {image}",
        env!("CARGO_BIN_EXE_lapstrake"),
        root.display(),
        run.display(),
    );
    let output = Command::new("script")
        .args(["-q", "-e", "-c", &line, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("/30 "), "{text:?}");
    // Rows that begin otherwise are what was too long for the row above.
    let begins_well = |row: &str| {
        let id = row.get(..13).unwrap_or_default();
        let is_bar = id.ends_with(' ') && id.trim_end().chars().all(|c| c.is_ascii_hexdigit());
        let is_total = row
            .split('/')
            .next()
            .is_some_and(|done| done.parse::<u8>().is_ok());
        is_bar || is_total || row.contains("fetched, ") || row.starts_with("sha256:")
    };
    let mut terminal = vt100::Parser::new(24, 80, 0);
    for piece in text.split_inclusive(['\n', '\r']) {
        terminal.process(piece.as_bytes());
        let rows: Vec<_> = terminal.screen().rows(0, 80).collect();
        for row in rows.iter().filter(|row| row.len() > 13) {
            assert!(begins_well(row), "{row:?} in {rows:#?}");
        }
    }
    let left = terminal.screen().contents();
    assert!(
        left.starts_with("127.0.0.1") && !left.contains("/30"),
        "{left}"
    );
}
