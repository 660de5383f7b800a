//! Writing out what a cut left.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::Cut;
use super::database::Database;
use super::loss::{Chance, Loss};
use super::model::{Node, ROOT, Slot};

impl Cut {
    /// Writes what a file system could have left into an empty directory.
    ///
    /// # Panics
    /// If it can't be written.
    pub fn write_to(&self, dir: &Path, loss: &Loss) {
        let mut chance = Chance(loss.seed);
        let names = loss.names(&mut chance, &self.model.safe, &self.model.pending);
        self.write_dir(dir, ROOT, &names, loss, &mut chance);
    }

    fn write_dir(
        &self,
        path: &Path,
        dir: Node,
        names: &BTreeMap<Slot, Node>,
        loss: &Loss,
        chance: &mut Chance,
    ) {
        for ((_, name), node) in names.iter().filter(|((parent, _), _)| *parent == dir) {
            let path = path.join(name);
            match &self.model.nodes[*node] {
                None => {
                    std::fs::create_dir(&path).expect("the directory was empty");
                    self.write_dir(&path, *node, names, loss, chance);
                }
                Some(contents) => write_file(&path, &loss.bytes(chance, contents)),
            }
        }
        for ((parent, name), database) in &self.model.databases {
            if *parent == dir {
                let kept = loss.database(chance, &database.snapshots);
                let [main, wal, _] = Database::names(name);
                write_file(&path.join(main), &kept.main);
                write_file(&path.join(wal), &kept.wal);
            }
        }
    }
}

fn write_file(path: &Path, bytes: &[u8]) {
    File::create_new(path)
        .and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|error| panic!("{path:?}: {error}"));
}
