//! Control groups: what a process and everything it starts used, and limits on it.
//!
//! Processors' time is the group's own account, so daemons and their helpers are in it. Memory is
//! anonymous plus kernel memory, sampled, since page cache is the machine's to take back. Both
//! versions of the interface are spoken.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::command::Tool;
use crate::error::{Error, IoContext as _, Result};
use crate::files;

const ROOT: &str = "/sys/fs/cgroup";

/// A group of processes; removed when dropped, if all have ended.
#[derive(Debug)]
pub struct Group {
    /// Of version 1 the accounting and the memory hierarchy, of version 2 one directory.
    dirs: Vec<PathBuf>,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Group {
    /// Makes a group of this name, unique by our process id.
    pub fn new(name: &str) -> Result<Self> {
        let root = Path::new(ROOT);
        let name = format!("lapstrake-bench-{name}-{}", std::process::id());
        let (version, parents) = if root.join("cgroup.controllers").is_file() {
            let control = root.join("cgroup.subtree_control");
            put(&control, "+cpu +memory")?;
            (Version::Two, vec![root.to_owned()])
        } else {
            (
                Version::One,
                vec![root.join("cpuacct"), root.join("memory")],
            )
        };
        let mut dirs = Vec::new();
        for parent in parents {
            dirs.push(files::make_dir(&parent.join(&name))?);
        }
        Ok(Self { dirs, version })
    }

    /// A program that will run in this group, with all it starts.
    pub fn tool(&self, program: &str) -> Tool {
        let mut script = String::new();
        for dir in &self.dirs {
            script.push_str(&format!("echo $$ > '{}/cgroup.procs' && ", dir.display()));
        }
        script.push_str("exec \"$@\"");
        Tool::ending_with_us("sh").args(["-c", &script, "in-group", program])
    }

    /// Processor seconds used so far.
    pub fn cpu_seconds(&self) -> Result<f64> {
        match self.version {
            Version::One => {
                let path = self.dirs[0].join("cpuacct.usage");
                Ok(read(&path)?
                    .trim()
                    .parse::<f64>()
                    .map_or(f64::NAN, |nanos| nanos / 1e9))
            }
            Version::Two => {
                let text = read(&self.dirs[0].join("cpu.stat"))?;
                Ok(field(&text, "usage_usec").unwrap_or(f64::NAN) / 1e6)
            }
        }
    }

    /// Limits memory, page cache included.
    pub fn limit_memory(&self, bytes: u64) -> Result<()> {
        let (dir, name) = match self.version {
            Version::One => (&self.dirs[1], "memory.limit_in_bytes"),
            Version::Two => (&self.dirs[0], "memory.max"),
        };
        put(&dir.join(name), &bytes.to_string())
    }

    /// Begins to watch memory.
    pub fn watch_memory(&self) -> MemoryWatch {
        let (dir, version) = match self.version {
            Version::One => (self.dirs[1].clone(), Version::One),
            Version::Two => (self.dirs[0].clone(), Version::Two),
        };
        let peak = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, told) = (Arc::clone(&peak), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                // The group may be gone at the very end; the peak so far stands.
                if let Ok(bytes) = memory(&dir, version) {
                    seen.fetch_max(bytes, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        MemoryWatch {
            peak,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.dirs {
            // The last process may take a moment to leave.
            for _ in 0..20 {
                if fs::remove_dir(dir).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Samples a group's memory until asked for the peak.
#[derive(Debug)]
pub struct MemoryWatch {
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// Ends watching; the most anonymous and kernel memory seen, in bytes.
    pub fn peak(mut self) -> u64 {
        self.end();
        self.peak.load(Ordering::Relaxed)
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.end();
    }
}

fn memory(dir: &Path, version: Version) -> Result<u64> {
    let text = read(&dir.join("memory.stat"))?;
    let (anonymous, kernel) = match version {
        Version::One => {
            let kernel = read(&dir.join("memory.kmem.usage_in_bytes"))?;
            (field(&text, "total_rss"), kernel.trim().parse().ok())
        }
        Version::Two => (field(&text, "anon"), field(&text, "kernel")),
    };
    let sum = anonymous.unwrap_or(0.0) + kernel.unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes of memory are far below 2^53"
    )]
    Ok(sum as u64)
}

fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).io("read", path)
}

fn put(path: &Path, text: &str) -> Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .io("open", path)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
