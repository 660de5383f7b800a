//! One more process in a container that runs: `process.json`.

use serde_json::{Map, Value, json};

use super::process::{self, put};
use super::{Error, Facts, Identity, Result, capability};
use crate::settings::Settings;

/// What is to run, in which container.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The container's settings.
    pub settings: &'a Settings,
    /// The container's host name.
    pub hostname: &'a str,
    /// The program and its arguments.
    pub arguments: &'a [String],
    /// `NAME=value`, over the container's own.
    pub env: &'a [String],
    /// Where it runs; nothing for where the container does.
    pub directory: Option<&'a str>,
    /// Who it runs as.
    pub user: &'a Identity,
    /// Whether it may do all that the daemon may.
    pub privileged: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Rows and columns of that.
    pub console_size: Option<(u16, u16)>,
}

/// The process, as the runtime's `exec --process` reads it.
///
/// # Errors
/// If there is nothing to run, or the directory is not absolute.
pub fn process(request: &Request<'_>, facts: &Facts) -> Result<Value> {
    if request.arguments.iter().all(String::is_empty) {
        return Err(Error::NoCommand);
    }
    let settings = request.settings;
    let cwd = match request.directory.filter(|dir| !dir.is_empty()) {
        None => process::directory(settings)?,
        Some(dir) if dir.starts_with('/') => dir,
        Some(dir) => return Err(Error::RelativeDirectory(dir.to_owned())),
    };
    let own = settings.execution.env.iter().map(String::as_str);
    let mut env = process::environment(request.hostname, request.tty, own);
    process::override_with(&mut env, request.env.iter().map(String::as_str));
    let held = match request.privileged {
        true => facts.capabilities.clone(),
        false => capability::of(&settings.host.security, facts)?,
    };
    let mut made = Map::new();
    put(&mut made, "args", json!(request.arguments));
    put(&mut made, "env", json!(env));
    put(&mut made, "cwd", json!(cwd));
    put(&mut made, "user", process::user(request.user));
    put(
        &mut made,
        "capabilities",
        process::capabilities(&held, request.user),
    );
    process::restrict(&mut made, settings, facts)?;
    if request.tty {
        process::terminal(&mut made, request.console_size);
    }
    Ok(Value::Object(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Request<'_>)) -> Result<Value> {
        let mut settings = Settings::default();
        settings.execution.env = vec!["A=1".to_owned(), "B=2".to_owned()];
        settings.execution.working_dir = Some("/work".to_owned());
        let (arguments, env) = (["true".to_owned()], ["B=3".to_owned(), "C=4".to_owned()]);
        let mut request = Request {
            settings: &settings,
            hostname: "h",
            arguments: &arguments,
            env: &env,
            directory: None,
            user: &Identity::default(),
            privileged: false,
            tty: false,
            console_size: None,
        };
        change(&mut request);
        process(&request, &Facts::example())
    }

    #[test]
    fn it_has_what_its_container_has() {
        let made = check(|_| {}).unwrap();
        assert_eq!(made["cwd"], "/work");
        assert_eq!(
            made["env"].as_array().unwrap()[1..],
            ["HOSTNAME=h", "A=1", "B=3", "C=4"]
        );
        assert_eq!(
            made["capabilities"]["effective"],
            json!(capability::DEFAULT)
        );
        assert_eq!(made.get("terminal"), None);
    }

    #[test]
    fn it_may_be_somebody_else_elsewhere() {
        let user = Identity {
            uid: 7,
            gid: 8,
            groups: vec![8],
        };
        let made = check(|request| {
            request.directory = Some("/");
            request.privileged = true;
            request.tty = true;
            request.console_size = Some((24, 80));
            request.user = Box::leak(Box::new(user));
        })
        .unwrap();
        assert_eq!(made["cwd"], "/");
        assert_eq!(
            made["user"],
            json!({ "uid": 7, "gid": 8, "additionalGids": [8] })
        );
        assert_eq!(made["capabilities"]["effective"], json!([]));
        assert_eq!(
            made["capabilities"]["bounding"],
            json!(capability::ALL.to_vec())
        );
        assert_eq!(made["consoleSize"], json!({ "height": 24, "width": 80 }));
    }

    #[test]
    fn nothing_and_relative_directories_are_refused() {
        assert!(matches!(
            check(|request| request.arguments = &[]),
            Err(Error::NoCommand)
        ));
        let error = check(|request| request.directory = Some("x")).unwrap_err();
        assert!(matches!(error, Error::RelativeDirectory(_)));
    }
}
