//! The network between a client and a server, asked with sockets.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use lapstrake_testkit::proxy::{Conditions, Proxy};

const CLEAR: Conditions = Conditions {
    bits_a_second: None,
    reset: 0.0,
    segment_bytes: 10_000,
    seed: 1,
};

/// A server that sends so many bytes to everybody who has sent one.
fn server(bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            client.read_exact(&mut [0]).unwrap();
            drop(client.write_all(&vec![7; bytes]));
        }
    });
    host
}

/// How many bytes come, and how the connection ends.
fn ask(proxy: &Proxy) -> (u64, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(proxy.host()).unwrap();
    stream.write_all(b"?").unwrap();
    let (mut got, mut buffer) = (0, [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (got, None),
            Ok(read) => got += read as u64,
            Err(error) => return (got, Some(error.kind())),
        }
    }
}

#[test]
fn what_passes_is_counted() {
    let proxy = Proxy::before(&server(300_000), CLEAR);
    assert_eq!(ask(&proxy), (300_000, None));
    assert_eq!(ask(&proxy), (300_000, None));
    let passed = proxy.passed();
    assert_eq!((passed.to_client, passed.to_server), (600_000, 2));
    assert_eq!((passed.connections, passed.resets), (2, 0));
}

#[test]
fn a_reset_is_one() {
    let reset = Conditions {
        reset: 1.0,
        ..CLEAR
    };
    let proxy = Proxy::before(&server(300_000), reset);
    let (got, end) = ask(&proxy);
    assert!(got < 10_000, "{got}");
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
    assert_eq!(proxy.passed().resets, 1);
}

#[test]
fn connections_share_the_rate() {
    let slow = Conditions {
        bits_a_second: Some(8_000_000),
        ..CLEAR
    };
    let proxy = Proxy::before(&server(100_000), slow);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _client in 0..3 {
            scope.spawn(|| assert_eq!(ask(&proxy), (100_000, None)));
        }
    });
    // Never faster; how much slower is the machine's business.
    assert!(begun.elapsed().as_millis() >= 300);
}
