//! The kernel judges: an index is mounted, and what is seen there is what GNU tar extracts.
//!
//! The same tests run in virtual machines with older kernels, by the tests named `vm_…`.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]
#![expect(clippy::disallowed_methods, reason = "files of a test need not last")]

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    fs::{self, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::{
        fd::{AsFd, AsRawFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use lapstrake_erofs::{IndexOptions, read_index, write_index};
use lapstrake_sys::{
    loopdev::{LoopDevice, Reads},
    mount::{Context, Detached, Restrictions},
    xattr,
};
use lapstrake_tree::{
    limits::Limits,
    split::{DataSink, Splitter},
};
use tempfile::TempDir;

/// A directory on a disk's file system: in a virtual machine `/` is none.
fn scratch() -> TempDir {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        if std::env::var_os("IN_VM").is_none() {
            return std::env::temp_dir();
        }
        let disk = PathBuf::from("/mnt");
        run(Command::new("mkfs.ext4").args(["-q", "/dev/vda"]));
        run(Command::new("mount").args(["/dev/vda", "/mnt"]));
        disk
    });
    tempfile::tempdir_in(root).unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

fn shell(directory: &Path, script: &str) {
    run(Command::new("/bin/bash")
        .args(["-euc", script])
        .current_dir(directory));
}

struct Sink(BufWriter<File>);

impl DataSink for Sink {
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes)
    }
}

/// A mounted index, until dropped.
struct Mounted {
    mount: Detached,
    _devices: Vec<LoopDevice>,
}

impl Mounted {
    fn root(&self) -> PathBuf {
        PathBuf::from(format!(
            "/proc/self/fd/{}/.",
            self.mount.as_fd().as_raw_fd()
        ))
    }
}

/// Splits a tar, writes its index and mounts it.
fn mount_tar(directory: &Path, tar: &Path) -> Mounted {
    let (index_path, data_path) = (directory.join("index"), directory.join("data"));
    let mut data = Sink(BufWriter::new(File::create(&data_path).unwrap()));
    let mut splitter = Splitter::new(Limits::DEFAULT);
    let mut input = File::open(tar).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = input.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        splitter.feed(&buffer[..length], &mut data).unwrap();
    }
    let layer = splitter.finish(&mut data).unwrap();
    data.0.flush().unwrap();
    let mut bytes = Vec::new();
    let options = IndexOptions {
        uuid: [7; 16],
        data_len: layer.data_len,
    };
    write_index(&layer.tree, &options, &mut bytes).unwrap();
    read_index(&bytes).unwrap();
    fs::write(&index_path, &bytes).unwrap();
    let data = (layer.data_len > 0).then_some(&*data_path);
    check_with_fsck(&index_path, data);
    mount(&index_path, data)
}

fn mount(index: &Path, data: Option<&Path>) -> Mounted {
    let by_names = |index: &Path, data: Option<&Path>| {
        let erofs = Context::open("erofs")?;
        // Else the kernel opens loop devices, which are read-only, for writing.
        erofs.flag("ro")?;
        erofs.string("source", index.as_os_str().as_bytes())?;
        if let Some(data) = data {
            erofs.string("device", data.as_os_str().as_bytes())?;
        }
        erofs.create(Restrictions {
            read_only: true,
            inert: false,
        })
    };
    if let Ok(mount) = by_names(index, data) {
        return Mounted {
            mount,
            _devices: Vec::new(),
        };
    }
    let attach = |path: &Path| {
        LoopDevice::attach(File::open(path).unwrap().as_fd(), Reads::Buffered).unwrap()
    };
    let devices: Vec<_> = [Some(index), data]
        .into_iter()
        .flatten()
        .map(attach)
        .collect();
    let mount = by_names(devices[0].path(), devices.get(1).map(LoopDevice::path)).unwrap();
    Mounted {
        mount,
        _devices: devices,
    }
}

fn check_with_fsck(index: &Path, data: Option<&Path>) {
    // It recurses into directories, with large frames.
    let mut command = Command::new("/bin/bash");
    command.args([
        "-c",
        "ulimit -s unlimited; exec fsck.erofs \"$@\"",
        "fsck.erofs",
    ]);
    if !Path::new("/usr/bin/fsck.erofs").exists() {
        eprintln!("SKIPPED: there is no fsck.erofs");
        return;
    }
    if let Some(data) = data {
        command.arg(format!("--device={}", data.display()));
    }
    run(command.arg(index));
}

/// All that can be seen of a file.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    mtime: (i64, i64),
    links: u64,
    device: u64,
    target: Option<PathBuf>,
    xattrs: BTreeMap<Box<[u8]>, Vec<u8>>,
    /// The first name of the same file.
    same_as: PathBuf,
    contents: u64,
}

type Listing = BTreeMap<PathBuf, Facts>;

fn list(root: &Path) -> Listing {
    let mut listing = Listing::new();
    let mut first = HashMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(name) = waiting.pop() {
        let path = root.join(&name);
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| name.join(entry.unwrap().file_name()))
                .collect();
            names.sort_unstable_by(|a, b| b.cmp(a));
            waiting.extend(names);
        }
        let same_as = first
            .entry(stat.ino())
            .or_insert_with(|| name.clone())
            .clone();
        let names = xattr::list(&path).unwrap();
        let value = |name: &[u8]| xattr::get(&path, name).unwrap().unwrap();
        let facts = Facts {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            size: if stat.is_dir() { 0 } else { stat.size() },
            mtime: (stat.mtime(), stat.mtime_nsec()),
            links: stat.nlink(),
            device: stat.rdev(),
            target: stat.is_symlink().then(|| fs::read_link(&path).unwrap()),
            xattrs: names
                .into_iter()
                .map(|name| (name.clone(), value(&name)))
                .collect(),
            same_as,
            contents: if stat.is_file() {
                contents(&path, stat.size())
            } else {
                0
            },
        };
        listing.insert(name, facts);
    }
    listing
}

/// A hash of all blocks that are not zero; of huge files, of one MiB in each GiB and the last.
fn contents(path: &Path, size: u64) -> u64 {
    let mut file = File::open(path).unwrap();
    let mut hasher = DefaultHasher::new();
    let mut hash = |from: u64, length: u64, file: &mut File| {
        file.seek(SeekFrom::Start(from)).unwrap();
        let mut reader = BufReader::with_capacity(1 << 20, file).take(length);
        let mut at = from;
        loop {
            let mut block = Vec::new();
            if reader.by_ref().take(4096).read_to_end(&mut block).unwrap() == 0 {
                break;
            }
            if block.iter().any(|byte| *byte != 0) {
                (at, &block).hash(&mut hasher);
            }
            at += block.len() as u64;
        }
    };
    if size <= 1 << 30 {
        hash(0, size, &mut file);
    } else {
        (0..size.div_ceil(1 << 30)).for_each(|part| hash(part << 30, 1 << 20, &mut file));
        hash(size - (1 << 20), 1 << 20, &mut file);
    }
    hasher.finish()
}

fn assert_same(mounted: &Listing, expected: &Listing) {
    for (name, facts) in expected {
        assert_eq!(mounted.get(name), Some(facts), "{}", name.display());
    }
    let more: Vec<_> = mounted
        .keys()
        .filter(|name| !expected.contains_key(*name))
        .collect();
    assert!(more.is_empty(), "names that no tar gave: {more:?}");
}

/// Which entries' times GNU tar invents, because the tar has no entry for them.
type Invented<'a> = &'a [&'a str];

/// Makes a tar with a script that writes `$TAR`, and compares what is mounted with what GNU tar
/// extracts.
#[track_caller]
fn check(script: &str, invented: Invented<'_>) {
    let directory = scratch();
    let tar = directory.path().join("tar");
    let here = directory.path().join("work");
    fs::create_dir(&here).unwrap();
    shell(&here, &format!("TAR={}; {script}", tar.display()));
    let there = directory.path().join("there");
    fs::create_dir(&there).unwrap();
    let mut untar = Command::new("tar");
    untar.args([
        "--xattrs",
        "--xattrs-include=*",
        "--same-owner",
        "--numeric-owner",
        "-xpf",
    ]);
    run(untar.arg(&tar).current_dir(&there));
    let mounted = mount_tar(directory.path(), &tar);
    let (mut ours, mut theirs) = (list(&mounted.root()), list(&there));
    for name in invented {
        for listing in [&mut ours, &mut theirs] {
            listing.get_mut(Path::new(name)).unwrap().mtime = (0, 0);
        }
    }
    assert_same(&ours, &theirs);
}

const FIXTURE: &str = r#"
mkdir -p d/e "$(printf 'n%.0s' {1..80})"
echo hello > a; : > empty; ln a d/e/hard; ln -s ../a d/link; ln -s "$(printf 't%.0s' {1..90})" t
for n in 1 4095 4096 4097 8191 8192 8193 65536 1000001; do head -c $n /dev/urandom > size-$n; done
chmod 6755 a; chmod 1777 d; chown 12345:54321 empty
touch -d '1970-01-01 00:00:01' empty
"#;
const DEVICES: &str = "mkfifo pipe; mknod null c 1 3; mknod disk b 259 70000; chmod 640 disk;";
const ANYTHING: &str = r#"
touch "$(printf 'x%.0s' {1..255})" $'\xff\xfe \xe9' $'new\nline' far ancient
ln -s "$(printf 'u%.0s' {1..3000})" long-link
chown 3000000000:4000000000 far
"#;
const TIMES: &str = r#"
touch -d '1960-02-03 04:05:06' ancient; touch -d '2300-01-01 00:00:00.25' far
touch -d '2020-01-01 00:00:00.123456789' a; touch -h -d '2021-01-01 00:00:00.000000001' d/link
"#;
const XATTRS: &str = r#"
setfattr -n user.text -v plain a; setfattr -n user.empty a; setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" d
setfattr -n trusted.secret -v root d/e; setfacl -m u:12345:r size-1; setfacl -d -m g:77:rwx d
for n in 4096 8192 65536; do setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 size-$n; done
"#;

#[test]
fn privileged_gnu_tar_in_every_format() {
    check(
        &format!("{FIXTURE} tar -cf $TAR --format=v7 --exclude=null --exclude=disk ."),
        &[],
    );
    for format in ["ustar", "oldgnu", "gnu"] {
        let more = if format == "ustar" { "" } else { ANYTHING };
        check(
            &format!("{FIXTURE}{DEVICES}{more} tar -cf $TAR --format={format} ."),
            &[],
        );
    }
}

#[test]
fn privileged_pax_with_attributes_and_times() {
    check(
        &format!(
            "{FIXTURE}{DEVICES}{ANYTHING}{TIMES}{XATTRS}
            tar -cf $TAR --format=pax --xattrs '--xattrs-include=*' ."
        ),
        &[],
    );
}

#[test]
fn privileged_sparse_files_of_every_version() {
    let make = "
        truncate -s 5000001 holes; for at in 0 300 2000; do
        dd if=/dev/urandom of=holes bs=1000 seek=$at count=5 conv=notrunc status=none; done
        truncate -s 1M all-hole; truncate -s 1M tail; echo end >> tail; touch -d @1000 * .; ";
    for form in [
        "oldgnu",
        "gnu",
        "pax --sparse-version=0.0",
        "pax --sparse-version=0.1",
        "pax --sparse-version=1.0",
    ] {
        check(&format!("{make} tar -cSf $TAR --format={form} ."), &[]);
    }
    let huge = "truncate -s 9G huge; for at in 0 3 8; do
        echo at $at | dd of=huge bs=1G seek=$at conv=notrunc status=none; done; echo end >> huge; ";
    check(&format!("{huge} tar -cSf $TAR --format=pax ."), &[]);
}

#[test]
fn privileged_python_writes_tars() {
    for format in ["USTAR", "GNU", "PAX"] {
        let more = if format == "USTAR" { "" } else { ANYTHING };
        check(
            &format!(
                "{FIXTURE}{DEVICES}{more} touch -d @1000 a far || :
                [ {format} != USTAR ] || rm -f far
                /usr/bin/python3 -c \"import tarfile
with tarfile.open('$TAR', 'w', format=tarfile.{format}_FORMAT) as t: t.add('.')\""
            ),
            &[],
        );
    }
}

/// Tars as no archiver of files writes them: missing parents, entries twice, a depth of 400.
#[test]
fn privileged_tars_made_by_hand() {
    let by_hand = |lines: &str, invented: Invented<'_>| {
        let script = format!(
            "cat > ../make.py <<'END'
import sys, tarfile, io
t = tarfile.open(sys.argv[1], 'w', format=tarfile.PAX_FORMAT)
def add(name, contents=None, type=tarfile.REGTYPE, mode=0o644, mtime=1000, **more):
    i = tarfile.TarInfo(name)
    i.type, i.mode, i.mtime = type, mode, mtime
    for key, value in more.items(): setattr(i, key, value)
    i.size = len(contents or b'')
    t.addfile(i, io.BytesIO(contents or b''))
def directory(name, mode=0o755): add(name, type=tarfile.DIRTYPE, mode=mode)
directory('.')
{lines}
t.close()
END
/usr/bin/python3 ../make.py $TAR"
        );
        check(&script, invented);
    };
    by_hand("add('./x/y/z', b'deep')", &["", "x", "x/y"]);
    by_hand(
        "add('f', b'one'); add('f', b'second', mode=0o600); directory('d'); add('./d/a', b'a')
directory('d', 0o700); add('l', type=tarfile.SYMTYPE, linkname='f', mode=0o644)
add('h', type=tarfile.LNKTYPE, linkname='f')",
        &["", "d"],
    );
    by_hand("for i in range(1, 400): directory('/'.join('d' * i))", &[]);
    // An emulated processor would take minutes for as many.
    let count = if std::env::var_os("IN_VM").is_some() {
        5000
    } else {
        100_000
    };
    by_hand(
        &format!("for i in range({count}): add(f'entry-{{i:06}}-with-some-length', mtime=i % 3)"),
        &[""],
    );
}

/// What ext4 has no room for, and what GNU tar does not keep from steering overlay.
#[test]
fn privileged_attributes_that_gnu_tar_cannot_judge() {
    let directory = scratch();
    let tar = directory.path().join("tar");
    let script = format!(
        "/usr/bin/python3 -c \"import tarfile
t = tarfile.open('{}', 'w', format=tarfile.PAX_FORMAT)
i = tarfile.TarInfo('f')
x = 'SCHILY.xattr.'
i.pax_headers = {{x + 'user.big': 'v' * 65000, x + 'user.small': 's',
    x + 'trusted.overlay.redirect': '/etc/shadow', x + 'trusted.overlay.metacopy': 'm',
    x + 'user.overlay.opaque': 'y', x + 'user.overlay.redirect': '/a',
    x + 'com.apple.quarantine': 'q'}}
t.addfile(i)
for name in ['.wh.gone', 'd/.wh..wh..opq']: t.addfile(tarfile.TarInfo(name))
t.close()\"",
        tar.display()
    );
    shell(directory.path(), &script);
    let mounted = mount_tar(directory.path(), &tar);
    let listing = list(&mounted.root());
    let names = |path: &str| {
        let xattrs = listing[Path::new(path)].xattrs.iter();
        xattrs
            .map(|(name, value)| (OsStr::from_bytes(name).to_str().unwrap(), value.len()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names("f"), [("user.big", 65_000), ("user.small", 1)]);
    assert_eq!(names("d"), [("trusted.overlay.opaque", 1)]);
    let gone = &listing[Path::new("gone")];
    assert_eq!((gone.mode & 0o170_000, gone.device), (0o020_000, 0));
    assert_eq!(listing.len(), 4);
}

/// Runs the tests above on another kernel.
fn in_vm(kernel: &str) {
    let Some(runner) = std::env::var_os("LAPSTRAKE_VM_RUN") else {
        eprintln!("SKIPPED: LAPSTRAKE_VM_RUN does not name a program that runs a kernel");
        return;
    };
    let mut command = Command::new(runner);
    command.args(["--kernel", kernel, "--disk", "4G", "--timeout", "500", "--"]);
    command.arg(std::env::current_exe().unwrap());
    let output = command
        .args(["privileged_", "--test-threads", "1"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("6 passed"), "{text}");
}

#[test]
fn vm_kernel_6_1() {
    in_vm("6.1");
}

#[test]
fn vm_kernel_6_12() {
    in_vm("6.12");
}
