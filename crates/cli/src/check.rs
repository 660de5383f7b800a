//! `lapstrake check`: what was found, as lines or as objects.

use std::process::ExitCode;
use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressStyle};
use lapstrake_engine::{
    CheckEvent, CheckReport, DamagedFiles, DamagedLayer, DeepOptions, Depth, Error, Finding, Pace,
    Surroundings, check,
};
use serde_json::json;

use crate::arguments::Checking;
use crate::render;

/// Paths of damaged files that are shown; `--json` shows all.
const PATHS_SHOWN: usize = 20;
/// See the help text.
const DAMAGED: u8 = 6;

pub(crate) fn run(
    around: &Surroundings,
    how: &Checking,
    json: bool,
) -> std::result::Result<ExitCode, Error> {
    let depth = if how.deep {
        Depth::Deep(DeepOptions {
            parallel: std::thread::available_parallelism().map_or(1, usize::from),
            pace: how.rate.map_or_else(Pace::unlimited, Pace::limited),
        })
    } else {
        Depth::Quick
    };
    let bar = Bar::default();
    let report = check(around, &depth, &|event| bar.tell(&event))?;
    bar.clear();
    if json {
        objects(&report);
    } else {
        lines(&report);
    }
    Ok(if report.has_damage() {
        ExitCode::from(DAMAGED)
    } else {
        ExitCode::SUCCESS
    })
}

/// How much was read, on a terminal.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn tell(&self, event: &CheckEvent) {
        let mut bar = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            CheckEvent::Started { bytes } => {
                let style = ProgressStyle::with_template(
                    "checking {bar:30} {bytes:>10}/{total_bytes} {bytes_per_sec}",
                );
                let new = ProgressBar::new(*bytes);
                *bar = Some(style.map_or(new.clone(), |style| new.with_style(style)));
            }
            CheckEvent::Read { bytes } => {
                if let Some(bar) = &*bar {
                    bar.inc(*bytes);
                }
            }
            CheckEvent::Layer { .. } => {}
        }
    }

    fn clear(&self) {
        let mut bar = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn lines(report: &CheckReport) {
    for finding in &report.findings {
        let kind = if finding.fault.is_damage() {
            "damage"
        } else {
            "note"
        };
        render::line(&format!("{kind}: {finding}"));
    }
    for layer in &report.damaged {
        render::line(&format!("layer {}:", layer.id));
        for line in consequences(layer) {
            render::line(&format!("    {line}"));
        }
    }
    let damage = report.findings.iter();
    let damage = damage.filter(|finding| finding.fault.is_damage()).count();
    eprintln!(
        "{} layers looked at, {} read; {}",
        report.layers,
        render::bytes(report.bytes),
        match damage {
            0 => "no damage".to_owned(),
            1 => "1 thing is damaged".to_owned(),
            many => format!("{many} things are damaged"),
        },
    );
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
        lines.push("mounted now: its users read the damaged bytes".to_owned());
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
        render::json(&object(finding));
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
    render::json(&json!({
        "event": "checked", "layers": report.layers, "bytes": report.bytes,
        "damage": report.has_damage(),
    }));
}

fn object(finding: &Finding) -> serde_json::Value {
    json!({
        "event": "finding", "damage": finding.fault.is_damage(),
        "part": finding.part.to_string(), "fault": finding.fault.to_string(),
    })
}

/// Bytes as people write them: `100M`, `1.5G`, `4096`. Decimal, as everywhere here.
pub(crate) fn parse_bytes(text: &str) -> std::result::Result<u64, String> {
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
