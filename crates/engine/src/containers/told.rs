//! What a monitor tells, line by line, until the process has ended.

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;

use lapstrake_monitor::Exit;
use lapstrake_monitor::client::parse_answer;
use lapstrake_monitor::wire::Answer;

/// A monitor's answer is not longer.
const ANSWER_BYTES: usize = 64 << 10;

/// A connection on which a monitor tells.
#[derive(Debug)]
pub(crate) struct Told {
    stream: UnixStream,
    /// What was read and not taken apart.
    read: Vec<u8>,
}

impl Told {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            read: Vec::new(),
        }
    }

    /// Waits for the next thing; `None` if there is no more, for whatever reason. What is no answer that this
    /// version knows is passed over.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        loop {
            while let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                if let Some(answer) = parse_answer(line.trim_ascii_end()) {
                    return Some(answer);
                }
            }
            if self.read.len() > ANSWER_BYTES {
                return None;
            }
            let mut chunk = [0; 512];
            match self.stream.read(&mut chunk).await {
                Ok(length @ 1..) => self.read.extend(&chunk[..length]),
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Waits until the process has ended. How, if its monitor says so.
    pub(crate) async fn exit(mut self) -> Option<Exit> {
        loop {
            if let Answer::Exited(exit) = self.next().await? {
                return Some(exit);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn told(text: &[u8]) -> Vec<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .unwrap();
        let _inside = runtime.enter();
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(text).unwrap();
        drop(theirs);
        let mut told = Told::new(UnixStream::from_std(ours).unwrap());
        let mut answers = Vec::new();
        runtime.block_on(async {
            while let Some(answer) = told.next().await {
                answers.push(answer);
            }
        });
        answers
    }

    #[test]
    fn lines_are_told_one_by_one_and_only_whole() {
        let text = b"{\"out_of_memory\":{\"times\":1}}\n{\"of_later\":1}\n\"done\"\n\"do";
        let answers = [Answer::OutOfMemory { times: 1 }, Answer::Done];
        assert_eq!(told(text), answers);
        assert_eq!(told(b""), []);
        assert_eq!(told(&vec![b'x'; ANSWER_BYTES + 1024]), []);
    }
}
