//! `lapstrake check`: what was found, as lines or as objects.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use lapstrake_engine::{
    CheckEvent, CheckReport, DamagedFiles, DamagedLayer, DeepOptions, Depth, Fetcher, Finding,
    Limits, Mended, Pace, Patience, ScrubOptions, Verdict, check, repair, scrub,
};
use serde_json::json;

use crate::context::{Context, runtime};
use crate::failure::Result;
use crate::network::Network;
use crate::progress::Progress;
use crate::render;

/// Paths of damaged files that are shown; `--json` shows all.
const PATHS_SHOWN: usize = 20;
/// What was read since then is not scrubbed.
const SCRUB_EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Leaves a slow disk to others.
const SCRUB_RATE: u64 = 50_000_000;

/// Check that the store is what it should be, and repair it. Exits with 6 if something is
/// damaged, and with 8 if something was and all of it is repaired.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// Read everything and compare every digest, not only names and lengths.
    #[arg(long)]
    deep: bool,
    /// Repair what is damaged, from the registries that it came from, and move aside what can't be.
    /// Reads everything, as --deep does.
    #[arg(long)]
    repair: bool,
    /// Read what was not read for a week, a layer at a time, at 50 MB/s unless --rate says otherwise.
    /// Can be stopped at any time, and goes on there.
    #[arg(long, conflicts_with = "deep")]
    scrub: bool,
    /// Read at most so many bytes a second, such as 100M.
    #[arg(long, value_name = "BYTES/S", value_parser = parse_bytes)]
    rate: Option<u64>,
    #[command(flatten)]
    network: Network,
}

impl Check {
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let progress = Progress::new(context);
        let tell = |event| progress.tell(&event);
        let report = self.look(context, &tell)?;
        progress.clear();
        if context.json {
            objects(&report);
        } else {
            lines(&report, context);
        }
        // See the help text.
        Ok(match report.verdict() {
            Verdict::Sound => ExitCode::SUCCESS,
            Verdict::Damaged => ExitCode::from(6),
            Verdict::Repaired => ExitCode::from(8),
        })
    }

    /// A store that can't be opened can still be checked.
    fn look(&self, context: &Context, tell: &(dyn Fn(CheckEvent) + Sync)) -> Result<CheckReport> {
        let around = &context.around;
        let pace = |default: Option<u64>| {
            self.rate
                .or(default)
                .map_or_else(Pace::unlimited, Pace::limited)
        };
        let deep = || DeepOptions {
            parallel: std::thread::available_parallelism().map_or(1, usize::from),
            pace: pace(None),
        };
        if !self.repair && !self.scrub {
            let depth = if self.deep {
                Depth::Deep(deep())
            } else {
                Depth::Quick
            };
            return Ok(check(around, &depth, tell)?);
        }
        let runtime = runtime()?;
        let fetcher = Fetcher {
            client: context.client(&self.network)?,
            runtime: runtime.handle().clone(),
            limits: Limits::DEFAULT,
        };
        if self.scrub {
            let engine = context.own()?;
            let now = SystemTime::now();
            let options = ScrubOptions {
                due: now
                    .checked_sub(SCRUB_EVERY)
                    .unwrap_or(SystemTime::UNIX_EPOCH),
                now,
                pace: pace(Some(SCRUB_RATE)),
            };
            let fetcher = self.repair.then_some(&fetcher);
            return Ok(scrub(&engine, fetcher, &options, tell)?);
        }
        let at_most = context.patience();
        let patience = Patience {
            at_most,
            tell: &mut |refusal| context.waiting(refusal, at_most),
        };
        Ok(repair(around, patience, Some(&fetcher), deep(), tell)?)
    }
}

fn lines(report: &CheckReport, context: &Context) {
    for finding in &report.findings {
        render::line(&format!("{}: {finding}", kind(finding)));
    }
    for layer in &report.damaged {
        render::line(&format!("layer {}:", layer.id));
        for line in consequences(layer) {
            render::line(&format!("    {line}"));
        }
    }
    for (part, mended) in &report.repairs {
        let said = repairs(mended);
        if !said.is_empty() {
            render::line(&format!("repair of {part}:"));
        }
        for line in said {
            render::line(&format!("    {line}"));
        }
    }
    if !report.repairs.is_empty() {
        let left = report.left.iter();
        for finding in left.filter(|finding| finding.fault.is_damage()) {
            render::line(&format!("left: {finding}"));
        }
    }
    context.say(&format!(
        "{} layers looked at, {} read; {}",
        report.layers,
        render::bytes(report.bytes),
        match report.verdict() {
            Verdict::Sound => "no damage",
            Verdict::Repaired => "all damage was repaired",
            Verdict::Damaged if report.repairs.is_empty() =>
                "there is damage: lapstrake check --repair",
            Verdict::Damaged => "there is damage that could not be repaired",
        },
    ));
}

fn kind(finding: &Finding) -> &'static str {
    if finding.fault.is_damage() {
        "damage"
    } else {
        "note"
    }
}

fn repairs(mended: &Mended) -> Vec<String> {
    let done = mended.done.iter().cloned();
    let failures = mended.failures.iter().map(|why| format!("failed: {why}"));
    let moved = mended.quarantined.iter();
    let moved =
        moved.map(|to| format!("it is no longer served, and was moved to {}", to.display()));
    done.chain(failures).chain(moved).collect()
}

fn consequences(layer: &DamagedLayer) -> Vec<String> {
    let mut lines = Vec::new();
    match &layer.files {
        DamagedFiles::These(paths) if paths.is_empty() => {
            lines.push("none of its files' contents are damaged".to_owned());
        }
        DamagedFiles::These(paths) => {
            lines.push(format!("damaged files: {}", paths.len()));
            listed(paths, &mut lines);
        }
        DamagedFiles::AnyOf(paths) => {
            lines.push(format!("any of its {} files may be damaged", paths.len()));
            listed(paths, &mut lines);
        }
        DamagedFiles::Unknown => lines.push("which files it had is lost too".to_owned()),
    }
    for image in &layer.images {
        lines.push(format!("part of image {image}"));
    }
    for name in &layer.writable {
        lines.push(format!("below the writable layer {name}"));
    }
    if layer.mounted {
        lines.push(
            "mounted now: its users may have read damaged bytes, and what they have mapped stays"
                .to_owned(),
        );
    }
    lines
}

fn listed(paths: &[String], lines: &mut Vec<String>) {
    lines.extend(
        paths
            .iter()
            .take(PATHS_SHOWN)
            .map(|path| format!("    {path}")),
    );
    if paths.len() > PATHS_SHOWN {
        lines.push(format!(
            "    and {} more: --json shows all",
            paths.len() - PATHS_SHOWN
        ));
    }
}

fn objects(report: &CheckReport) {
    for finding in &report.findings {
        render::json(&object("finding", finding));
    }
    for layer in &report.damaged {
        let (files, certain) = match &layer.files {
            DamagedFiles::These(paths) => (Some(paths), true),
            DamagedFiles::AnyOf(paths) => (Some(paths), false),
            DamagedFiles::Unknown => (None, false),
        };
        render::json(&json!({
            "event": "layer", "layer": layer.id.to_string(), "files": files,
            "certain": certain, "images": layer.images, "writable": layer.writable,
            "mounted": layer.mounted,
        }));
    }
    for (part, mended) in &report.repairs {
        render::json(&json!({
            "event": "repair", "part": part.to_string(), "done": mended.done,
            "failures": mended.failures, "moved": mended.quarantined,
        }));
    }
    for finding in &report.left {
        render::json(&object("left", finding));
    }
    render::json(&json!({
        "event": "checked", "layers": report.layers, "bytes": report.bytes,
        "verdict": match report.verdict() {
            Verdict::Sound => "sound",
            Verdict::Repaired => "repaired",
            Verdict::Damaged => "damaged",
        },
    }));
}

fn object(event: &str, finding: &Finding) -> serde_json::Value {
    json!({
        "event": event, "damage": finding.fault.is_damage(),
        "part": finding.part.to_string(), "fault": finding.fault.to_string(),
    })
}

/// Bytes as people write them: `100M`, `1.5G`, `4096`. Decimal, as everywhere here.
fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
    let wrong = || format!("{text:?} is no number of bytes: write 4096, 100M or 1.5G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale: u32 = match text[digits.len()..]
        .to_ascii_lowercase()
        .trim_end_matches('b')
    {
        "" => 0,
        "k" => 3,
        "m" => 6,
        "g" => 9,
        "t" => 12,
        _ => return Err(wrong()),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > scale as usize || whole.is_empty() {
        return Err(wrong());
    }
    let number: u64 = format!("{whole}{part}").parse().map_err(|_| wrong())?;
    let rest = scale - u32::try_from(part.len()).map_err(|_| wrong())?;
    10_u64
        .checked_pow(rest)
        .and_then(|factor| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written() {
        for (text, bytes) in [
            ("4096", 4096),
            ("100M", 100_000_000),
            ("1.5G", 1_500_000_000),
            ("20kB", 20_000),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for text in ["", "M", "-1", "1.5", "1x", "0", "99999999999T"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
