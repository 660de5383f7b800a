//! What a daemon has on the machine: processes, mounts, loop devices, memory.

use std::fs;
use std::path::PathBuf;

use crate::daemon::Daemon;

impl Daemon {
    /// What is in a directory of its own, but for hidden names; nothing if that is not there.
    pub(crate) fn names_in(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).into_iter().flatten();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .collect()
    }

    /// Command lines of processes beside the daemon that have to do with its directories: monitors and runtimes.
    pub(crate) fn processes(&self) -> Vec<String> {
        let own = self.child.id().to_string();
        let dir = self.path("run").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter(|process| process.file_name() != *own);
        let lines = lines.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&dir))
            .collect()
    }

    /// Mounts in its directories, a line of the table each.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = table.lines().filter(|line| line.contains(&dir));
        mounts.map(str::to_owned).collect()
    }

    /// The files of its directories that are in loop devices.
    pub(crate) fn loop_devices(&self) -> Vec<String> {
        let dir = self.dir.path().display().to_string();
        let devices = fs::read_dir("/sys/block").unwrap().flatten();
        let files = devices.map(|device| device.path().join("loop/backing_file"));
        let files = files.filter_map(|file| fs::read_to_string(file).ok());
        files.filter(|file| file.contains(&dir)).collect()
    }

    /// What the daemon takes of the machine, in words.
    pub(crate) fn use_of_machine(&self) -> String {
        let process = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = fs::read_to_string(process.join("status")).unwrap_or_default();
        let said = ["VmHWM", "VmRSS", "RssAnon", "Threads"];
        let lines = status
            .lines()
            .filter(|line| said.iter().any(|one| line.starts_with(one)));
        let words: Vec<_> = lines
            .map(|line| line.split_whitespace().collect::<String>())
            .collect();
        let files = fs::read_dir(process.join("fd"))
            .into_iter()
            .flatten()
            .count();
        format!("{} files, {}", files, words.join(" "))
    }

    /// Anonymous memory of the daemon, in kB.
    pub(crate) fn anonymous_kb(&self) -> u64 {
        anonymous_kb(&self.child.id().to_string())
    }

    /// Anonymous memory of its monitors, each in kB.
    pub(crate) fn processes_with_memory(&self) -> Vec<u64> {
        let own = self.child.id().to_string();
        let dir = self.path("run").display().to_string();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let names = processes.filter_map(|process| process.file_name().into_string().ok());
        let monitors = names.filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            *pid != own && String::from_utf8_lossy(&line).contains(&dir)
        });
        monitors.map(|pid| anonymous_kb(&pid)).collect()
    }
}

fn anonymous_kb(pid: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
