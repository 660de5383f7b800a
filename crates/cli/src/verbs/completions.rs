//! `lapstrake completions` and `lapstrake man`: what is known of the command line, for shells and `man`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use crate::arguments::Arguments;
use crate::failure::{Failure, Result};
use crate::render;

/// Print completions of this command line for a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell; see docs/cli.md for where each looks for them.
    shell: Shell,
}

impl Completions {
    /// Looks at no store.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "lapstrake",
            &mut text,
        );
        render::put_as_it_is(&String::from_utf8_lossy(&text));
        Ok(ExitCode::SUCCESS)
    }
}

/// Print the manual page, or write one for each verb.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Write lapstrake.1 and a page for each verb here, a directory that is there.
    directory: Option<PathBuf>,
}

impl Man {
    /// Looks at no store.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut command = Arguments::command();
        command.build();
        match &self.directory {
            None => {
                let text = render(command)?;
                render::put_as_it_is(&String::from_utf8_lossy(&text));
            }
            Some(directory) => write(&command, directory)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn render(command: Command) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    Page::new(command).render(&mut text)?;
    Ok(text)
}

fn write(command: &Command, directory: &Path) -> Result<()> {
    let verbs = command.get_subcommands();
    let verbs = verbs.filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
    for command in std::iter::once(command).chain(verbs) {
        let page = Page::new(command.clone());
        let path = directory.join(page.get_filename());
        let text = render(command.clone())?;
        File::create(&path)
            .and_then(|mut file| file.write_all(&text))
            .map_err(|source| Failure::Write { path, source })?;
    }
    Ok(())
}
