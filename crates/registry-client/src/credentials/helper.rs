//! Credential helpers: programs that keep secrets elsewhere than in a file.
//!
//! `docker-credential-NAME get|store|erase|list`: a server or a credential on its input, JSON on its output.
//! What a helper prints may hold a secret, also when it fails, so none of it is ever part of an error.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde::{Deserialize, Serialize};

use super::Credential;

/// Some helpers fetch a token from a cloud first.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// A helper that has ended is noticed within this.
const STEP: Duration = Duration::from_millis(2);
/// More is no answer.
const MAX_ANSWER: u64 = 1 << 20;
/// The user name that stands for: the secret is an identity token.
const TOKEN_USER: &str = "<token>";
/// What helpers print, and end with 1, when they know nothing about a server.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// A credential helper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    program: String,
    time_limit: Duration,
}

/// Why a helper did not help.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Not a name that a program may have here.
    #[error("{0:?} is no name of a credential helper")]
    Name(String),
    /// It cannot be started.
    #[error(
        "cannot start {program}: {source}: install it, or take it out of the file that names it"
    )]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// It takes too long.
    #[error("{program} {action} did not end within {} s", limit.as_secs())]
    TimeLimit {
        /// The program.
        program: String,
        /// What it was asked to do.
        action: &'static str,
        /// How long it had.
        limit: Duration,
    },
    /// It says that it failed.
    #[error("{program} {action} failed ({status}): run it by hand to see why")]
    Failed {
        /// The program.
        program: String,
        /// What it was asked to do.
        action: &'static str,
        /// How it ended.
        status: ExitStatus,
    },
    /// Its answer is not as the protocol says.
    #[error("{program} {action} gave an answer that is not in the form of its protocol")]
    Answer {
        /// The program.
        program: String,
        /// What it was asked to do.
        action: &'static str,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper `docker-credential-NAME`, found as programs are.
    ///
    /// # Errors
    /// If the name could lead elsewhere.
    pub fn new(name: &str) -> Result<Self, HelperError> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_plain) {
            return Err(HelperError::Name(name.to_owned()));
        }
        Ok(Self {
            program: format!("docker-credential-{name}"),
            time_limit: TIME_LIMIT,
        })
    }

    #[cfg(test)]
    pub(super) fn program(&self) -> String {
        self.program.clone()
    }

    /// The credential for a server, if it keeps one.
    ///
    /// # Errors
    /// If it fails.
    pub fn get(&self, server: &str) -> Result<Option<Credential>, HelperError> {
        let (status, answer) = self.run("get", server.as_bytes())?;
        if !status.success() {
            if answer.trim_ascii() == NOT_FOUND.as_bytes() {
                return Ok(None);
            }
            return Err(self.failed("get", status));
        }
        let wire: Wire = serde_json::from_slice(&answer).map_err(|_| self.unclear("get"))?;
        Ok(match (wire.username.as_str(), wire.secret) {
            (_, secret) if secret.is_empty() => None,
            (TOKEN_USER, secret) => Some(Credential::Identity(secret)),
            (_, password) => Some(Credential::Password {
                username: wire.username,
                password,
            }),
        })
    }

    /// Keeps a credential for a server.
    ///
    /// # Errors
    /// If it fails. A token for a registry can't be kept.
    pub fn store(&self, server: &str, credential: &Credential) -> Result<(), HelperError> {
        let (username, secret) = match credential {
            Credential::Password { username, password } => (username.as_str(), password),
            Credential::Identity(token) => (TOKEN_USER, token),
            Credential::Registry(_) => return Err(self.unclear("store")),
        };
        let wire = Wire {
            server: server.to_owned(),
            username: username.to_owned(),
            secret: secret.clone(),
        };
        let input = serde_json::to_vec(&wire).expect("three strings are JSON");
        self.done("store", &input)
    }

    /// Forgets what is kept for a server.
    ///
    /// # Errors
    /// If it fails.
    pub fn erase(&self, server: &str) -> Result<(), HelperError> {
        self.done("erase", server.as_bytes())
    }

    /// The servers that it knows, with user names.
    ///
    /// # Errors
    /// If it fails.
    pub fn list(&self) -> Result<BTreeMap<String, String>, HelperError> {
        let (status, answer) = self.run("list", b"")?;
        if !status.success() {
            return Err(self.failed("list", status));
        }
        serde_json::from_slice(&answer).map_err(|_| self.unclear("list"))
    }

    fn done(&self, action: &'static str, input: &[u8]) -> Result<(), HelperError> {
        let (status, _) = self.run(action, input)?;
        if status.success() {
            Ok(())
        } else {
            Err(self.failed(action, status))
        }
    }

    fn failed(&self, action: &'static str, status: ExitStatus) -> HelperError {
        HelperError::Failed {
            program: self.program.clone(),
            action,
            status,
        }
    }

    fn unclear(&self, action: &'static str) -> HelperError {
        HelperError::Answer {
            program: self.program.clone(),
            action,
        }
    }

    fn run(
        &self,
        action: &'static str,
        input: &[u8],
    ) -> Result<(ExitStatus, Vec<u8>), HelperError> {
        let cannot_start = |source| HelperError::Start {
            program: self.program.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // A group of its own, so that what the helper starts ends with it.
            .process_group(0)
            .spawn()
            .map_err(cannot_start)?;
        let mut stdin = child.stdin.take().expect("it was piped");
        let mut stdout = child.stdout.take().expect("it was piped").take(MAX_ANSWER);
        let (tell, told) = mpsc::channel();
        let input = input.to_vec();
        std::thread::spawn(move || {
            // A helper that does not read all of it says more by how it ends.
            drop(stdin.write_all(&input));
            drop(stdin);
            let mut answer = Vec::new();
            if stdout.read_to_end(&mut answer).is_ok() {
                drop(tell.send(answer));
            }
        });
        let deadline = Instant::now() + self.time_limit;
        let status = wait(&mut child, deadline);
        let left = deadline.saturating_duration_since(Instant::now());
        match (status, told.recv_timeout(left)) {
            (Some(status), Ok(answer)) => Ok((status, answer)),
            (Some(_), Err(mpsc::RecvTimeoutError::Disconnected)) => Err(self.unclear(action)),
            (None, _) | (_, Err(mpsc::RecvTimeoutError::Timeout)) => {
                stop(&mut child);
                Err(HelperError::TimeLimit {
                    program: self.program.clone(),
                    action,
                    limit: self.time_limit,
                })
            }
        }
    }
}

/// How it ended; `None` if it did not in time.
fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(STEP);
    }
}

fn stop(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // It may have ended just now, which is as good.
        let _ended = kill_process_group(group, Signal::KILL);
    }
    drop(child.wait());
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;

    use super::*;

    /// A helper that is this shell script.
    fn script(directory: &Path, text: &str) -> Helper {
        let path = directory.join("docker-credential-test");
        {
            let mut file = File::create(&path).unwrap();
            file.write_all(format!("#!/bin/sh\n{text}\n").as_bytes())
                .unwrap();
            file.set_permissions(std::fs::Permissions::from_mode(0o755))
                .unwrap();
        }
        Helper {
            program: path.display().to_string(),
            time_limit: Duration::from_secs(5),
        }
    }

    fn get(text: &str) -> Result<Option<Credential>, HelperError> {
        let directory = tempfile::tempdir().unwrap();
        script(directory.path(), text).get("r:5000")
    }

    #[test]
    fn what_helpers_answer() {
        let password = get(
            r#"read s; echo "{\"ServerURL\":\"$s\",\"Username\":\"me\",\"Secret\":\"$1 $s\"}""#,
        );
        let expected = Credential::Password {
            username: "me".to_owned(),
            password: "get r:5000".to_owned(),
        };
        assert_eq!(password.unwrap(), Some(expected));
        let token = get(r#"echo '{"Username":"<token>","Secret":"t"}'"#);
        assert_eq!(token.unwrap(), Some(Credential::Identity("t".to_owned())));
        let none = get("echo credentials not found in native keychain; exit 1");
        assert_eq!(none.unwrap(), None);
    }

    #[test]
    fn what_a_helper_prints_is_in_no_error() {
        for text in [
            "echo hush; exit 1",
            "echo hush >&2; exit 3",
            "echo hush",
            r#"echo '{"Secret":"hush"'"#,
            "kill -9 $$",
        ] {
            let error = get(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_helper_that_hangs_is_ended_with_all_it_started() {
        for text in ["sleep 60", "sleep 60 & exit 0"] {
            let directory = tempfile::tempdir().unwrap();
            let mut helper = script(directory.path(), text);
            helper.time_limit = Duration::from_millis(200);
            let start = Instant::now();
            let error = helper.get("r").unwrap_err();
            assert!(matches!(error, HelperError::TimeLimit { .. }), "{error}");
            assert!(start.elapsed() < Duration::from_secs(3));
        }
    }

    #[test]
    fn storing_listing_and_erasing() {
        let directory = tempfile::tempdir().unwrap();
        let kept = directory.path().join("kept").display().to_string();
        let helper = script(
            directory.path(),
            &format!(
                "case $1 in store) cat > {kept};; get) cat {kept};; erase) rm {kept};; \
                 list) echo '{{\"r\":\"me\"}}';; esac"
            ),
        );
        let credential = Credential::Password {
            username: "me".to_owned(),
            password: "hush".to_owned(),
        };
        helper.store("r", &credential).unwrap();
        assert_eq!(helper.get("r").unwrap(), Some(credential));
        let listed = helper.list().unwrap();
        assert_eq!(listed, [("r".to_owned(), "me".to_owned())].into());
        helper.erase("r").unwrap();
        assert!(helper.get("r").is_err());
    }

    #[test]
    fn a_helper_that_is_not_installed_is_named() {
        let helper = Helper::new("of-nobody").unwrap();
        let error = helper.get("r").unwrap_err().to_string();
        assert!(error.contains("docker-credential-of-nobody"), "{error}");
        for name in ["", "a/b", "a b", "$(x)"] {
            assert!(Helper::new(name).is_err(), "{name}");
        }
    }
}
