//! The processes of a container, as the host's `ps` lists them.
//!
//! `ps` is run with what a client gave as words of its own: no shell reads them. Of its lines those count
//! whose process belongs to the container.

use std::collections::BTreeSet;
use std::process::Command;

use super::{Error, Result};

/// A table of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Processes {
    /// What the columns are.
    pub titles: Vec<String>,
    /// A line each.
    pub lines: Vec<Vec<String>>,
}

/// What `ps` is run with unless a client says otherwise.
const USUAL: &str = "-ef";
const PID: &str = "PID";

/// Lists the processes with these numbers. `arguments` are words for `ps`, parted by blanks.
///
/// # Errors
/// If `ps` is not there, or does not list process numbers when it is run like this.
pub fn list(arguments: &str, pids: &[u32]) -> Result<Processes> {
    let words = words(arguments)?;
    let numbers: Vec<_> = pids.iter().map(ToString::to_string).collect();
    // Asked for the numbers alone it need not look at all of the host; not every selection goes with that.
    let narrow = [words.clone(), vec!["-q".to_owned(), numbers.join(",")]].concat();
    let text = match run(&narrow) {
        Ok(text) => text,
        Err(Error::NoPs(error)) => return Err(Error::NoPs(error)),
        Err(_) => run(&words)?,
    };
    parse(&text, pids)
}

fn run(words: &[String]) -> Result<String> {
    let mut command = Command::new("ps");
    // Columns are as wide as what is in them.
    command
        .args(words)
        .env("COLUMNS", "100000")
        .env_remove("PS_FORMAT");
    let output = command.output().map_err(Error::NoPs)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or("it failed without a word");
        return Err(Error::Ps(first.to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The words of a client, if they leave the column of numbers its name.
fn words(arguments: &str) -> Result<Vec<String>> {
    let arguments = match arguments.trim() {
        "" => USUAL,
        given => given,
    };
    let words: Vec<_> = arguments.split_whitespace().map(str::to_owned).collect();
    for (at, word) in words.iter().enumerate() {
        let Some((name, title)) = word.split_once('=') else {
            continue;
        };
        let title = match (title, words.get(at + 1)) {
            ("", Some(next)) => next,
            (title, _) => title,
        };
        if title.starts_with(PID) {
            return Err(Error::Arguments(format!(
                "specifying \"{name}={title}\" is not allowed"
            )));
        }
    }
    Ok(words)
}

/// Reads what `ps` wrote: titles, then lines. The last column may have blanks.
fn parse(text: &str, pids: &[u32]) -> Result<Processes> {
    let mut lines = text.lines();
    let titles: Vec<_> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles.iter().position(|title| title == PID);
    let Some(column) = column else {
        return Err(Error::Arguments(
            "Couldn't find PID field in ps output".to_owned(),
        ));
    };
    let pids: BTreeSet<_> = pids.iter().collect();
    let mut listed = Vec::new();
    let mut is_thread_of_ours = false;
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(&number) = words.get(column) else {
            continue;
        };
        // Lines of threads have a dash there, and follow their process.
        let is_ours = match number {
            "-" => is_thread_of_ours,
            number => number.parse().is_ok_and(|pid: u32| pids.contains(&pid)),
        };
        is_thread_of_ours = is_ours;
        if is_ours {
            listed.push(cells(&words, titles.len()));
        }
    }
    Ok(Processes {
        titles,
        lines: listed,
    })
}

fn cells(words: &[&str], columns: usize) -> Vec<String> {
    let (first, rest) = words.split_at(words.len().min(columns.saturating_sub(1)));
    let first = first.iter().map(|&word| word.to_owned());
    first.chain(std::iter::once(rest.join(" "))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "UID   PID  PPID CMD
root    1     0 init  [3]
root   12     1 sh -c  a b
root    -     - -
root   13     1 x
root    -     - -
";

    fn lines(pids: &[u32]) -> Vec<String> {
        let parsed = parse(TEXT, pids).unwrap();
        parsed.lines.iter().map(|line| line.join("|")).collect()
    }

    #[test]
    fn lines_of_the_containers_processes_count() {
        assert_eq!(
            parse(TEXT, &[]).unwrap().titles,
            ["UID", "PID", "PPID", "CMD"]
        );
        assert_eq!(lines(&[12]), ["root|12|1|sh -c a b", "root|-|-|-"]);
        assert_eq!(lines(&[1, 3]), ["root|1|0|init [3]"]);
    }

    #[test]
    fn without_numbers_nobody_knows_whose_a_line_is() {
        let error = parse("COMM\nsh\n", &[1]).unwrap_err();
        assert_eq!(error.to_string(), "Couldn't find PID field in ps output");
        assert!(parse("", &[1]).is_err());
        for bad in ["-o ppid=PID", "-o ppid= PID", "-o a,b=PIDS"] {
            assert!(
                words(bad)
                    .unwrap_err()
                    .to_string()
                    .contains("is not allowed"),
                "{bad}"
            );
        }
        assert_eq!(words("  ").unwrap(), ["-ef"]);
        assert_eq!(
            words("-o pid,comm=X  aux").unwrap(),
            ["-o", "pid,comm=X", "aux"]
        );
    }

    #[test]
    fn this_process_is_listed_by_the_hosts_ps() {
        let this = std::process::id();
        let wanted = this.to_string();
        for arguments in ["", "aux", "-o pid,cmd", "-eo pid,args"] {
            let found = match list(arguments, &[this]) {
                Err(Error::NoPs(_)) => {
                    eprintln!("SKIPPED: install procps to run this test");
                    return;
                }
                found => found.unwrap(),
            };
            assert_eq!(found.lines.len(), 1, "{arguments}: {found:?}");
            assert!(found.lines[0].contains(&wanted));
        }
        // No shell: a word is a word.
        let error = list("$(touch /x) ;", &[this]).unwrap_err();
        assert!(matches!(error, Error::Ps(_)), "{error}");
        let error = list("--foo", &[this]).unwrap_err();
        assert!(error.to_string().starts_with("ps: "), "{error}");
    }
}
