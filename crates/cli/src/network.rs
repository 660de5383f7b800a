//! How registries are reached: what was typed, the environment and the files of other tools, made
//! options of a client.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use lapstrake_engine::{
    AuthFile, Certificates, Client, ClientError, ClientOptions, Credentials, Mirror, PlainHttp,
    Proxies,
};

use crate::settings::{Environment, Settings};

const USER_AGENT: &str = concat!("lapstrake/", env!("CARGO_PKG_VERSION"));
/// Where certificates for single registries are, behind those of the user.
const CERTIFICATES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// What can be typed of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Network {
    /// Speak plain HTTP with this registry (HOST or HOST:PORT); with this machine it is spoken anyway.
    #[arg(long, value_name = "REGISTRY")]
    plain_http: Vec<String>,
    /// Credentials as `docker login` or `podman login` keeps them (default: the files of both).
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// A directory with certificates, as /etc/docker/certs.d is; it comes before that.
    #[arg(long, value_name = "DIR")]
    certs_dir: Option<PathBuf>,
    /// Pull from here first; may be given again, and is tried in order.
    #[arg(long, value_name = "REGISTRY=HOST[:PORT][/PATH]")]
    mirror: Vec<MirrorOf>,
}

/// A mirror and the registry that it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorOf {
    pub(crate) registry: String,
    pub(crate) mirror: Mirror,
}

impl FromStr for MirrorOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (registry, place) = text
            .split_once('=')
            .ok_or("it has no =: say for which registry the mirror is")?;
        let (host, prefix) = place.split_once('/').unwrap_or((place, ""));
        if registry.is_empty() || host.is_empty() {
            return Err("both a registry and a host are needed".to_owned());
        }
        Ok(Self {
            registry: registry.to_owned(),
            mirror: Mirror {
                host: host.to_owned(),
                prefix: prefix.to_owned(),
            },
        })
    }
}

/// A client as this process is to have it.
pub(crate) fn client(network: &Network, settings: &Settings) -> Result<Client, ClientError> {
    let environment = |name: &str| std::env::var_os(name);
    Client::new(options(network, settings, &environment)?)
}

/// How the daemon reaches registries. Clients bring their credentials with each request; only a file that was
/// named says who is meant where they bring none.
pub(crate) fn daemon_options(
    network: &Network,
    settings: &Settings,
) -> Result<ClientOptions, ClientError> {
    let environment = |name: &str| std::env::var_os(name);
    let mut all = options(network, settings, &environment)?;
    if network.authfile.is_none() && settings.authfile.value.is_none() {
        all.credentials = Credentials::none();
    }
    Ok(all)
}

/// What was typed comes first.
fn options(
    network: &Network,
    settings: &Settings,
    environment: Environment<'_>,
) -> Result<ClientOptions, ClientError> {
    let mut options = ClientOptions::of(USER_AGENT);
    let plain_http = network.plain_http.iter().chain(&settings.plain_http.value);
    options.plain_http = PlainHttp::LoopbackAnd(plain_http.cloned().collect());
    let authfile = network.authfile.as_ref();
    let authfile = authfile.or(settings.authfile.value.as_ref());
    options.credentials = credentials(authfile.map(PathBuf::as_path), environment)?;
    let user = path(environment, "HOME").map(|home| home.join(".config/containers/certs.d"));
    let certs_dir = network.certs_dir.clone();
    let certs_dir = certs_dir.or_else(|| settings.certs_dir.value.clone());
    let certificates = certs_dir.into_iter().chain(user);
    options.certificates = Certificates::below(
        certificates
            .chain(CERTIFICATES.map(PathBuf::from))
            .collect(),
    );
    options.proxies = proxies(environment);
    let mirrors = network.mirror.iter().chain(&settings.mirrors.value);
    for MirrorOf { registry, mirror } in mirrors.cloned() {
        options.mirrors.entry(registry).or_default().push(mirror);
    }
    Ok(options)
}

fn path(environment: Environment<'_>, name: &str) -> Option<PathBuf> {
    environment(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// A file that was named must be there, and is the only one that is asked.
fn credentials(
    named: Option<&Path>,
    environment: Environment<'_>,
) -> Result<Credentials, ClientError> {
    if let Some(file) = named {
        return match AuthFile::read(file)? {
            Some(read) => Ok(Credentials::none().with_file(read)),
            None => Err(ClientError::Config {
                path: file.to_owned(),
                reason: "there is no such file".to_owned(),
            }),
        };
    }
    let mut credentials = Credentials::none();
    for file in auth_files(environment) {
        if let Some(read) = AuthFile::read(&file)? {
            credentials = credentials.with_file(read);
        }
    }
    Ok(credentials)
}

/// Docker's, then those of the containers tools.
fn auth_files(environment: Environment<'_>) -> Vec<PathBuf> {
    let home = path(environment, "HOME");
    let below_home = |place: &str| home.as_ref().map(|home| home.join(place));
    let docker = path(environment, "DOCKER_CONFIG").or_else(|| below_home(".docker"));
    [
        docker.map(|dir| dir.join("config.json")),
        path(environment, "XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        below_home(".config/containers/auth.json"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn proxies(environment: Environment<'_>) -> Proxies {
    let either = |small: &str| {
        [small.to_owned(), small.to_ascii_uppercase()]
            .iter()
            .filter_map(|name| environment(name))
            .filter_map(|value| value.into_string().ok())
            .find(|value| !value.is_empty())
    };
    Proxies {
        http: either("http_proxy"),
        https: either("https_proxy"),
        except: either("no_proxy"),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::Write as _;

    use clap::Parser;

    use super::*;
    use crate::arguments::Arguments;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        network: Network,
    }

    fn made(typed: &[&str], environment: &[(&str, &str)]) -> Result<ClientOptions, String> {
        let typed = Typed::try_parse_from(["test"].iter().chain(typed));
        let network = typed.map_err(|error| error.to_string())?.network;
        let environment = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let arguments = Arguments::try_parse_from(["lapstrake", "images"]).unwrap();
        // A file is as good as an empty one.
        let settings = Settings::over_nothing(&arguments, &environment).unwrap();
        options(&network, &settings, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_said_is_nobody_and_nowhere_else() {
        let options = made(&[], &[]).unwrap();
        assert_eq!(options.proxies, Proxies::default());
        assert!(options.mirrors.is_empty());
    }

    #[test]
    fn mirrors_in_the_order_of_typing() {
        let typed = [
            "--mirror",
            "docker.io=a:5000/hub",
            "--mirror",
            "docker.io=b",
        ];
        let options = made(&typed, &[]).unwrap();
        let mirrors: Vec<_> = options.mirrors["docker.io"]
            .iter()
            .map(|mirror| (mirror.host.as_str(), mirror.prefix.as_str()))
            .collect();
        assert_eq!(mirrors, [("a:5000", "hub"), ("b", "")]);
        for wrong in ["docker.io", "=a", "docker.io="] {
            assert!(made(&["--mirror", wrong], &[]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn proxies_in_small_or_capital_letters() {
        let environment = [
            ("HTTP_PROXY", "http://big"),
            ("http_proxy", "http://small"),
            ("HTTPS_PROXY", "http://big"),
            ("no_proxy", ""),
        ];
        let proxies = made(&[], &environment).unwrap().proxies;
        assert_eq!(proxies.http.as_deref(), Some("http://small"));
        assert_eq!(proxies.https.as_deref(), Some("http://big"));
        assert_eq!(proxies.except, None);
    }

    #[test]
    fn where_credentials_are() {
        let files = |environment: &[(&str, &str)]| -> Vec<String> {
            let environment = |name: &str| {
                let found = environment.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let files = auth_files(&environment);
            files
                .iter()
                .map(|file| file.display().to_string())
                .collect()
        };
        assert!(files(&[]).is_empty());
        assert_eq!(
            files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1")]),
            [
                "/h/.docker/config.json",
                "/run/user/1/containers/auth.json",
                "/h/.config/containers/auth.json"
            ]
        );
        assert_eq!(files(&[("DOCKER_CONFIG", "/d")]), ["/d/config.json"]);
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_be_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json").display().to_string();
        let by_flag = ["--authfile", path.as_str()];
        let by_environment = [("REGISTRY_AUTH_FILE", path.as_str())];
        let error = made(&by_flag, &[]).unwrap_err();
        assert!(
            error.contains(&path) && error.contains("no such file"),
            "{error}"
        );
        assert!(made(&[], &by_environment).is_err());
        let mut file = File::create(&path).unwrap();
        file.write_all(br#"{"auths":{"r":{"auth":"bWU6aHVzaA=="}}}"#)
            .unwrap();
        assert!(format!("{:?}", made(&by_flag, &[]).unwrap().credentials).contains("\"me\""));
        made(&[], &by_environment).unwrap();
        File::create(&path).unwrap().write_all(b"hush").unwrap();
        let error = made(&by_flag, &[]).unwrap_err();
        assert!(error.contains(&path) && !error.contains("hush"), "{error}");
    }
}
