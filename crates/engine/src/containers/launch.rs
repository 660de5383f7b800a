//! From a record to a running process, and from a process that ended back to nothing.
//!
//! What is set up for a run is found by the container's id alone, so it is taken down the same whether the run
//! ended, could not begin, or was begun by a daemon that was killed.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use lapstrake_container::settings::{HostSettings, Namespace, NetworkMode};
use lapstrake_container::spec::{self, Facts, Files, HostDevices, Identity, Join, ReadOnly, files};
use lapstrake_monitor::client::Client;
use lapstrake_monitor::orders::{Orders, Size, Stdin, Terminal, Work};

use super::Containers;
use super::attach::connect_waiting;
use super::container::Container;
use super::error::{Error, Result, io_error};
use super::exec::Exec;
use super::places::Places;
use super::record::Record;

/// A container that was started.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) pid: i32,
    /// On which its end is told.
    pub(crate) wait: std::os::unix::net::UnixStream,
}

impl Containers {
    /// Starts a container that does not run. After an error all is as before.
    pub(crate) fn launch(&self, container: &Container) -> Result<Launched> {
        let record = container.record();
        self.clear_last_run(&record.id)?;
        let launched = self.set_up(container, &record);
        if launched.is_err() {
            // The failure is what to tell.
            drop(self.wait_until_clean(&record.id));
            // Nor must what a monitor began that was killed run on.
            self.kill_unmonitored(container);
            if let Err(error) = self.tear_down(&record.id) {
                self.note(&format!("container {}: {error}", record.id));
            }
            self.let_go(&record.id);
        }
        launched
    }

    fn set_up(&self, container: &Container, record: &Record) -> Result<Launched> {
        let places = self.places(&record.id);
        make_dir(&places.run)?;
        make_dir(&places.files)?;
        forget_exit(&places.exit(false))?;
        self.inner.engine.mount_writable(&record.id, &places.root)?;
        let config = self.configure(record, &places)?;
        write_json(&places.run.join("config.json"), &config)?;
        let orders = self.orders(record, &places)?;
        let client = self.monitor(&places.run, &orders)?;
        let connected = connect_waiting(container, &client);
        // Before it starts: its monitor goes when it has ended, and that may be at once.
        let wait = connected.and_then(|()| Ok(client.wait()?));
        let wait = wait
            .inspect_err(|_failed| drop(client.dismiss()))?
            .into_stream();
        let pid = client.start().map_err(start_error)?;
        Ok(Launched {
            pid: i32::try_from(pid).map_err(|_| Error::Internal(format!("pid {pid}")))?,
            wait,
        })
    }

    /// What the host can do.
    pub(crate) fn facts(&self) -> Result<&Facts> {
        if let Some(facts) = self.inner.facts.get() {
            return Ok(facts);
        }
        let facts = Facts::gather()?;
        Ok(self.inner.facts.get_or_init(|| facts))
    }

    /// The runtime's `config.json`.
    fn configure(&self, record: &Record, places: &Places) -> Result<serde_json::Value> {
        let settings = &record.settings;
        let facts = self.facts()?;
        let mounts = self.attach_mounts(record)?;
        // The runtime is started in the same mount namespace.
        let mountinfo = Path::new("/proc/self/mountinfo");
        let on_host = std::fs::read_to_string(mountinfo).map_err(io_error("read", mountinfo))?;
        spec::check_propagation(&mounts, &on_host)?;
        let with_runtime;
        let facts = match mounts.iter().any(|mount| mount.read_only != ReadOnly::No) {
            true => {
                let runtime = self.runtime(record.settings.host.runtime.as_deref())?;
                with_runtime = facts.with_runtime(runtime.features().as_deref());
                &with_runtime
            }
            false => facts,
        };
        let hostname = self.hostname(record);
        let kept = self.write_files(record, places, &hostname)?;
        let security = &settings.host.security;
        let user = settings.execution.user.as_deref().unwrap_or("");
        let user = spec::user::resolve(&places.root, user, &security.groups)?;
        let devices = HostDevices::find(&settings.host)?;
        let request = spec::Request {
            id: &record.id,
            settings,
            hostname: &hostname,
            root: &places.root,
            user: &user,
            mounts: &mounts,
            files: &kept,
            join: &self.join(record)?,
            devices: &devices,
        };
        Ok(spec::config(&request, facts)?)
    }

    /// Its host name: that of the container whose network it has, or its own.
    fn hostname(&self, record: &Record) -> String {
        let of = match &record.settings.host.network {
            NetworkMode::Container(other) => self.record(other).ok(),
            _ => None,
        };
        let execution = &of.as_ref().unwrap_or(record).settings.execution;
        execution.hostname.clone().unwrap_or_default()
    }

    /// Namespaces of other containers that it joins.
    fn join(&self, record: &Record) -> Result<Join> {
        let host = &record.settings.host;
        let namespace = |of: &Namespace, kind: &str| match of {
            Namespace::Container(other) => self.namespace_of(other, kind).map(Some),
            _ => Ok(None),
        };
        Ok(Join {
            network: match &host.network {
                NetworkMode::Container(other) => Some(self.namespace_of(other, "net")?),
                _ => None,
            },
            ipc: namespace(&host.ipc, "ipc")?,
            pid: namespace(&host.pid, "pid")?,
        })
    }

    fn namespace_of(&self, other: &str, kind: &str) -> Result<PathBuf> {
        let other = self.find(other)?;
        let pid = other.with(|record| {
            record
                .state
                .pid
                .filter(|_| record.state.phase.has_process())
        });
        let pid = pid.ok_or_else(|| {
            Error::Conflict(format!(
                "cannot join namespace of a non running container: container {} is {}",
                other.id,
                other.phase().name()
            ))
        })?;
        Ok(PathBuf::from(format!("/proc/{pid}/ns/{kind}")))
    }

    /// Writes what stands for files below `/etc`, and makes what others may share with it.
    fn write_files(&self, record: &Record, places: &Places, hostname: &str) -> Result<Files> {
        let host = &record.settings.host;
        let shm = match &host.ipc {
            Namespace::Shareable => Some(self.make_shm(record, places)?),
            Namespace::Container(other) => {
                let other = self.find(other)?;
                Some(self.places(&other.id).run.join("shm"))
            }
            Namespace::Private | Namespace::Host | Namespace::None => None,
        };
        if let NetworkMode::Container(other) = &host.network {
            let other = self.places(&self.find(other)?.id);
            return Ok(Files {
                hosts: Some(other.etc("hosts")),
                hostname: Some(other.etc("hostname")),
                resolv_conf: Some(other.etc("resolv.conf")),
                shm,
            });
        }
        let of_host = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        // Until there is a bridge, its own address is on its loopback.
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST)];
        let addresses: &[_] = match host.network {
            NetworkMode::Default | NetworkMode::Named(_) => &loopback,
            NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_) => &[],
        };
        let mut resolver = of_host("/etc/resolv.conf");
        if files::is_stub(&resolver) && host.network != NetworkMode::Host {
            resolver = of_host(files::STUB_SOURCE);
        }
        let settings = &record.settings;
        let hosts = files::hosts(settings, hostname, &of_host("/etc/hosts"), addresses, None);
        let written = [
            ("hostname", files::hostname(hostname)),
            ("hosts", hosts),
            ("resolv.conf", files::resolv_conf(settings, &resolver)),
        ];
        for (name, text) in written {
            // In place: what a container has mounted is the file, not its name.
            let path = places.etc(name);
            let write = std::fs::File::create(&path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644)).map_err(Into::into)
            });
            write.map_err(io_error("write", &path))?;
        }
        Ok(Files {
            hosts: Some(places.etc("hosts")),
            hostname: Some(places.etc("hostname")),
            resolv_conf: Some(places.etc("resolv.conf")),
            shm,
        })
    }

    /// What its monitor is told.
    fn orders(&self, record: &Record, places: &Places) -> Result<Orders> {
        let settings = &record.settings;
        let terminal = settings.tty.then(|| Terminal {
            size: settings.host.console_size.map(size),
        });
        let stdin = match (settings.open_stdin, settings.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, false) => Stdin::Open,
            (true, true) => Stdin::Once,
        };
        let cgroup = self
            .facts()?
            .cgroup_path(&settings.host.resources, &record.id)?;
        Ok(Orders {
            id: record.id.clone(),
            runtime: self.runtime_for_monitor(settings.host.runtime.as_deref())?,
            work: Work::Container {
                bundle: places.run.clone(),
            },
            terminal,
            stdin,
            log: self.log_settings(record, places)?,
            exit_record: places.exit(settings.host.auto_remove),
            cgroup: Some(cgroup.display().to_string()),
            guard: self.guard_words(&settings.host)?,
        })
    }

    /// Starts a command in a container: on which its end is told, and its streams.
    pub(crate) fn launch_exec(
        &self,
        container: &Container,
        exec: &Exec,
        streams: Option<lapstrake_monitor::wire::Attach>,
        console_size: Option<(u16, u16)>,
    ) -> Result<(
        std::os::unix::net::UnixStream,
        Option<std::os::unix::net::UnixStream>,
    )> {
        let record = container.record();
        let (settings, asked) = (&record.settings, &exec.settings);
        let places = self.places(&container.id);
        let dir = places.exec(&exec.id);
        make_dir(&dir)?;
        let started = || {
            let facts = self.facts()?;
            let user = self.exec_user(&record, &places, asked.user.as_deref())?;
            let hostname = self.hostname(&record);
            let request = spec::exec::Request {
                settings,
                hostname: &hostname,
                arguments: &asked.arguments,
                env: &asked.env,
                directory: asked.working_dir.as_deref(),
                user: &user,
                privileged: asked.privileged,
                tty: asked.tty,
                console_size: console_size.or(asked.console_size),
            };
            let process = dir.join("process.json");
            write_json(&process, &spec::exec::process(&request, facts)?)?;
            let orders = Orders {
                id: exec.id.clone(),
                runtime: self.runtime_for_monitor(settings.host.runtime.as_deref())?,
                work: Work::Exec {
                    container: container.id.clone(),
                    process,
                },
                terminal: asked.tty.then(|| Terminal {
                    size: console_size.or(asked.console_size).map(size),
                }),
                stdin: if asked.attach.stdin {
                    Stdin::Once
                } else {
                    Stdin::Closed
                },
                log: None,
                exit_record: dir.join("exit.json"),
                cgroup: None,
                guard: None,
            };
            let client = self.monitor(&dir, &orders)?;
            let stream = streams.map(|streams| client.attach(streams)).transpose();
            // Before it starts: its monitor goes when it has ended, and that may be at once.
            let both = stream.and_then(|stream| Ok((stream, client.wait()?)));
            let (stream, wait) = both.inspect_err(|_failed| drop(client.dismiss()))?;
            let wait = wait.into_stream();
            let pid = client.start().map_err(exec_error)?;
            super::container::held(&exec.outcome).pid = Some(pid);
            Ok((wait, stream))
        };
        started().inspect_err(|_failed| drop(remove_dir(&dir)))
    }

    fn exec_user(&self, record: &Record, places: &Places, asked: Option<&str>) -> Result<Identity> {
        let own = record.settings.execution.user.as_deref().unwrap_or("");
        let groups = &record.settings.host.security.groups;
        let asked = asked.filter(|user| !user.is_empty()).unwrap_or(own);
        Ok(spec::user::resolve(&places.root, asked, groups)?)
    }

    fn monitor(&self, dir: &Path, orders: &Orders) -> Result<Client> {
        let (program, arguments) = &self.inner.options.monitor;
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        Ok(lapstrake_monitor::client::launch(
            program, &arguments, dir, orders,
        )?)
    }

    fn runtime_for_monitor(
        &self,
        name: Option<&str>,
    ) -> Result<lapstrake_monitor::orders::Runtime> {
        let runtime = self.runtime(name)?;
        Ok(lapstrake_monitor::orders::Runtime {
            program: runtime.program,
            arguments: Vec::new(),
            root: runtime.state,
        })
    }

    /// What a monitor hands to the guard of its layer, if that is limited.
    fn guard_words(&self, host: &HostSettings) -> Result<Option<serde_json::Value>> {
        let engine = &self.inner.engine;
        let limited = !host.storage_options.is_empty() || !engine.default_limit()?.is_none();
        let words = || serde_json::json!({ "root": engine.root(), "run": engine.run_path });
        Ok(limited.then(words))
    }

    fn make_shm(&self, record: &Record, places: &Places) -> Result<PathBuf> {
        const DEFAULT_BYTES: u64 = 64 << 20;
        let dir = places.run.join("shm");
        make_dir(&dir)?;
        let bytes = record.settings.host.shm_size.unwrap_or(DEFAULT_BYTES);
        let mount = || {
            let context = lapstrake_sys::mount::Context::open("tmpfs")?;
            context.string("size", bytes.to_string())?;
            context.string("mode", "1777")?;
            let restrictions = lapstrake_sys::mount::Restrictions {
                read_only: false,
                inert: true,
            };
            context.create(restrictions)?.attach_at(&dir)
        };
        mount().map_err(|error: lapstrake_sys::mount::Error| {
            Error::Internal(format!("cannot make /dev/shm of {}: {error}", record.id))
        })?;
        Ok(dir)
    }

    /// Sees to it that nothing is left of a run before: something may still be going away, or could not be taken down.
    pub(crate) fn clear_last_run(&self, id: &str) -> Result<()> {
        self.wait_until_clean(id)?;
        match self.places(id).run.exists() {
            true => self.tear_down(id),
            false => Ok(()),
        }
    }

    /// Waits until the monitor of a run that ended has done all it had to.
    fn wait_until_clean(&self, id: &str) -> Result<()> {
        match Client::new(&self.places(id).run).wait() {
            Ok(wait) => Ok(wait.cleaned()?),
            Err(lapstrake_monitor::Error::Gone(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of the room of a container that does not run: a limited one may be mounted.
    pub(crate) fn let_go(&self, id: &str) {
        if let Err(error) = self.inner.engine.let_go_of_writable(id) {
            // It is only mounted for longer than it need be.
            self.note(&format!("container {id}: {error}"));
        }
    }

    /// Takes down what was set up for a run, whatever of it is there.
    pub(crate) fn tear_down(&self, id: &str) -> Result<()> {
        let places = self.places(id);
        self.forget_lost_execs(id)?;
        self.detach_mounts(id)?;
        let shm = places.run.join("shm");
        if shm.exists() {
            drop(lapstrake_sys::mount::unmount(
                &shm,
                lapstrake_sys::mount::Unmount::Lazy,
            ));
            remove_empty(&shm)?;
        }
        match self.inner.engine.unmount(&places.root) {
            Ok(()) | Err(crate::Error::Mount(lapstrake_snapshot::Error::NotMounted { .. })) => {}
            Err(crate::Error::Mount(lapstrake_snapshot::Error::Io { source, .. }))
                if source.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        // Never what is below a mount: a root that is still there keeps its directory.
        remove_empty(&places.root)?;
        remove_dir(&places.run)
    }
}

fn size((height, width): (u16, u16)) -> Size {
    Size { height, width }
}

/// The runtime's words are what the client looks at.
fn start_error(error: lapstrake_monitor::Error) -> Error {
    match error {
        lapstrake_monitor::Error::Runtime { message } => Error::Start(format!(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: {}: unknown",
            // One call of the runtime does here what Docker has two for; clients look at the words.
            message.replacen("runc run failed", "runc create failed", 1)
        )),
        other => other.into(),
    }
}

/// The same for a command in a container.
fn exec_error(error: lapstrake_monitor::Error) -> Error {
    match error {
        lapstrake_monitor::Error::Runtime { message } => {
            Error::Start(format!("OCI runtime exec failed: {message}: unknown"))
        }
        other => other.into(),
    }
}

fn forget_exit(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Ok(()) => {
            let dir = path.parent().unwrap_or(path);
            lapstrake_sys::publish::sync_dir(dir).map_err(io_error("sync", dir))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}

pub(crate) fn make_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o710)
        .create(path);
    made.map_err(io_error("create", path))
}

pub(crate) fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(value.to_string().as_bytes())
    };
    write().map_err(io_error("write", path))
}

/// Removes a directory with all that is in it; none is no error.
pub(crate) fn remove_dir(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory in which nothing is.
fn remove_empty(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}
