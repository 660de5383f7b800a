//! Bytes between a process, its log and its clients.

use std::time::{Duration, Instant};

use lapstrake_monitor::orders::Stdin;
use lapstrake_monitor::wire::{Attach, State, Stream};

use crate::scene::{ALL, BOTH, Output, Scene};

pub(crate) fn privileged_ten_megabytes_come_through_whole() {
    // 1.6 million lines of seq are 11.7 MB.
    let scene = Scene::new("seq 1 1600000");
    let (out, _, exit) = scene.run();
    let expect: String = (1..=1_600_000)
        .map(|number| format!("{number}\n"))
        .collect();
    assert_eq!(exit.code, 0);
    assert!(out == expect, "{} bytes of {}", out.len(), expect.len());
    assert!(scene.log() == expect, "the log differs");
}

pub(crate) fn privileged_who_attached_before_the_start_misses_nothing() {
    let (out, _, _) = Scene::with_command(&["/bin/echo", "first"]).run();
    assert_eq!(out, "first\n");
}

pub(crate) fn privileged_two_clients_get_the_same() {
    let scene = Scene::new("seq 1 50000; echo error >&2");
    let client = scene.launch();
    let both = Output::of(client.attach(BOTH).unwrap());
    let only = Attach {
        stdout: false,
        ..BOTH
    };
    let errors = Output::of(client.attach(only).unwrap());
    let other = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    let reading = std::thread::spawn(move || other.all().text(Stream::Stdout));
    let both = both.all();
    assert_eq!(both.text(Stream::Stdout), reading.join().unwrap());
    assert_eq!(both.text(Stream::Stdout).lines().count(), 50_000);
    assert_eq!(both.text(Stream::Stderr), "error\n");
    let errors = errors.all();
    assert_eq!(errors.text(Stream::Stdout), "");
    assert_eq!(errors.text(Stream::Stderr), "error\n");
}

pub(crate) fn privileged_clients_come_and_go() {
    let mut scene = Scene::new("while read line; do echo got $line; done; echo end");
    scene.orders.stdin = Stdin::Open;
    let client = scene.launch();
    client.start().unwrap();
    for word in ["one", "two", "three"] {
        let mut output = Output::of(client.attach(ALL).unwrap());
        output.feed(&format!("{word}\n"));
        output.until(&format!("got {word}\n"));
    }
    let output = Output::of(client.attach(BOTH).unwrap());
    client.close_stdin().unwrap();
    assert_eq!(output.all().text(Stream::Stdout), "end\n");
    assert_eq!(scene.log(), "got one\ngot two\ngot three\nend\n");
}

pub(crate) fn privileged_the_end_of_input_reaches_the_process() {
    let mut scene = Scene::new("wc -c; echo after");
    scene.orders.stdin = Stdin::Once;
    let client = scene.launch();
    let mut output = Output::of(client.attach(ALL).unwrap());
    client.start().unwrap();
    // More than a pipe holds.
    for _ in 0..100 {
        output.feed(&"x".repeat(10_000));
    }
    output.end_input();
    // The other direction stays.
    assert_eq!(output.all().text(Stream::Stdout), "1000000\nafter\n");
}

pub(crate) fn privileged_a_client_without_once_is_detached_at_its_end() {
    let mut scene = Scene::new("read line; echo $line; read line; echo $line");
    scene.orders.stdin = Stdin::Open;
    let client = scene.launch();
    client.start().unwrap();
    let mut first = Output::of(client.attach(ALL).unwrap());
    first.feed("one\n");
    first.until("one\n");
    first.end_input();
    assert!(!first.frame());
    assert!(matches!(client.state().unwrap(), State::Running { .. }));
    let mut second = Output::of(client.attach(ALL).unwrap());
    second.feed("two\n");
    assert_eq!(second.all().text(Stream::Stdout), "two\n");
}

pub(crate) fn privileged_a_client_that_hangs_up_is_the_end_of_input_once() {
    let mut scene = Scene::new("cat");
    scene.orders.stdin = Stdin::Once;
    let client = scene.launch();
    let mut output = Output::of(client.attach(ALL).unwrap());
    output.feed("last words\n");
    drop(output);
    let mut wait = client.wait().unwrap();
    client.start().unwrap();
    assert_eq!(wait.exit().unwrap().code, 0);
    assert_eq!(scene.log(), "last words\n");
    wait.cleaned().unwrap();
}

pub(crate) fn privileged_a_slow_client_slows_the_process_and_a_gone_one_does_not() {
    let scene = Scene::new("seq 1 300000; echo end");
    let client = scene.launch();
    let slow = Output::of(client.attach(BOTH).unwrap());
    let mut wait = client.wait().unwrap();
    client.start().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    // Two megabytes are neither lost nor in anyone's memory: the process waits.
    assert!(matches!(client.state().unwrap(), State::Running { .. }));
    assert!(scene.log().len() < 1_000_000);
    drop(slow);
    assert_eq!(wait.exit().unwrap().code, 0);
    assert!(scene.log().ends_with("300000\nend\n"));
}

pub(crate) fn privileged_a_child_with_the_pipe_does_not_hold_up_the_exit() {
    let scene = Scene::new("echo ready; sleep 1000");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("ready");
    let begin = Instant::now();
    let exec = scene.launch_exec(
        |_| {},
        "(sleep 0.3; echo late; sleep 1000) & echo early; exit 6",
    );
    let said = Output::of(exec.attach(BOTH).unwrap());
    let mut wait = exec.wait().unwrap();
    exec.start().unwrap();
    assert_eq!(wait.exit().unwrap().code, 6);
    let told = begin.elapsed();
    assert_eq!(said.all().text(Stream::Stdout), "early\nlate\n");
    let ended = begin.elapsed();
    assert!(told < Duration::from_secs(1), "{told:?}");
    assert!(
        ended > Duration::from_millis(1900) && ended < Duration::from_secs(4),
        "{ended:?}"
    );
    client.signal(9).unwrap();
}

pub(crate) fn privileged_input_before_the_start_is_kept() {
    let mut scene = Scene::new("cat");
    scene.orders.stdin = Stdin::Once;
    let client = scene.launch();
    let mut output = Output::of(client.attach(ALL).unwrap());
    output.feed("early\n");
    output.end_input();
    client.start().unwrap();
    assert_eq!(output.all().text(Stream::Stdout), "early\n");
}
