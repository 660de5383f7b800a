//! Files that are mounted in a container beside its root: those below `/etc`, which stay with it, and its `/dev/shm`, which
//! is there while it runs. A container that joins another one's network or IPC has that one's.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use rustix::fs::Mode;

use lapstrake_container::settings::{Namespace, NetworkMode};
use lapstrake_container::spec::{Files, files};

use super::super::Containers;
use super::super::dirs::make_dir;
use super::super::error::{Error, Result, io_error};
use super::super::places::Places;
use super::super::record::Record;

impl Containers {
    /// Writes what stands for files below `/etc`, and makes what others may share with it.
    pub(super) fn write_files(
        &self,
        record: &Record,
        places: &Places,
        hostname: &str,
    ) -> Result<Files> {
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
}
