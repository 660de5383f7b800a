//! The registry, asked with sockets as a client would.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use lapstrake_testkit::registry::{Access, Fault, Layer, Registry};

/// Sends a request and reads until the connection ends.
fn ask(registry: &Registry, head: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(registry.host()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    write!(stream, "{head}\r\n\r\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut bytes = Vec::new();
    // A stalled answer ends with the timeout; what came before it is what counts.
    drop(stream.read_to_end(&mut bytes));
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let body = bytes.split_off(end + 4);
    (String::from_utf8(bytes).unwrap(), body)
}

/// The status and the body of the answer to a `GET` of a blob `0123456789`.
#[track_caller]
fn check(fault: Fault, headers: &str, status: u16, body: &[u8]) {
    let registry = Registry::start(Access::Open);
    let digest = registry.add_blob(*b"0123456789");
    registry.fault(&digest, fault);
    let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1{headers}");
    let (got_head, got_body) = ask(&registry, &head);
    let begin = format!("HTTP/1.1 {status} ");
    assert!(got_head.starts_with(&begin), "{got_head}");
    assert_eq!(got_body, body, "{got_head}");
}

#[test]
fn faults() {
    let range = "\r\nRange: bytes=4-";
    check(Fault::None, "", 200, b"0123456789");
    check(Fault::None, range, 206, b"456789");
    check(Fault::CutAfter(3), "", 200, b"012");
    check(Fault::CutAfter(3), range, 206, b"456");
    check(Fault::StallAfter(3), "", 200, b"012");
    check(Fault::WrongByte(1), range, 206, b"446789");
    check(Fault::ShortBody(2), "", 200, b"01");
    check(Fault::LongBody(1), "", 200, b"0123456789\0");
    check(Fault::IgnoreRange, range, 200, b"0123456789");
    check(Fault::WrongRange(2), range, 206, b"6789");
    check(Fault::RedirectTo("h:1".to_owned()), "", 307, b"");
}

#[test]
fn a_fault_is_met_once() {
    let registry = Registry::start(Access::Open);
    let digest = registry.add_blob(*b"abc");
    registry.fault(&digest, Fault::CutAfter(0));
    let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1");
    assert_eq!(ask(&registry, &head).1, b"");
    assert_eq!(ask(&registry, &head).1, b"abc");
    assert_eq!(registry.requests().len(), 2);
}

#[test]
fn an_image_is_there_by_tag_and_by_digest() {
    let registry = Registry::start(Access::Open);
    let added = registry.add_image("a/b", "v1", &[Layer::plain(b"tar".to_vec())]);
    let by_tag = ask(&registry, "GET /v2/a/b/manifests/v1 HTTP/1.1");
    let digest = &added.manifest.digest;
    let by_digest = ask(
        &registry,
        &format!("GET /v2/a/b/manifests/{digest} HTTP/1.1"),
    );
    assert_eq!(by_tag, by_digest);
    added.manifest.verify(&by_tag.1).unwrap();
    let elsewhere = ask(&registry, "GET /v2/a/manifests/v1 HTTP/1.1");
    assert!(elsewhere.0.starts_with("HTTP/1.1 404 "), "{}", elsewhere.0);
}

#[test]
fn a_token_opens_the_repository_that_it_is_for() {
    let registry = Registry::start(Access::TokenFor("Basic bWU6aHVzaA==".to_owned()));
    let digest = registry.add_blob(*b"abc");
    let blob = |path: &str, token: &str| {
        let head =
            format!("GET /v2/{path}/blobs/{digest} HTTP/1.1\r\nAuthorization: Bearer {token}");
        ask(&registry, &head)
    };
    let (head, _) = blob("a", "none");
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(head.contains("scope=\"repository:a:pull\""), "{head}");
    let token = "GET /token?service=testkit&scope=repository%3Aa%3Apull HTTP/1.1";
    assert!(ask(&registry, token).0.starts_with("HTTP/1.1 401 "));
    let (_, answer) = ask(
        &registry,
        &format!("{token}\r\nAuthorization: Basic bWU6aHVzaA=="),
    );
    assert_eq!(answer, br#"{"expires_in":300,"token":"token-1"}"#);
    assert_eq!(blob("a", "token-1").1, b"abc");
    assert!(blob("b", "token-1").0.starts_with("HTTP/1.1 401 "));
    registry.expire_tokens();
    assert!(blob("a", "token-1").0.starts_with("HTTP/1.1 401 "));
}
