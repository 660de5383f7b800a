//! What `make run` shows: an image from a registry, pulled, mounted, and a command run in it.

use std::path::Path;
use std::time::Instant;

use crate::bench::overlay::Mounted;
use crate::bench::peers::{Daemon, Told};
use crate::bench::scratch::{disk_bytes, release_binary};
use crate::command::{Tool, exists};
use crate::error::{Error, IoContext as _, Result};
use crate::images::{self, Cache};
use crate::registry;

/// Pulls, mounts and runs `image`, or our Debian image from a registry of our own.
#[expect(clippy::print_stdout, reason = "showing is what the command is for")]
pub fn run(cache: &Cache, image: Option<&str>) -> Result<()> {
    let lapstrake = release_binary("lapstrake-cli", "lapstrake")?;
    let parent = std::env::temp_dir();
    let dir = tempfile::Builder::new()
        .prefix("lapstrake-demo-")
        .tempdir_in(&parent);
    let dir = dir.io("create a directory in", &parent)?;
    let root = dir.path().join("root");

    // The registry lives as long as it is needed: to the end of this function.
    let (reference, registry) = match image {
        Some(image) => (image.to_owned(), None),
        None => {
            let built = images::build(cache, &[images::catalog::find("debian")?])?;
            let registry = registry::serve(cache, &built, 0)?;
            println!(
                "A Debian image is served by docker-registry on {}.\n",
                registry.host()
            );
            (registry.reference("debian"), Some(registry))
        }
    };
    let ours = || Tool::new(&lapstrake).arg("--root").arg(&root);

    let pull = ours().args(["pull", "--json", &reference]);
    let (said, seconds) = step(&format!("lapstrake pull {reference}"), pull)?;
    let told = Told::by(&said)?;
    println!(
        "  ready after {:.3} s, on disk after {:.3} s, {seconds:.3} s in all; {:.1} MB in the store\n",
        told.ready,
        told.durable,
        disk_bytes(&root)? / 1e6
    );
    show_mount(&lapstrake, &root, &reference, &dir.path().join("mounted"))?;

    let runtime = runtime_that_works(&ours, &reference)?;
    let command = ["cat", "/etc/os-release"];
    let tool = ours()
        .args(["run", "--runtime", runtime, &reference])
        .args(command);
    let (said, seconds) = step(
        &format!("lapstrake run {reference} {}", command.join(" ")),
        tool,
    )?;
    println!("{}\n  after {seconds:.3} s", said.trim_end());
    if exists("docker") {
        show_docker(&lapstrake, dir.path(), &reference, runtime)?;
    } else {
        println!("\nThere is no docker command here to show that it drives Lapstrake, too.");
    }
    drop(registry);
    Ok(())
}

/// Not every runtime starts something on every machine; the first that does is good.
fn runtime_that_works(ours: &impl Fn() -> Tool, reference: &str) -> Result<&'static str> {
    let mut why = String::new();
    for runtime in ["runc", "crun"] {
        match ours()
            .args(["run", "--runtime", runtime, reference, "true"])
            .output()
        {
            Ok(_) => return Ok(runtime),
            Err(error) => why.push_str(&format!("\n{error}")),
        }
    }
    Err(Error::Unexpected {
        what: "running `true` in the image".to_owned(),
        why,
    })
}

/// Lets the docker command run the same, with a volume.
#[expect(clippy::print_stdout, reason = "showing is what the command is for")]
fn show_docker(lapstrake: &Path, dir: &Path, reference: &str, runtime: &str) -> Result<()> {
    let socket = format!("unix://{}", dir.join("docker.sock").display());
    let docker = || {
        let docker = Tool::new("docker").arg("-H").arg(&socket);
        docker.env("DOCKER_CONFIG", dir.join("client"))
    };
    println!("\n$ lapstrake daemon -H {socket} &");
    let daemon = Tool::new(lapstrake).arg("--root").arg(dir.join("root"));
    let daemon = daemon.args(["daemon", "--runtime", runtime, "-H", &socket]);
    let _daemon = Daemon::start("lapstrake", daemon, dir, || docker().arg("version"))?;
    let run = [
        "run",
        "--rm",
        "--network",
        "none",
        "-v",
        "data:/data",
        reference,
    ];
    let command = ["sh", "-c", "echo kept > /data/file; cat /data/file"];
    let line = format!(
        "docker run --rm --network none -v data:/data {reference} sh -c '{}'",
        command[2]
    );
    let (said, seconds) = step(&line, docker().args(run).args(command))?;
    println!("{}\n  after {seconds:.3} s", said.trim_end());
    let (said, _) = step("docker system df", docker().args(["system", "df"]))?;
    println!("{}", said.trim_end());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "showing is what the command is for")]
fn show_mount(lapstrake: &Path, root: &Path, reference: &str, at: &Path) -> Result<()> {
    crate::files::make_dir(at)?;
    let tool = Tool::new(lapstrake)
        .arg("--root")
        .arg(root)
        .args(["mount", reference])
        .arg(at);
    let (_, seconds) = step(&format!("lapstrake mount {reference}"), tool)?;
    let mounted = Mounted::by_lapstrake(at, lapstrake, root);
    let names = std::fs::read_dir(at).io("list", at)?.count();
    println!(
        "  mounted after {:.1} ms; {names} names at the top\n",
        seconds * 1e3
    );
    mounted.end()
}

/// Says what is done, does it, and returns its output and the seconds it took.
#[expect(clippy::print_stdout, reason = "showing is what the command is for")]
fn step(line: &str, tool: Tool) -> Result<(String, f64)> {
    println!("$ {line}");
    let started = Instant::now();
    let said = tool.output()?;
    Ok((said, started.elapsed().as_secs_f64()))
}
