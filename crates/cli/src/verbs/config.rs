//! `lapstrake config`.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use lapstrake_engine::Label;
use lapstrake_engine::watermark::Mark;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Result;
use crate::render;
use crate::settings::{Origin, Setting, WatermarkSettings};

/// Check the settings, and show what each is and where it comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct Config {}

/// A setting's name, value and origin.
type Row = (&'static str, Value, Origin);

impl Config {
    /// Looks at no store.
    pub(crate) fn run(&self, context: &Context) -> Result<ExitCode> {
        let settings = &context.settings;
        let mirrors = |mirrors: &Vec<crate::network::MirrorOf>| {
            let all = mirrors.iter().map(|of| {
                let (host, prefix) = (&of.mirror.host, &of.mirror.prefix);
                let slash = if prefix.is_empty() { "" } else { "/" };
                format!("{}={host}{slash}{prefix}", of.registry)
            });
            json!(all.collect::<Vec<_>>())
        };
        let path = |path: &Option<std::path::PathBuf>| json!(path);
        let mut rows = vec![
            row("root", &settings.root, |path| json!(path)),
            row("run-dir", &settings.run_dir, |_| json!(context.around.run)),
            row("storage-driver", &settings.storage_driver, |name| {
                json!(name)
            }),
            row("storage-opts", &settings.storage_opts, |options| {
                json!(options)
            }),
            row("mirrors", &settings.mirrors, mirrors),
            row("plain-http", &settings.plain_http, |hosts| json!(hosts)),
            row("certs-dir", &settings.certs_dir, path),
            row("authfile", &settings.authfile, path),
            row("parallel", &settings.parallel, |number| json!(number)),
            row("wait", &settings.wait, |wait| {
                json!(wait.map(|wait: Duration| wait.as_secs()))
            }),
        ];
        rows.extend(watermark(&settings.watermark));
        // Docker's file is checked too, and that no option contradicts another.
        context.storage()?;
        let dockers = settings.dockers.as_ref().map(|(path, _)| path);
        show(
            context,
            &rows,
            dockers.filter(|path| path.exists()).map(|path| &**path),
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// The table of the watermark.
fn watermark(settings: &WatermarkSettings) -> [Row; 6] {
    let mark = |mark: &Option<Mark>| json!(mark.map(|mark| mark.to_string()));
    let labels = |labels: &Vec<Label>| {
        let labels = labels.iter().map(|label| format!("label={label}"));
        json!(labels.collect::<Vec<_>>())
    };
    let spell = |duration: &Duration| json!(spelled(*duration));
    [
        row("watermark.keep-free", &settings.keep_free, mark),
        row("watermark.until-free", &settings.until_free, mark),
        row("watermark.protect", &settings.protect, labels),
        row("watermark.min-age", &settings.min_age, spell),
        row("watermark.interval", &settings.interval, spell),
        row("watermark.containers", &settings.containers, |yes| {
            json!(yes)
        }),
    ]
}

/// A duration as it would be written in the file.
fn spelled(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 if seconds > 0 && seconds.is_multiple_of(3600) => format!("{}h", seconds / 3600),
        0 if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{}s", duration.as_secs_f64()),
    }
}

fn row<T>(name: &'static str, from: &Setting<T>, value: impl FnOnce(&T) -> Value) -> Row {
    (name, value(&from.value), from.origin)
}

fn show(context: &Context, rows: &[Row], dockers: Option<&Path>) {
    let file = context.settings.file.as_deref();
    for (key, value, origin) in rows {
        let origin = match origin {
            Origin::CommandLine => "command line".to_owned(),
            Origin::Environment(name) => format!("environment ({name})"),
            Origin::File => file.map_or("file".to_owned(), |path| path.display().to_string()),
            Origin::Default => "default".to_owned(),
        };
        if context.json {
            render::json(&json!({ "key": key, "value": value, "from": origin }));
            continue;
        }
        let value = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(texts) if texts.is_empty() => "-".to_owned(),
            Value::Array(texts) => {
                let texts = texts.iter().filter_map(Value::as_str);
                texts.collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        render::line(&format!("{key:20}  {value}  ({origin})"));
    }
    if let Some(path) = dockers {
        context.say(&format!(
            "storage-driver and storage-opts are read from {} too",
            path.display()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_spelled_so_that_it_can_be_read_again() {
        for (millis, want) in [
            (86_400_000, "24h"),
            (90_000, "90s"),
            (1_800_000, "30m"),
            (1_500, "1.5s"),
            (0, "0s"),
        ] {
            let duration = Duration::from_millis(millis);
            assert_eq!(spelled(duration), want);
            assert_eq!(lapstrake_engine::duration(want), Some(duration));
        }
    }
}
