//! Transcripts: docker commands and what dockerd 28.2.2 answers, held against what we answer.
//!
//! ```text
//! # Why the answer to the next command is not dockerd's.
//! $ docker rm none
//! | a line on standard output
//! ! a line on standard error
//! -! dockerd's line
//! +! ours instead
//! [1]
//! > GET /containers/none/json
//! 404
//! . object
//! message string
//! ```
//!
//! The last line of a command is the exit code, if it is not 0; see [`crate::shape`] for the answers to requests. What differs from run to run and from machine to machine is
//! masked: ids, times, sizes, and how wide the columns of tables are. A difference must be written down with its
//! reason, and one that is gone must be gone from the transcript as well.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use regex::Regex;

use crate::daemon::Daemon;
use crate::registry::DockerRegistry;
use crate::shape;

/// A command or a request, with what is written below it.
struct Step<'a> {
    number: usize,
    what: What<'a>,
    why: bool,
    dockerd: Vec<&'a str>,
    ours: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy)]
enum What<'a> {
    Command(&'a str),
    Request(&'a str),
}

impl Step<'_> {
    fn differs(&self) -> bool {
        self.dockerd != self.ours
    }
}

fn steps(text: &str) -> Vec<Step<'_>> {
    let mut steps: Vec<Step<'_>> = Vec::new();
    let mut why = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            why = !line.is_empty();
            continue;
        }
        let command = line.strip_prefix("$ ").map(What::Command);
        if let Some(what) = command.or(line.strip_prefix("> ").map(What::Request)) {
            steps.push(Step {
                number,
                what,
                why: std::mem::take(&mut why),
                dockerd: Vec::new(),
                ours: Vec::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("answers follow a command");
        match (line.strip_prefix('-'), line.strip_prefix('+')) {
            (Some(line), _) => step.dockerd.push(line),
            (_, Some(line)) => step.ours.push(line),
            _ => {
                step.dockerd.push(line);
                step.ours.push(line);
            }
        }
    }
    steps
}

/// What is masked, and by what.
struct Masks(Vec<(Regex, &'static str)>);

impl Masks {
    fn new() -> Self {
        let age = "(Less than a second|About a minute|[0-9]+ (second|minute)s?)";
        let masks = [
            (r"sha256:[0-9a-f]{64}\b", "sha256:ID"),
            (r"\b[0-9a-f]{64}\b", "ID"),
            (r"sha256:[0-9a-f]{12}\b", "sha256:SHORT"),
            (r"\b[0-9a-f]{12}\b", "SHORT"),
            (
                r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?(Z|[+-]\d\d:?\d\d))?( UTC)?",
                "DATE",
            ),
            (&format!("{age} ago"), "AGO"),
            (&format!("Up {age}"), "Up AWHILE"),
            (
                r"\b([1-9]\d*(\.\d+)?|0\.\d+)(B|[kMG]B|[KMG]iB)([^\w]|$)",
                "SIZE$4",
            ),
            (r"\d+\.\d\d%", "SHARE"),
            (r"  +", "  "),
        ];
        let masks = masks.map(|(pattern, mask)| (Regex::new(pattern).unwrap(), mask));
        Self(masks.into())
    }

    fn line(&self, line: &str) -> String {
        let line = self.0.iter().fold(line.to_owned(), |line, (what, mask)| {
            what.replace_all(&line, *mask).into_owned()
        });
        line.trim_end().to_owned()
    }
}

/// A directory and a registry for the commands of a transcript.
struct Scene {
    daemon: Daemon,
    registry: Option<DockerRegistry>,
    dir: PathBuf,
    masks: Masks,
}

impl Scene {
    /// What came of a command, as it would be written down.
    fn answer(&self, command: &str) -> Vec<String> {
        let registry = self.registry.as_ref().map(DockerRegistry::host);
        let registry = registry.unwrap_or_default();
        let mut shell = Command::new("timeout");
        shell.args(["-k", "5", "60", "sh", "-c", command]);
        shell
            .envs(self.daemon.environment())
            .env("REGISTRY", &registry);
        let output = shell
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let mut lines = Vec::new();
        for (mark, bytes) in [("|", output.stdout), ("!", output.stderr)] {
            let text = String::from_utf8_lossy(&bytes).replace(&*self.dir.to_string_lossy(), "DIR");
            let text = text.replace(&*self.daemon.path("root").to_string_lossy(), "ROOT");
            let text = match registry.as_str() {
                "" => text,
                registry => text.replace(registry, "REGISTRY"),
            };
            let said = text.lines().map(|line| self.masks.line(line));
            lines.extend(said.map(|line| format!("{mark} {line}").trim_end().to_owned()));
        }
        match output.status.code() {
            Some(0) => {}
            code => lines.push(format!("[{}]", code.unwrap_or(-1))),
        }
        lines
    }
}

/// Holds a transcript of `transcripts` against a daemon of its own, which may need a registry.
pub(crate) fn check(name: &str, with_registry: bool) {
    let Some(daemon) = Daemon::start(name) else {
        return;
    };
    if !daemon.busybox(name) {
        return;
    }
    let registry = with_registry.then(|| DockerRegistry::start(&daemon.path("registry")));
    let dir = daemon.path("work");
    fs::create_dir_all(&dir).unwrap();
    let scene = Scene {
        daemon,
        registry,
        dir,
        masks: Masks::new(),
    };
    let path = format!(
        "{}/tests/scenario/transcripts/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = fs::read_to_string(&path).unwrap();
    let (mut wrong, mut last_id) = (String::new(), String::new());
    for step in steps(&text) {
        if step.differs() && !step.why {
            wrong += &format!("{name}.txt:{}: the difference has no reason\n", step.number);
        }
        let answer = match step.what {
            What::Command(command) => scene.answer(command),
            What::Request(request) => shape::answer(&scene.daemon, request, &mut last_id),
        };
        if answer != step.ours {
            let (want, got) = (step.ours.join("\n"), answer.join("\n"));
            let (number, what) = (step.number, step.what);
            wrong += &format!("{name}.txt:{number}: {what:?}\nwanted\n{want}\ngot\n{got}\n\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
