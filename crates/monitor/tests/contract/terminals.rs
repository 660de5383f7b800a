//! Processes with a terminal.

use lapstrake_monitor::orders::{Size, Stdin, Terminal};
use lapstrake_monitor::wire::{State, Stream};

use crate::scene::{ALL, BOTH, Output, Scene};

const SMALL: Size = Size {
    height: 10,
    width: 20,
};

pub(crate) fn privileged_a_terminal_has_its_size_and_can_be_resized() {
    let mut scene = Scene::new("read x; stty size; read x; stty size; exit 3");
    scene.has_terminal(Terminal { size: Some(SMALL) });
    let client = scene.launch();
    let mut output = Output::of(client.attach(ALL).unwrap());
    let mut wait = client.wait().unwrap();
    client.start().unwrap();
    output.feed("\n");
    output.until("10 20\r\n");
    client
        .resize(Size {
            height: 33,
            width: 44,
        })
        .unwrap();
    output.feed("\n");
    output.until("33 44\r\n");
    assert_eq!(wait.exit().unwrap().code, 3);
    assert!(!output.frame());
}

pub(crate) fn privileged_a_terminal_that_is_closed_can_be_opened_again() {
    // As init systems do.
    let mut scene = Scene::new(
        "echo one; exec </dev/null >/dev/null 2>&1; sleep 0.3; \
         echo two >/dev/console; sleep 0.3; read x </dev/console; echo $x >/dev/console",
    );
    scene.has_terminal(Terminal { size: None });
    let client = scene.launch();
    let mut output = Output::of(client.attach(ALL).unwrap());
    client.start().unwrap();
    output.until("two\r\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    output.feed("three\n");
    assert!(output.all().text(Stream::Stdout).ends_with("three\r\n"));
}

pub(crate) fn privileged_a_terminal_echoes_and_detaches() {
    let mut scene = Scene::new("echo ready; read x; echo \"<$x>\"; echo error >&2; exit 1");
    scene.has_terminal(Terminal { size: None });
    let client = scene.launch();
    let mut first = Output::of(client.attach(ALL).unwrap());
    client.start().unwrap();
    first.until("ready\r\n");
    // As Docker: with a terminal the end of a client's input detaches it.
    first.end_input();
    assert!(!first.frame());
    assert!(matches!(client.state().unwrap(), State::Running { .. }));
    let mut second = Output::of(client.attach(ALL).unwrap());
    second.feed("word\n");
    let second = second.all();
    assert_eq!(second.text(Stream::Stdout), "word\r\n<word>\r\nerror\r\n");
    assert_eq!(second.text(Stream::Stderr), "");
    assert_eq!(scene.log(), "ready\r\nword\r\n<word>\r\nerror\r\n");
}

pub(crate) fn privileged_a_long_path_is_no_obstacle() {
    // An address of a socket has room for 107 bytes.
    let mut scene = Scene::new("echo done");
    scene.has_terminal(Terminal { size: None });
    scene.write_bundle();
    let dir = scene.path(&"x".repeat(200));
    std::fs::create_dir(&dir).unwrap();
    let client = scene.launch_in(&dir, &scene.orders).unwrap();
    let output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    assert_eq!(output.all().text(Stream::Stdout), "done\r\n");
}

pub(crate) fn privileged_a_second_command_can_have_a_terminal() {
    let scene = Scene::new("echo ready; sleep 1000");
    let client = scene.launch();
    let mut output = Output::of(client.attach(BOTH).unwrap());
    client.start().unwrap();
    output.until("ready");
    let exec = scene.launch_exec(
        |orders| {
            orders.terminal = Some(Terminal { size: Some(SMALL) });
            orders.stdin = Stdin::Once;
        },
        "read x; stty size; exit 8",
    );
    let mut said = Output::of(exec.attach(ALL).unwrap());
    let mut wait = exec.wait().unwrap();
    exec.start().unwrap();
    said.feed("\n");
    said.until("10 20\r\n");
    assert_eq!(wait.exit().unwrap().code, 8);
    client.signal(9).unwrap();
}
