//! Logs as their users see them: what was fed is what is read, whatever happens to the files.
#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene fails")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use lapstrake_monitor::Timestamp;
use lapstrake_monitor::logs::{Entry, Format, Query, Reader, Settings, Writer};
use lapstrake_monitor::wire::Stream;
use proptest::prelude::*;

const FORMATS: [Format; 2] = [Format::JsonFile, Format::Local];

const ALL: Query = Query::ALL;

struct Log {
    _dir: tempfile::TempDir,
    settings: Settings,
}

impl Log {
    fn new(format: Format, max_size: Option<u64>, max_files: u32, compress: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            format,
            path: dir.path().join("x-json.log"),
            max_size,
            max_files,
            compress,
            attributes: BTreeMap::new(),
        };
        Self {
            _dir: dir,
            settings,
        }
    }

    fn plain(format: Format) -> Self {
        Self::new(format, None, 1, false)
    }

    fn write(&self, chunks: &[(Stream, &[u8])]) {
        let mut writer = Writer::open(&self.settings).unwrap();
        for (stream, bytes) in chunks {
            writer.feed(*stream, bytes).unwrap();
        }
        writer.finish().unwrap();
    }

    fn lines(&self, range: std::ops::Range<u32>) {
        let text: String = range.map(|number| format!("{number}\n")).collect();
        self.write(&[(Stream::Stdout, text.as_bytes())]);
    }

    fn read(&self, query: Query) -> Vec<Entry> {
        self.reader(query).collect::<Result<_, _>>().unwrap()
    }

    fn reader(&self, query: Query) -> Reader {
        Reader::open(&self.settings.path, self.settings.format, query).unwrap()
    }

    fn text(&self, query: Query) -> String {
        text(&self.read(query))
    }

    fn append(&self, bytes: &[u8]) {
        let mut file = File::options().append(true).open(&self.settings.path);
        file.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let dir = self.settings.path.parent().unwrap();
        let mut names: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn rotated(&self, suffix: &str) -> PathBuf {
        self.settings
            .path
            .with_file_name(format!("x-json.log{suffix}"))
    }
}

fn text(entries: &[Entry]) -> String {
    let bytes = entries
        .iter()
        .flat_map(|entry| entry.line.clone())
        .collect();
    String::from_utf8(bytes).unwrap()
}

fn numbers(range: std::ops::Range<u32>) -> String {
    range.map(|number| format!("{number}\n")).collect()
}

#[test]
fn both_streams_are_read_in_the_order_of_writing() {
    for format in FORMATS {
        let log = Log::plain(format);
        assert_eq!(log.read(ALL), []);
        log.write(&[
            (Stream::Stdout, b"one\ntw"),
            (Stream::Stderr, b"error\n"),
            (Stream::Stdout, b"o\nend"),
        ]);
        let entries = log.read(ALL);
        assert_eq!(text(&entries), "one\nerror\ntwo\nend");
        assert_eq!(entries[1].stream, Stream::Stderr);
        let only = |stdout, stderr| {
            log.text(Query {
                stdout,
                stderr,
                ..ALL
            })
        };
        assert_eq!(only(true, false), "one\ntwo\nend");
        assert_eq!(only(false, true), "error\n");
    }
}

#[test]
fn a_writer_goes_on_where_another_ended() {
    for format in FORMATS {
        let log = Log::plain(format);
        log.lines(0..3);
        log.lines(3..5);
        assert_eq!(log.text(ALL), numbers(0..5));
    }
}

#[test]
fn attributes_are_in_every_entry() {
    for format in FORMATS {
        let mut log = Log::plain(format);
        log.settings.attributes = BTreeMap::from([("tag".into(), "\"<x>".into())]);
        log.lines(0..2);
        for entry in log.read(ALL) {
            assert_eq!(entry.attributes, log.settings.attributes);
        }
    }
}

#[test]
fn a_full_file_is_rotated_before_the_next_entry() {
    let log = Log::new(Format::JsonFile, Some(1), 3, false);
    log.lines(0..4);
    assert_eq!(log.names(), ["x-json.log", "x-json.log.1", "x-json.log.2"]);
    // The oldest went with its file.
    assert_eq!(log.text(ALL), numbers(1..4));
    let first = std::fs::read_to_string(log.rotated(".2")).unwrap();
    assert!(
        first.starts_with(r#"{"log":"1\n","stream":"stdout","time":"2"#),
        "{first}"
    );
    assert!(first.ends_with("Z\"}\n"), "{first}");
}

#[test]
fn with_one_file_what_is_full_is_dropped() {
    let log = Log::new(Format::JsonFile, Some(1), 1, false);
    log.lines(0..4);
    assert_eq!(log.names(), ["x-json.log"]);
    assert_eq!(log.text(ALL), "3\n");
}

#[test]
fn compressed_files_are_read_as_well() {
    for format in FORMATS {
        let log = Log::new(format, Some(1000), 5, true);
        log.lines(0..50);
        assert!(log.rotated(".1.gz").exists());
        assert!(!log.rotated(".1").exists());
        assert!(log.names().iter().all(|name| !name.ends_with("tmp")));
        assert_eq!(log.text(ALL), numbers(0..50));
    }
}

#[test]
fn the_tail_is_found_across_files() {
    for format in FORMATS {
        for compress in [false, true] {
            let log = Log::new(format, Some(700), 9, compress);
            log.lines(0..60);
            for tail in [0, 1, 7, 8, 9, 31, 59, 60, 61, u64::MAX] {
                let first = 60_u32.saturating_sub(u32::try_from(tail).unwrap_or(u32::MAX));
                let tail = Some(tail);
                assert_eq!(log.text(Query { tail, ..ALL }), numbers(first..60));
            }
        }
    }
}

#[test]
fn the_tail_counts_both_streams_and_comes_first() {
    for format in FORMATS {
        let log = Log::plain(format);
        log.write(&[(Stream::Stdout, b"a\nb\n"), (Stream::Stderr, b"c\n")]);
        let query = Query {
            stderr: false,
            tail: Some(2),
            ..ALL
        };
        assert_eq!(log.text(query), "b\n");
    }
}

#[test]
fn times_bound_what_is_read() {
    for format in FORMATS {
        let log = Log::new(format, Some(100), 5, true);
        log.lines(0..2);
        std::thread::sleep(Duration::from_millis(2));
        let between = Timestamp::now();
        std::thread::sleep(Duration::from_millis(2));
        log.lines(2..4);
        let since = Some(between);
        let until = Some(between);
        assert_eq!(log.text(Query { since, ..ALL }), numbers(2..4));
        assert_eq!(log.text(Query { until, ..ALL }), numbers(0..2));
        assert_eq!(
            log.text(Query {
                since,
                until,
                ..ALL
            }),
            ""
        );
        // Docker takes the tail first.
        let tail = Some(3);
        assert_eq!(log.text(Query { tail, until, ..ALL }), numbers(1..2));
    }
}

#[test]
fn what_a_crash_tore_is_skipped() {
    let torn: [(Format, &[u8]); 5] = [
        (Format::JsonFile, b"{\"log\":\"torn"),
        (Format::JsonFile, b"\0\0\0\0\0\0"),
        (Format::Local, b"\0\0\0\x0f\x0a\x06std"),
        (Format::Local, b"\0\0"),
        (Format::Local, b"\0\0\0\0\0\0\0\0\0\0\0\0"),
    ];
    for (format, tail) in torn {
        let log = Log::plain(format);
        log.lines(0..3);
        log.append(tail);
        assert_eq!(log.text(ALL), numbers(0..3), "{tail:?}");
        assert_eq!(
            log.text(Query {
                tail: Some(1),
                ..ALL
            }),
            "2\n",
            "{tail:?}"
        );
        assert_eq!(
            log.text(Query {
                tail: Some(0),
                ..ALL
            }),
            "",
            "{tail:?}"
        );
        // And whoever writes on is not torn with it.
        log.lines(3..5);
        assert_eq!(log.text(ALL), numbers(0..5), "{tail:?}");
        assert_eq!(
            log.text(Query {
                tail: Some(2),
                ..ALL
            }),
            numbers(3..5),
            "{tail:?}"
        );
    }
}

#[test]
fn a_last_line_that_lacks_only_its_end_is_read() {
    let log = Log::plain(Format::JsonFile);
    log.lines(0..3);
    let file = File::options()
        .write(true)
        .open(&log.settings.path)
        .unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(log.text(ALL), numbers(0..3));
}

#[test]
fn a_damaged_compressed_file_harms_no_other() {
    for format in FORMATS {
        let log = Log::new(format, Some(1000), 5, true);
        log.lines(0..40);
        let damaged = log.rotated(".2.gz");
        let damaged = if damaged.exists() {
            damaged
        } else {
            log.rotated(".1.gz")
        };
        File::create(damaged)
            .unwrap()
            .write_all(b"\x1f\x8bnonsense")
            .unwrap();
        assert!(log.text(ALL).ends_with(&numbers(38..40)));
    }
}

#[test]
fn a_line_that_is_too_long_is_no_entry() {
    let log = Log::plain(Format::JsonFile);
    log.lines(0..1);
    log.append(&vec![b'x'; 3 << 20]);
    log.append(b"\n");
    log.lines(1..2);
    let mut reader = log.reader(ALL);
    let lines: Vec<_> = reader.by_ref().map(|entry| entry.unwrap()).collect();
    assert_eq!(text(&lines), numbers(0..2));
    assert_eq!(reader.skipped(), 1);
}

/// Reads with `follow` in a thread while `write` runs, tells the end and returns what was read.
fn followed(log: &Log, query: Query, write: impl FnOnce()) -> String {
    let reader = log.reader(Query {
        follow: true,
        ..query
    });
    let stopper = reader.stopper();
    let thread = std::thread::spawn(move || reader.collect::<Result<Vec<_>, _>>());
    write();
    stopper.ended();
    text(&thread.join().unwrap().unwrap())
}

#[test]
fn a_follower_gets_what_is_written_until_the_end() {
    for format in FORMATS {
        let log = Log::plain(format);
        let write = || {
            log.lines(0..10);
            std::thread::sleep(Duration::from_millis(20));
            log.lines(10..20);
        };
        assert_eq!(followed(&log, ALL, write), numbers(0..20));
        let tail = Some(1);
        let write = || log.lines(20..30);
        assert_eq!(
            followed(&log, Query { tail, ..ALL }, write),
            numbers(19..30)
        );
        let tail = Some(0);
        let write = || log.lines(30..40);
        assert_eq!(
            followed(&log, Query { tail, ..ALL }, write),
            numbers(30..40)
        );
    }
}

#[test]
fn a_follower_loses_nothing_to_rotation() {
    for format in FORMATS {
        for compress in [false, true] {
            // Enough files that none is dropped while its reader is behind.
            let log = Log::new(format, Some(2000), 1000, compress);
            let write = || {
                let mut writer = Writer::open(&log.settings).unwrap();
                for number in 0..3000 {
                    let line = format!("{number}\n");
                    writer.feed(Stream::Stdout, line.as_bytes()).unwrap();
                }
                writer.finish().unwrap();
            };
            assert_eq!(followed(&log, ALL, write), numbers(0..3000));
            assert_eq!(log.text(ALL), numbers(0..3000));
        }
    }
}

#[test]
fn a_follower_ends_when_it_is_stopped_or_its_time_has_come() {
    let log = Log::plain(Format::JsonFile);
    log.lines(0..1);
    let mut reader = log.reader(Query {
        follow: true,
        ..ALL
    });
    assert!(reader.next().is_some());
    let stopper = reader.stopper();
    let thread = std::thread::spawn(move || reader.next().is_none());
    std::thread::sleep(Duration::from_millis(10));
    stopper.stop();
    assert!(thread.join().unwrap());

    let soon = Timestamp::from_nanoseconds(Timestamp::now().nanoseconds() + 30_000_000);
    let until = Some(soon);
    let reader = log.reader(Query {
        follow: true,
        until,
        ..ALL
    });
    assert_eq!(reader.count(), 1);
}

#[test]
fn a_follower_survives_that_the_file_is_emptied() {
    let log = Log::plain(Format::JsonFile);
    log.lines(0..100);
    let mut reader = log.reader(Query {
        follow: true,
        ..ALL
    });
    let first: Vec<_> = reader
        .by_ref()
        .take(100)
        .map(|entry| entry.unwrap())
        .collect();
    assert_eq!(text(&first), numbers(0..100));
    File::create(&log.settings.path).unwrap();
    log.lines(100..102);
    let stopper = reader.stopper();
    stopper.ended();
    let rest: Vec<_> = reader.map(|entry| entry.unwrap()).collect();
    assert_eq!(text(&rest), numbers(100..102));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn what_is_fed_is_what_is_read(
        chunks in proptest::collection::vec((any::<bool>(), "[a-zé\n]{0,40}|x{20000,40000}"), 0..12),
        format in prop_oneof![Just(Format::JsonFile), Just(Format::Local)],
        max_size in prop_oneof![Just(None), (1_u64..40_000).prop_map(Some)],
        compress: bool,
        tail in 0_usize..20,
    ) {
        let log = Log::new(format, max_size, 10_000, compress);
        let chunks: Vec<(Stream, &[u8])> = chunks
            .iter()
            .map(|(err, text)| {
                let stream = if *err { Stream::Stderr } else { Stream::Stdout };
                (stream, text.as_bytes())
            })
            .collect();
        log.write(&chunks);
        let all = log.read(ALL);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let fed: Vec<u8> = chunks
                .iter()
                .filter(|(to, _)| *to == stream)
                .flat_map(|(_, bytes)| bytes.iter().copied())
                .collect();
            let read: Vec<u8> = all
                .iter()
                .filter(|entry| entry.stream == stream)
                .flat_map(|entry| entry.line.clone())
                .collect();
            prop_assert_eq!(fed, read);
        }
        let last = log.read(Query { tail: Some(tail as u64), ..ALL });
        prop_assert_eq!(&last[..], &all[all.len().saturating_sub(tail)..]);
    }

    #[test]
    fn garbage_is_never_fatal(
        bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(0)], 0..2000),
        format in prop_oneof![Just(Format::JsonFile), Just(Format::Local)],
        tail in proptest::option::of(0_u64..5),
    ) {
        let log = Log::plain(format);
        File::create(&log.settings.path).unwrap().write_all(&bytes).unwrap();
        log.read(Query { tail, ..ALL });
        log.lines(0..2);
        prop_assert_eq!(log.text(Query { tail: Some(2), ..ALL }), numbers(0..2));
    }
}

/// A file system that is unmounted at the end, whatever happens.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"])
            .arg(&at)
            .status();
        assert!(mount.unwrap().success());
        Self(at)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let unmount = std::process::Command::new("umount").arg(&self.0).status();
        assert!(unmount.unwrap().success());
    }
}

#[test]
fn privileged_a_full_disk_loses_entries_but_tears_none() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: needs root to mount");
        return;
    }
    for format in FORMATS {
        for max_size in [None, Some(100_000)] {
            let dir = tempfile::tempdir().unwrap();
            let small = Small::mount(dir.path().join("small"));
            let mut log = Log::new(format, max_size, 9, false);
            log.settings.path = small.0.join("x-json.log");
            let mut writer = Writer::open(&log.settings).unwrap();
            let mut failed = 0;
            for number in 0..10_000 {
                let line = format!("{number}\n");
                failed += u32::from(writer.feed(Stream::Stdout, line.as_bytes()).is_err());
            }
            assert!(failed > 100, "{failed} entries were lost");
            // Somebody makes room.
            let mut names = (0..9).map(|number| small.0.join(format!("x-json.log.{number}")));
            let oldest = names.rfind(|name| name.exists());
            match oldest {
                Some(oldest) => std::fs::remove_file(oldest).unwrap(),
                None => drop(File::create(&log.settings.path).unwrap()),
            }
            writer.feed(Stream::Stdout, b"after\n").unwrap();
            writer.finish().unwrap();
            let mut reader = log.reader(ALL);
            let entries: Vec<_> = reader.by_ref().map(|entry| entry.unwrap()).collect();
            assert_eq!(reader.skipped(), 0);
            assert!(text(&entries).ends_with("after\n"));
            drop((reader, writer));
        }
    }
}
