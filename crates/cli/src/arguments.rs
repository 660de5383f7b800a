//! What can be typed before or beside every verb.

use std::path::PathBuf;

use clap::Parser;

use crate::verbs::Verb;

/// Stores container images as data, skeleton and index, and mounts them without unpacking.
///
/// Exit codes: 0 success; 1 other failures; 2 wrong usage; 3 not found; 4 not allowed; 5 a registry
/// or the network failed; 6 damaged data; 7 no space; 8 data that was damaged is
/// repaired; 130 interrupted; 141 nobody reads what is written. `run` exits with its command's code.
#[derive(Debug, Parser)]
#[command(name = "lapstrake", version)]
pub(crate) struct Arguments {
    /// The store (default: /var/lib/lapstrake).
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Where mounts are kept; must not outlive a boot. By default a directory below
    /// /run/lapstrake that belongs to the store.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print results, warnings and errors, but not how it goes.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// Wait so long for another process that owns the store: 0 not at all (default: 600 for verbs that
    /// move whole images, 10 for others).
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub(crate) wait: Option<u64>,
    #[command(flatten)]
    pub(crate) storage: Storage,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How roots are made. Docker's names; see docs/storage-drivers.md.
#[derive(Debug, clap::Args)]
pub(crate) struct Storage {
    /// The storage driver: erofs, overlay2 or vfs (default: the best that works here).
    #[arg(long, global = true, value_name = "DRIVER")]
    pub(crate) storage_driver: Option<String>,
    /// Before the verb: an option of a storage driver, or size=SIZE or inodes=NUMBER for writable
    /// layers of which nothing is said.
    #[arg(long = "storage-opt", value_name = "KEY=VALUE")]
    pub(crate) driver_opt: Vec<String>,
    /// The settings, as docs/config.toml explains them (default: /etc/lapstrake/config.toml, if there is
    /// one). Of a file whose name ends in .json, as Docker's daemon.json does, storage-driver and
    /// storage-opts are read; /etc/lapstrake/daemon.json too, if there is one and no other file is named.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    const DOCUMENTED: &str = include_str!("../../../docs/cli.md");

    fn headings() -> Vec<&'static str> {
        let headings = DOCUMENTED
            .lines()
            .filter_map(|line| line.strip_prefix("### "));
        headings.collect()
    }

    #[test]
    fn every_verb_is_documented_with_an_example_and_nothing_else_is() {
        let command = Arguments::command();
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let verbs: Vec<_> = verbs.map(clap::Command::get_name).collect();
        let headings = headings();
        for verb in &verbs {
            assert!(headings.contains(verb), "docs/cli.md has no '### {verb}'");
            let (_, section) = DOCUMENTED
                .split_once(&format!("\n### {verb}\n"))
                .expect("the heading");
            let section = section.split("\n#").next().unwrap_or_default();
            assert!(
                section.contains(&format!("\n    lapstrake {verb}")),
                "docs/cli.md has no example of {verb}"
            );
        }
        for heading in headings {
            assert!(
                verbs.contains(&heading),
                "docs/cli.md: there is no verb {heading}"
            );
        }
    }

    #[test]
    fn every_option_of_all_verbs_is_documented() {
        for option in Arguments::command().get_arguments() {
            let name = format!("`--{}", option.get_long().expect("options are long"));
            assert!(
                DOCUMENTED.contains(&name),
                "docs/cli.md does not say {name}`"
            );
        }
    }

    #[test]
    fn every_exit_code_is_in_the_help_and_documented() {
        let help = Arguments::command().render_long_help().to_string();
        for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130", "141"] {
            assert!(help.contains(&format!(" {code} ")), "{code} in --help");
            assert!(
                DOCUMENTED.contains(&format!("| {code} |")),
                "{code} in docs/cli.md"
            );
        }
    }

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
