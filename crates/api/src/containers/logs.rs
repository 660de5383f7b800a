//! `GET /containers/{id}/logs`, and what an attached client gets of what was said before.

use hyper::StatusCode;
use lapstrake_engine::containers::{Containers, Log, Phase, Seen};
use lapstrake_engine::streams::{Entry, Query, Reader, Stopper, Stream, Timestamp, header};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;

use crate::answer::{self, Answered, Response};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::{Sink, channel, stream_type};
use crate::time;

/// So much of a log is read at once for a client that attaches, in bytes.
const PIECE: usize = 64 << 10;

/// How entries are told.
#[derive(Debug, Clone, Copy)]
struct Form {
    timestamps: bool,
    details: bool,
    framed: bool,
}

/// Sends a container's log, and what comes if that is asked for.
pub(super) async fn logs(call: &Call, name: &str) -> Answered {
    let containers = &call.daemon.containers;
    let record = containers.record(name)?;
    let query = query(call, call.query.flag("follow"))?;
    if !query.stdout && !query.stderr {
        return Err(Failure::invalid(
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let framed = !record.settings.tty;
    let form = Form {
        timestamps: call.query.flag("timestamps"),
        details: call.query.flag("details"),
        framed,
    };
    let content_type = stream_type(call.version, framed);
    if record.state.started.is_none() && !query.follow {
        return Ok(answer::with_body(
            StatusCode::OK,
            content_type,
            answer::full(""),
        ));
    }
    let log = containers.log(&record.id, query).await?;
    let stopping = call.daemon.stopping();
    send(log, form, stopping, move |body| {
        answer::with_body(StatusCode::OK, content_type, body)
    })
}

fn send(
    log: Log,
    form: Form,
    stopping: impl Future<Output = ()> + Send + 'static,
    answer: impl FnOnce(answer::Body) -> Response,
) -> Answered {
    let (sink, body) = channel(16);
    let stopper = log.reader.stopper();
    let (finished, read) = oneshot::channel();
    let over = Over {
        stopper,
        sink: sink.clone(),
        read,
    };
    tokio::spawn(over.wait(log.seen, stopping));
    let reader = log.reader;
    let thread = lapstrake_bridge::worker("logs", move || {
        // Told when this ends, however it does.
        let _finished: oneshot::Sender<()> = finished;
        for entry in reader {
            let told = match entry {
                Ok(entry) => sink.blocking_send(tell(&entry, form)),
                // What was sent stands; that it is not all is seen.
                Err(unreadable) => return sink.blocking_fail(unreadable),
            };
            if told.is_err() {
                return;
            }
        }
    });
    thread.map_err(|error| Failure::internal(format!("cannot start a thread: {error}")))?;
    Ok(answer(body))
}

/// What ends a reader when nothing more will come, or nobody wants it.
struct Over {
    stopper: Stopper,
    /// It keeps the answer from ending: until the reader has read all.
    sink: Sink,
    read: oneshot::Receiver<()>,
}

impl Over {
    async fn wait(
        self,
        mut seen: tokio::sync::watch::Receiver<Seen>,
        stopping: impl Future<Output = ()>,
    ) {
        let silent =
            |seen: &Seen| seen.removed || !(seen.phase.is_active() || seen.phase == Phase::Created);
        tokio::select! {
            _ended = seen.wait_for(silent) => self.stopper.ended(),
            () = self.sink.gone() => self.stopper.stop(),
            () = stopping => self.stopper.stop(),
            _read = self.read => {}
        }
    }
}

/// All that was said before, for a client that attaches.
pub(super) fn all_of(call: &Call) -> Result<Query, Failure> {
    query(call, false)
}

/// Tells a client what was said before it came.
pub(super) async fn replay(
    containers: &Containers,
    id: &str,
    query: Query,
    to: &mut (impl AsyncWrite + Unpin),
) {
    // A log that can't be read is no reason not to be attached.
    let Ok(log) = containers.log(id, query).await else {
        return;
    };
    let form = Form {
        timestamps: false,
        details: false,
        framed: !log.tty,
    };
    let mut reader = log.reader;
    loop {
        let read = lapstrake_bridge::blocking(move || {
            let said = some_of(&mut reader, form);
            (reader, said)
        });
        let Ok((again, said)) = read.await else {
            return;
        };
        reader = again;
        // Who went hears nothing.
        if said.is_empty() || to.write_all(&said).await.is_err() {
            drop(to.flush().await);
            return;
        }
    }
}

/// What comes next of a log, and not much at once; nothing at its end.
fn some_of(reader: &mut Reader, form: Form) -> Vec<u8> {
    let mut said = Vec::new();
    while said.len() < PIECE {
        match reader.next() {
            Some(Ok(entry)) => said.extend(tell(&entry, form)),
            Some(Err(_)) | None => break,
        }
    }
    said
}

fn query(call: &Call, follow: bool) -> Result<Query, Failure> {
    let moment = |name: &str| match call.query.get(name) {
        None | Some("0") => Ok(None),
        Some(text) => moment(text).map(Some),
    };
    let tail = call.query.get("tail").filter(|tail| *tail != "all");
    Ok(Query {
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr"),
        // As in Docker, what is no number is all.
        tail: tail.and_then(|tail| tail.parse().ok()),
        since: moment("since")?,
        until: moment("until")?,
        follow,
    })
}

/// Seconds since 1970, perhaps with a fraction.
fn moment(text: &str) -> Result<Timestamp, Failure> {
    let invalid = || {
        Failure::invalid(format!(
            "strconv.ParseInt: parsing \"{text}\": invalid syntax"
        ))
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| invalid())?;
    let digits = format!("{fraction:0<9}");
    let nanoseconds: i64 = digits
        .get(..9)
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(invalid)?;
    let whole = seconds
        .checked_mul(1_000_000_000)
        .and_then(|whole| whole.checked_add(nanoseconds));
    Ok(Timestamp::from_nanoseconds(whole.ok_or_else(invalid)?))
}

fn tell(entry: &Entry, form: Form) -> Vec<u8> {
    let mut line = Vec::with_capacity(entry.line.len() + 48);
    if form.details {
        let attributes = entry
            .attributes
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        line.extend(attributes.collect::<Vec<_>>().join(",").into_bytes());
        line.push(b' ');
    }
    if form.timestamps {
        // Always nine digits, so that lines stand below one another.
        let moment = entry.time.nanoseconds();
        let fraction = moment.rem_euclid(1_000_000_000);
        let whole = time::rfc3339(moment - fraction);
        let bare = whole.trim_end_matches('Z');
        let stamp = format!("{bare}.{fraction:09}Z ");
        line.splice(0..0, stamp.into_bytes());
    }
    line.extend_from_slice(&entry.line);
    if !form.framed {
        return line;
    }
    let stream = match entry.stream {
        Stream::Stderr => Stream::Stderr,
        Stream::Stdin | Stream::Stdout => Stream::Stdout,
    };
    // An entry is a piece of a line: never that long.
    let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
    [&header(stream, length)[..], &line].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_with_what_was_asked_for() {
        let entry = Entry {
            stream: Stream::Stderr,
            time: Timestamp::from_nanoseconds(1_795_486_108_465_910_400),
            line: b"out\n".to_vec(),
            attributes: [("a".to_owned(), "1".to_owned())].into(),
        };
        let form = |timestamps, details, framed| Form {
            timestamps,
            details,
            framed,
        };
        let told = |form| String::from_utf8(tell(&entry, form)).expect("text");
        assert_eq!(told(form(false, false, false)), "out\n");
        assert_eq!(
            told(form(true, false, false)),
            "2026-11-24T02:08:28.465910400Z out\n"
        );
        assert_eq!(
            told(form(true, true, false)),
            "2026-11-24T02:08:28.465910400Z a=1 out\n"
        );
        assert_eq!(
            tell(&entry, form(false, false, true))[..8],
            [2, 0, 0, 0, 0, 0, 0, 4]
        );
    }

    #[test]
    fn moments_have_fractions() {
        for (text, nanoseconds) in [
            ("1", 1_000_000_000),
            ("1.5", 1_500_000_000),
            ("0.000000001", 1),
        ] {
            assert_eq!(moment(text).expect("a moment").nanoseconds(), nanoseconds);
        }
        for text in ["x", "1.x", "", "99999999999999"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
