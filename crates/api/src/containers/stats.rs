//! What containers use, and which processes are in them.

use std::time::Duration;

use hyper::StatusCode;
use lapstrake_engine::containers::{Block, Containers, Error, HostCpu, Interface, Sample, Usage};
use lapstrake_engine::rfc3339;
use serde_json::{Map, Value, json};

use crate::answer::{self, Answered, JSON};
use crate::call::Call;
use crate::error::Failure;
use crate::stream::{Sink, channel};

/// Between two samples.
const PACE: Duration = Duration::from_secs(1);
/// Go's word for no time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// `GET /containers/NAME/top`.
pub(super) async fn top(call: Call, name: String) -> Answered {
    let arguments = call.query.get("ps_args").unwrap_or_default().to_owned();
    if arguments.contains('\0') {
        return Err(Failure::invalid("ps_args: a NUL is no part of an argument"));
    }
    let containers = call.daemon.containers.clone();
    let processes = containers.top(&name, &arguments).await?;
    answer::ok(&json!({ "Processes": processes.lines, "Titles": processes.titles }))
}

/// `GET /containers/NAME/stats`.
pub(super) async fn stats(call: Call, name: String) -> Answered {
    let containers = call.daemon.containers.clone();
    let record = containers.record(&name)?;
    let (stream, at_once) = (
        call.query.flag_or("stream", true),
        call.query.flag("one-shot"),
    );
    let who = Who {
        id: record.id,
        name: record.name,
    };
    if !stream {
        let before = match at_once {
            true => None,
            false => {
                let before = containers.usage(&who.id).await?;
                // One that does not run is not waited for.
                if before.is_some() {
                    tokio::time::sleep(PACE).await;
                }
                before
            }
        };
        let now = containers.usage(&who.id).await?;
        return answer::ok(&who.document(before.as_ref(), now.as_ref()));
    }
    let (sink, body) = channel(2);
    let stopping = call.daemon.stopping();
    tokio::spawn(async move {
        tokio::select! {
            _ended = tell(&containers, &who, &sink) => {}
            () = sink.gone() => {}
            () = stopping => {}
        }
    });
    Ok(answer::with_body(StatusCode::OK, JSON, body))
}

/// Until it is gone, or nobody listens.
async fn tell(containers: &Containers, who: &Who, sink: &Sink) -> Result<(), Error> {
    let mut before = None;
    let mut pace = tokio::time::interval(PACE);
    loop {
        pace.tick().await;
        let now = containers.usage(&who.id).await?;
        let mut line =
            serde_json::to_vec(&who.document(before.as_ref(), now.as_ref())).unwrap_or_default();
        line.push(b'\n');
        if sink.send(line).await.is_err() {
            return Ok(());
        }
        before = now;
    }
}

/// Whose numbers these are.
struct Who {
    id: String,
    name: String,
}

impl Who {
    fn document(&self, before: Option<&Sample>, now: Option<&Sample>) -> Value {
        let time = |sample: Option<&Sample>| {
            sample.map_or_else(|| NEVER.to_owned(), |sample| rfc3339(sample.at))
        };
        let none = (Usage::default(), HostCpu::default());
        let of = |sample: Option<&Sample>| {
            let (usage, host) = sample.map_or((&none.0, &none.1), |one| (&one.usage, &one.host));
            cpu(usage, *host)
        };
        let usage = now.map_or(&none.0, |sample| &sample.usage);
        let mut document = json!({
            "name": format!("/{}", self.name),
            "id": self.id,
            "read": time(now),
            "preread": time(before),
            "pids_stats": pids(usage),
            "blkio_stats": blocks(usage),
            "num_procs": 0,
            "storage_stats": {},
            "cpu_stats": of(now),
            "precpu_stats": of(before),
            "memory_stats": memory(now.map(|sample| &sample.usage)),
        });
        if let Some(sample) = now {
            document["networks"] = networks(&sample.interfaces);
        }
        document
    }
}

fn cpu(usage: &Usage, host: HostCpu) -> Value {
    let cpu = &usage.cpu;
    let mut used = json!({
        "total_usage": cpu.total,
        "usage_in_kernelmode": cpu.kernel,
        "usage_in_usermode": cpu.user,
    });
    if !cpu.each.is_empty() {
        used["percpu_usage"] = json!(cpu.each);
    }
    let mut document = json!({
        "cpu_usage": used,
        "throttling_data": {
            "periods": cpu.periods,
            "throttled_periods": cpu.throttled_periods,
            "throttled_time": cpu.throttled_time,
        },
    });
    if host.total > 0 {
        document["system_cpu_usage"] = json!(host.total);
        document["online_cpus"] = json!(host.online);
    }
    document
}

fn pids(usage: &Usage) -> Value {
    let pids = &usage.pids;
    let mut document = Map::new();
    if pids.current > 0 {
        document.insert("current".to_owned(), json!(pids.current));
    }
    if let Some(limit) = pids.limit {
        document.insert("limit".to_owned(), json!(limit));
    }
    Value::Object(document)
}

fn memory(usage: Option<&Usage>) -> Value {
    let Some(usage) = usage else {
        return json!({});
    };
    let memory = &usage.memory;
    let mut document = json!({
        "usage": memory.usage,
        "stats": memory.stat,
        "limit": memory.limit,
    });
    if let Some(most) = memory.usage_max {
        document["max_usage"] = json!(most);
    }
    if let Some(failures) = memory.failures.filter(|failures| *failures > 0) {
        document["failcnt"] = json!(failures);
    }
    document
}

fn blocks(usage: &Usage) -> Value {
    let list = |blocks: &[Block]| {
        let blocks = blocks.iter().map(|block| {
            let (major, minor) = block.device;
            json!({ "major": major, "minor": minor, "op": block.operation, "value": block.value })
        });
        blocks.collect::<Vec<_>>()
    };
    json!({
        "io_service_bytes_recursive": list(&usage.blocks.bytes),
        "io_serviced_recursive": list(&usage.blocks.operations),
        "io_queue_recursive": [],
        "io_service_time_recursive": [],
        "io_wait_time_recursive": [],
        "io_merged_recursive": [],
        "io_time_recursive": [],
        "sectors_recursive": [],
    })
}

fn networks(interfaces: &[Interface]) -> Value {
    let one = |interface: &Interface| {
        let (received, sent) = (interface.received, interface.sent);
        let counters = json!({
            "rx_bytes": received.bytes,
            "rx_packets": received.packets,
            "rx_errors": received.errors,
            "rx_dropped": received.dropped,
            "tx_bytes": sent.bytes,
            "tx_packets": sent.packets,
            "tx_errors": sent.errors,
            "tx_dropped": sent.dropped,
        });
        (interface.name.clone(), counters)
    };
    Value::Object(interfaces.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_named_as_docker_names_them() {
        let mut sample = Sample {
            at: std::time::UNIX_EPOCH,
            usage: Usage::default(),
            interfaces: Vec::new(),
            host: HostCpu {
                total: 7,
                online: 2,
            },
        };
        sample.usage.cpu.total = 5;
        sample.usage.memory.usage = 3;
        sample.usage.pids.current = 1;
        let who = Who {
            id: "1".to_owned(),
            name: "one".to_owned(),
        };
        let running = who.document(None, Some(&sample));
        assert_eq!(running["name"], "/one");
        assert_eq!(running["preread"], NEVER);
        assert_eq!(running["cpu_stats"]["cpu_usage"]["total_usage"], 5);
        assert_eq!(running["cpu_stats"]["online_cpus"], 2);
        assert_eq!(running["pids_stats"], json!({ "current": 1 }));
        assert_eq!(running["memory_stats"]["usage"], 3);
        let stopped = who.document(None, None);
        assert_eq!(stopped["memory_stats"], json!({}));
        assert_eq!(stopped["pids_stats"], json!({}));
        assert!(stopped.get("networks").is_none());
    }
}
