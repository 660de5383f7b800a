//! The small images that the suites want, made of Debian's busybox.

use std::io;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::command::Tool;
use crate::error::{IoContext as _, Result};
use crate::files;

const BUSYBOX: &str = "/bin/busybox";
const DIRECTORIES: &[&str] = &[
    "bin", "dev", "etc", "home", "lib", "mnt", "proc", "root", "run", "sbin", "sys", "usr",
    "usr/bin", "usr/sbin", "var", "var/opt",
];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:2:2:daemon:/sbin:/sbin/nologin\n\
    operator:x:37:37:Operator:/var:/bin/false\n\
    postgres:x:70:70:PostgreSQL user:/var/lib/postgresql:/bin/sh\n\
    nobody:x:65534:65534:nobody:/:/sbin/nologin\n";
const GROUP: &str = "root:x:0:root\n\
    daemon:x:2:root,daemon\n\
    operator:x:37:\n\
    postgres:x:70:\n\
    ping:x:999:\n\
    nobody:x:65534:\n";
const HELLO: &str = "#!/bin/busybox sh\n\
    /bin/busybox printf '\\nHello from Docker!\\nThis message shows that it works.\\n\\n'\n";

/// A root file system as a tar at `path`; `name` makes it another one than the others.
pub(super) fn busybox(path: &Path, name: &str) -> Result<()> {
    let applets = Tool::new(BUSYBOX).arg("--list-full").output()?;
    let program = std::fs::read(BUSYBOX).io("read", Path::new(BUSYBOX))?;
    let write = || -> io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for dir in DIRECTORIES {
            directory(&mut tar, dir, 0o755)?;
        }
        directory(&mut tar, "tmp", 0o1777)?;
        file(&mut tar, "bin/busybox", 0o755, &program)?;
        for applet in applets.lines().filter(|applet| *applet != "bin/busybox") {
            // Debian's has some in places of its own.
            let known = Path::new(applet)
                .parent()
                .is_some_and(|dir| DIRECTORIES.iter().any(|known| Path::new(known) == dir));
            if known {
                link(&mut tar, applet)?;
            }
        }
        file(&mut tar, "etc/passwd", 0o644, PASSWD.as_bytes())?;
        file(&mut tar, "etc/group", 0o644, GROUP.as_bytes())?;
        file(&mut tar, "etc/made-for", 0o644, name.as_bytes())?;
        if name == "uhttpd" {
            directory(&mut tar, "www", 0o755)?;
            directory(&mut tar, "etc/config", 0o755)?;
            let config = b"\nconfig uhttpd main\n";
            file(&mut tar, "etc/config/uhttpd", 0o644, config)?;
            let start = b"#!/bin/sh\nexec httpd \"$@\"\n";
            file(&mut tar, "usr/sbin/run_uhttpd", 0o755, start)?;
        }
        tar.into_inner()
    };
    files::replace(path, &write().io("write a tar for", path)?)
}

/// The root of `hello-world`.
pub(super) fn hello(path: &Path) -> Result<()> {
    let program = std::fs::read(BUSYBOX).io("read", Path::new(BUSYBOX))?;
    let write = || -> io::Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        directory(&mut tar, "bin", 0o755)?;
        file(&mut tar, "bin/busybox", 0o755, &program)?;
        file(&mut tar, "hello", 0o755, HELLO.as_bytes())?;
        tar.into_inner()
    };
    files::replace(path, &write().io("write a tar for", path)?)
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_750_000_000);
    header
}

fn directory(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32) -> io::Result<()> {
    let mut header = header(EntryType::Directory, mode, 0);
    tar.append_data(&mut header, format!("{path}/"), io::empty())
}

fn file(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut header = header(EntryType::Regular, mode, bytes.len());
    tar.append_data(&mut header, path, bytes)
}

fn link(tar: &mut Builder<Vec<u8>>, path: &str) -> io::Result<()> {
    let mut header = header(EntryType::Symlink, 0o777, 0);
    tar.append_link(&mut header, path, BUSYBOX)
}
