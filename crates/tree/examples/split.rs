//! Splits a tar as fast as it can be read and says how fast that was; the data goes nowhere.
//!
//! `split TAR [SKELETON]`: with a second name, the skeleton is written there.
#![expect(clippy::print_stdout, reason = "it is a program")]

use std::{
    error::Error,
    fs::File,
    io::{self, Read, Write},
    time::{Duration, Instant},
};

use lapstrake_tree::{
    limits::Limits,
    rebuild::rebuild,
    skeleton::Skeleton,
    split::{DataSink, Splitter},
};

struct Nowhere;

impl DataSink for Nowhere {
    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let mut tar = File::open(arguments.next().ok_or("usage: split TAR [SKELETON]")?)?;
    let mut buffer = vec![0; 256 << 10];
    let mut splitter = Splitter::new(Limits::DEFAULT);
    let (start, mut reading) = (Instant::now(), Duration::ZERO);
    let layer = loop {
        let before = Instant::now();
        let length = tar.read(&mut buffer)?;
        reading += before.elapsed();
        if length == 0 {
            break splitter.finish(&mut Nowhere)?;
        }
        splitter.feed(&buffer[..length], &mut Nowhere)?;
    };
    let splitting = start.elapsed().saturating_sub(reading);
    let start = Instant::now();
    let again = rebuild(&Skeleton::open(&layer.skeleton[..])?, Limits::DEFAULT)?;
    let rebuilding = start.elapsed();
    println!(
        "tar {} data {} skeleton {} entries {} nodes {}",
        layer.tar_len,
        layer.data_len,
        layer.skeleton.len(),
        layer.entries,
        layer.tree.len()
    );
    println!("read {reading:?}, split {splitting:?}, rebuild {rebuilding:?}");
    println!("the rebuilt tree is the same: {}", again == layer.tree);
    if let Some(path) = arguments.next() {
        File::create(path)?.write_all(&layer.skeleton)?;
    }
    Ok(())
}
