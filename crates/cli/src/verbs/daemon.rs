//! `lapstrake daemon`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapstrake_api::{Address, Daemon as Api, Listener, TlsFiles};
use lapstrake_engine::containers::{self, ContainerOptions, Containers, Reconciled};
use lapstrake_engine::settings::LogSettings;
use lapstrake_engine::{Engine, Volumes, rfc3339, watermark};
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::network::{self, Network};
use crate::render;
use crate::settings::DaemonSettings;

/// Where Docker's client looks first.
const HOST: &str = "unix:///var/run/docker.sock";
/// What runs containers, if nothing is said.
const RUNTIME: &str = "runc";
/// Where containers' output goes, if nothing is said.
const LOG_DRIVER: &str = "json-file";
/// The runtimes that containers may ask for by name.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];
/// How long a stop waits before it kills, if nothing is said.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Threads that wait for sockets; what blocks has others.
const THREADS: usize = 4;

/// Answer the docker command and whatever else speaks the Docker Engine API, until stopped.
///
/// Containers go on when it stops. Settings in the table daemon of the configuration hold where nothing is typed.
#[derive(Debug, clap::Args)]
pub(crate) struct Daemon {
    /// Where to listen: unix:///PATH or tcp://HOST:PORT; may be given again (default:
    /// unix:///var/run/docker.sock).
    #[arg(short = 'H', long, value_name = "ADDRESS")]
    host: Vec<Address>,
    /// The group that may use the socket (default: docker, if there is one).
    #[arg(short = 'G', long)]
    group: Option<String>,
    /// Let in over TCP who has a certificate of --tlscacert, and nobody else. TCP needs it.
    #[arg(long)]
    tlsverify: bool,
    /// Who may vouch for clients.
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// The daemon's certificate.
    #[arg(long, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE")]
    tlskey: Option<PathBuf>,
    /// Let anybody on this machine in over TCP, without TLS. Whoever gets in is root here.
    #[arg(long, conflicts_with = "tlsverify")]
    insecure_no_tls: bool,
    /// What runs containers: runc, crun, youki or a path (default: runc).
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<String>,
    /// Where containers' output goes, if nothing is said: json-file, local or none (default: json-file).
    #[arg(long, value_name = "DRIVER")]
    log_driver: Option<String>,
    #[command(flatten)]
    network: Network,
}

impl Daemon {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let file = &context.settings.daemon;
        let hosts = self.hosts(file)?;
        let tls = self.tls(file)?;
        check_hosts(&hosts, tls.as_ref(), self.insecure_no_tls)?;
        let settings = lapstrake_api::Settings {
            registries: network::daemon_options(&self.network, &context.settings)
                .map_err(lapstrake_engine::Error::from)?,
            parallel: context.parallel(None),
            runtime: first(&self.runtime, &file.runtime, RUNTIME),
            log_driver: first(&self.log_driver, &file.log_driver, LOG_DRIVER),
            hostname: context.around.hostname.clone(),
            log: Arc::new(log),
        };
        let options = self.container_options(&settings)?;
        let engine = Arc::new(context.own()?);
        log(&format!("owns the store {}", engine.root().display()));
        if let Err(error) = engine.set_room_aside() {
            log(&format!("on a full disk nothing may be removable: {error}"));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()?;
        let group = self.group.as_deref().or(file.group.as_deref());
        let served = runtime.block_on(async {
            let listeners = hosts
                .iter()
                .map(|host| Listener::at(host, group, tls.as_ref()))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            for listener in &listeners {
                log(&format!("answers at {}", listener.address()));
            }
            let stop = stop()?;
            let volumes = Arc::new(Volumes::open(&engine).map_err(containers::Error::from)?);
            let opened = Containers::open(Arc::clone(&engine), volumes, options).await;
            let (containers, found) = opened?;
            log(&summary(&found));
            let keeping = keep_mark(context, &engine, &containers);
            let api = Api::new(Arc::clone(&engine), containers, settings);
            lapstrake_api::serve(api, listeners, stop).await;
            if let Some(keeping) = keeping {
                keeping.stop().await;
            }
            engine.stopped().await;
            Ok::<_, Failure>(())
        });
        // Whoever still hangs in the kernel is not waited for.
        runtime.shutdown_background();
        served?;
        log("stopped; containers go on");
        Ok(ExitCode::SUCCESS)
    }

    /// How containers are run.
    fn container_options(&self, settings: &lapstrake_api::Settings) -> Result<ContainerOptions> {
        let runtime = &settings.runtime;
        // One that is given by its path is called by its last name.
        let name = std::path::Path::new(runtime).file_name();
        let name = name.map_or_else(
            || runtime.clone(),
            |name| name.to_string_lossy().into_owned(),
        );
        let mut runtimes: BTreeMap<String, String> = BTreeMap::new();
        for known in RUNTIMES {
            runtimes.insert(known.to_owned(), known.to_owned());
        }
        runtimes.insert(name.clone(), runtime.clone());
        Ok(ContainerOptions {
            monitor: (std::env::current_exe()?, vec!["monitor".to_owned()]),
            runtimes,
            default_runtime: name,
            log: LogSettings {
                driver: settings.log_driver.clone(),
                ..LogSettings::default()
            },
            stop_timeout: STOP_TIMEOUT,
            tell: log,
        })
    }

    fn hosts(&self, file: &DaemonSettings) -> Result<Vec<Address>> {
        if !self.host.is_empty() {
            return Ok(self.host.clone());
        }
        if !file.hosts.is_empty() {
            return Ok(file.hosts.clone());
        }
        HOST.parse().map(|host| vec![host]).map_err(Failure::Host)
    }

    /// All three files, or none.
    fn tls(&self, file: &DaemonSettings) -> Result<Option<TlsFiles>> {
        if !self.tlsverify && !file.tlsverify {
            return Ok(None);
        }
        let path = |typed: &Option<PathBuf>, file: &Option<PathBuf>| typed.clone().or(file.clone());
        let authorities = path(&self.tlscacert, &file.tlscacert);
        let certificate = path(&self.tlscert, &file.tlscert);
        let key = path(&self.tlskey, &file.tlskey);
        match (authorities, certificate, key) {
            (Some(authorities), Some(certificate), Some(key)) => Ok(Some(TlsFiles {
                authorities,
                certificate,
                key,
            })),
            _ => Err(Failure::TlsFiles),
        }
    }
}

/// Watches over what is to be kept free, if that is asked for.
fn keep_mark(
    context: &Context,
    engine: &Arc<Engine>,
    containers: &Containers,
) -> Option<watermark::Keeping> {
    let asked = &context.settings.watermark;
    let settings = watermark::KeeperSettings {
        policy: asked.policy()?,
        interval: asked.interval.value,
        tell: log,
    };
    let keeper = watermark::Keeper::new(Arc::clone(engine), containers.clone(), settings);
    Some(keeper.begin())
}

/// What was found at the start, in a line.
fn summary(found: &Reconciled) -> String {
    format!(
        "found {} containers: {} run, {} had ended meanwhile, {} are started again; finished {} removals, swept {} leftovers",
        found.containers, found.running, found.ended, found.started, found.removed, found.swept
    )
}

fn check_hosts(hosts: &[Address], tls: Option<&TlsFiles>, no_tls: bool) -> Result<()> {
    for host in hosts {
        let is_tcp = matches!(host, Address::Tcp(_));
        if is_tcp && tls.is_none() && !(no_tls && host.is_local()) {
            return Err(Failure::NoTls(host.clone()));
        }
    }
    Ok(())
}

fn first(typed: &Option<String>, file: &Option<String>, default: &str) -> String {
    let said = typed.as_ref().or(file.as_ref());
    said.map_or_else(|| default.to_owned(), Clone::clone)
}

/// A decision, on a line of its own.
fn log(line: &str) {
    render::say(&format!("{} {line}", rfc3339(SystemTime::now())));
}

/// Done when a signal says that it is time to stop.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => return log("was told to stop (SIGTERM)"),
                _ = interrupt.recv() => return log("was told to stop (SIGINT)"),
                _ = hangup.recv() => log("settings are not read again: stop and start (SIGHUP)"),
            }
        }
    })
}
