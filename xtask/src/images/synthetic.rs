//! Layers that no package makes: a hundred small ones, and one of very many files.
//!
//! Contents come from a generator with a fixed seed, so the same layer is made everywhere.

use std::fs;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};

use crate::error::{IoContext as _, Result};
use crate::files;

/// All files get this time; some day in 2025.
const TIME: u64 = 1_750_000_000;

/// How many files the image of many files adds.
const MANY: usize = 50_000;

/// Layer `number` of the image of a hundred: adds a step's files, replaces one that all layers
/// share, removes one from the step five before and begins a common directory anew now and then.
pub(super) fn small_layer(tree: &Path, number: u32) -> Result<()> {
    let mut random = Random(u64::from(number));
    let step = files::make_dir(&tree.join(format!("opt/app/step-{number:03}")))?;
    for file in 0..12 {
        let size = 512 + random.below(7_680);
        file_of(
            &step.join(format!("part-{file:02}.conf")),
            &text(&mut random, size),
        )?;
    }
    let line = format!("step {number}\n");
    file_of(&tree.join("opt/app/version"), line.as_bytes())?;
    if number > 7 {
        let older = files::make_dir(&tree.join(format!("opt/app/step-{:03}", number - 5)))?;
        whiteout(&older.join("part-03.conf"))?;
    }
    let shared = files::make_dir(&tree.join("opt/app/shared"))?;
    if number.is_multiple_of(10) {
        opaque(&shared)?;
    }
    file_of(&shared.join(format!("from-{number:03}")), line.as_bytes())?;
    settle(tree)
}

/// Fifty thousand files of 0.2 to 16 KiB below `srv/app/node_modules`.
pub(super) fn many_files(tree: &Path) -> Result<()> {
    const PLACES: [&str; 6] = ["lib", "dist", "src", "lib/internal", "test", "dist/esm"];
    let mut random = Random(50_000);
    let modules = tree.join("srv/app/node_modules");
    let mut made = 0;
    let mut module = 0;
    while made < MANY {
        module += 1;
        let scope = if module % 4 == 0 {
            format!("@scope{}/", module % 23)
        } else {
            String::new()
        };
        let root = modules.join(format!("{scope}module-{module:04}"));
        let count = (8 + random.below(90)).min(MANY - made);
        for file in 0..count {
            let dir = files::make_dir(&root.join(PLACES[file % PLACES.len()]))?;
            // Sizes are spread evenly on a logarithmic scale: 205 bytes times up to 80.
            let size = (205 << random.below(7)) * (100 + random.below(26)) / 100;
            file_of(
                &dir.join(format!("file-{file:03}.js")),
                &text(&mut random, size),
            )?;
        }
        made += count;
    }
    settle(tree)
}

/// Marks a name as removed, as overlay does.
pub(super) fn whiteout(path: &Path) -> Result<()> {
    mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::empty(),
        makedev(0, 0),
    )
    .io("create a whiteout at", path)
}

/// Marks a directory as hiding what is below it, as overlay does.
pub(super) fn opaque(path: &Path) -> Result<()> {
    setxattr(path, "trusted.overlay.opaque", b"y", XattrFlags::empty()).io("make opaque", path)
}

fn file_of(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = fs::File::create(path).io("create", path)?;
    std::io::Write::write_all(&mut file, bytes).io("write", path)
}

/// Gives everything the same time and usual modes, whatever the umask was.
fn settle(dir: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(TIME);
    for entry in fs::read_dir(dir).io("list", dir)? {
        let entry = entry.io("list", dir)?;
        let path = entry.path();
        let kind = entry.file_type().io("stat", &path)?;
        if kind.is_dir() {
            settle(&path)?;
        }
        if kind.is_dir() || kind.is_file() {
            let mode = if kind.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))
                .io("set the mode of", &path)?;
            let file = fs::File::open(&path).io("open", &path)?;
            file.set_modified(time).io("set the time of", &path)?;
        }
    }
    Ok(())
}

/// Program-like text: it compresses as such text does.
fn text(random: &mut Random, size: usize) -> Vec<u8> {
    const WORDS: [&str; 24] = [
        "const",
        "return",
        "function",
        "value",
        "index",
        "module.exports",
        "require",
        "this",
        "options",
        "callback",
        "error",
        "=>",
        "=",
        "{",
        "}",
        "(",
        ")",
        "if",
        "else",
        "length",
        "result",
        "undefined",
        "async",
        "await",
    ];
    let mut text = Vec::with_capacity(size + 24);
    while text.len() < size {
        match random.below(9) {
            0 => text.extend_from_slice(b";\n  "),
            1 => text.extend_from_slice(format!("{:x}", random.below(1 << 30)).as_bytes()),
            _ => text.extend_from_slice(WORDS[random.below(WORDS.len())].as_bytes()),
        }
        text.push(b' ');
    }
    text.truncate(size);
    text
}

/// A small generator (splitmix64): equal seeds, equal numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).expect("it is below a usize")
    }
}
