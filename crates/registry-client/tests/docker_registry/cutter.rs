//! A network that breaks: what passes through it is cut off at given places.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Passes connections on to a server. It ends with the test's process.
pub(crate) struct Cutter {
    pub(crate) host: String,
}

impl Cutter {
    /// Of the connections that send so many bytes, the first is cut there, and so on.
    pub(crate) fn before(server: &str, cuts: &[usize]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let cuts = Arc::new(Mutex::new(cuts.to_vec()));
        let server = server.to_owned();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&server).unwrap());
                let (back, forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let cuts = Arc::clone(&cuts);
                std::thread::spawn(move || forward(client, &server, &cuts));
                std::thread::spawn(move || {
                    // Either side may be gone already.
                    drop(std::io::copy(&mut &back, &mut &forth));
                    drop(forth.shutdown(Shutdown::Both));
                });
            }
        });
        Self { host }
    }
}

fn forward(mut client: TcpStream, mut server: &TcpStream, cuts: &Mutex<Vec<usize>>) {
    let mut buffer = vec![0; 16 << 10];
    let mut passed = 0;
    while let Ok(read @ 1..) = client.read(&mut buffer) {
        if server.write_all(&buffer[..read]).is_err() {
            break;
        }
        passed += read;
        let mut cuts = cuts.lock().unwrap();
        if cuts.first().is_some_and(|cut| passed >= *cut) {
            cuts.remove(0);
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}
