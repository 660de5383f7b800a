//! Whole layers, too large for memory: every file of the directories that `LAPSTRAKE_TARS` names is
//! taken for a tar.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::{
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, Write},
    path::Path,
};

use lapstrake_tree::{
    limits::Limits,
    rebuild::rebuild,
    skeleton::Skeleton,
    split::{DataSink, Splitter},
    view::TarView,
};

struct Data(BufWriter<File>);

impl DataSink for Data {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
}

fn check(path: &Path) {
    let mut tar = File::open(path).unwrap();
    let mut data = Data(BufWriter::with_capacity(
        1 << 20,
        tempfile::tempfile().unwrap(),
    ));
    let mut splitter = Splitter::new(Limits::DEFAULT);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let length = tar.read(&mut buffer).unwrap();
        if length == 0 {
            break;
        }
        splitter.feed(&buffer[..length], &mut data).unwrap();
    }
    let layer = splitter.finish(&mut data).unwrap();
    let data = data.0.into_inner().unwrap();
    assert_eq!(data.metadata().unwrap().len(), layer.data_len);
    let skeleton = Skeleton::open(&layer.skeleton[..]).unwrap();
    assert!(rebuild(&skeleton, Limits::DEFAULT).unwrap() == layer.tree);

    tar.rewind().unwrap();
    let mut view = TarView::new(&layer.skeleton[..], data).unwrap();
    let mut again = vec![0; 256 << 10];
    loop {
        let length = view.read(&mut again).unwrap();
        if length == 0 {
            break;
        }
        tar.read_exact(&mut buffer[..length]).unwrap();
        assert!(
            buffer[..length] == again[..length],
            "the view of {} differs",
            path.display()
        );
    }
    assert_eq!(
        tar.stream_position().unwrap(),
        fs::metadata(path).unwrap().len()
    );
    eprintln!(
        "{}: tar {}, data {}, skeleton {}, entries {}",
        path.display(),
        layer.tar_len,
        layer.data_len,
        layer.skeleton.len(),
        layer.entries
    );
}

#[test]
fn real_layers_come_back_byte_for_byte() {
    let Some(directories) = std::env::var_os("LAPSTRAKE_TARS") else {
        eprintln!("SKIPPED: LAPSTRAKE_TARS names no directories of tars");
        return;
    };
    let mut count = 0;
    for directory in std::env::split_paths(&directories) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() && fs::metadata(&path).unwrap().len() > 0 {
                check(&path);
                count += 1;
            }
        }
    }
    assert!(count > 0, "there are no tars in {}", directories.display());
}
