//! A network between a client and a server: slow, and one that resets connections.
//!
//! It passes TCP on, whatever that carries. Both directions are held to a rate of their own, which all
//! connections share. What passes on a connection is thought of as segments; each is hit by a reset
//! with a given probability, somewhere within it, so that large bodies meet many and small ones few. A reset
//! is a real one (`RST`): both sides lose what was under way. Which segments of the n-th connection are hit
//! depends on the seed alone.
//!
//! Two threads serve a connection; all end when the [`Proxy`] is dropped.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Bytes that pass at once.
const PIECE: usize = 16 << 10;

/// What a network is like.
#[derive(Debug, Clone, Copy)]
pub struct Conditions {
    /// Bits a second, in each direction; `None` for as fast as it goes.
    pub bits_a_second: Option<u64>,
    /// How likely a segment is to meet a reset: 0.01 is one in a hundred.
    pub reset: f64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// What chance begins with.
    pub seed: u64,
}

/// What passed a proxy, counted when it was handed to the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Bytes from the server to clients, heads of answers and all.
    pub to_client: u64,
    /// Bytes from clients to the server.
    pub to_server: u64,
    /// Connections.
    pub connections: u64,
    /// Connections that were reset.
    pub resets: u64,
}

/// A running proxy. It stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: String,
    conditions: Conditions,
    stopped: AtomicBool,
    to_client: Lane,
    to_server: Lane,
    connections: AtomicU64,
    resets: AtomicU64,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

/// One direction, of all connections.
#[derive(Debug)]
struct Lane {
    passed: AtomicU64,
    /// When it is free for the next piece.
    free: Mutex<Instant>,
}

/// One direction of one connection.
struct Way {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    chance: Chance,
}

impl Proxy {
    /// Starts a network between whoever connects to [`Self::host`] and a server (`host:port`).
    pub fn before(server: &str, conditions: Conditions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            server: server.to_owned(),
            conditions,
            stopped: AtomicBool::new(false),
            to_client: Lane::new(),
            to_server: Lane::new(),
            connections: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let for_thread = Arc::clone(&shared);
        std::thread::spawn(move || for_thread.accept(&listener));
        Self { address, shared }
    }

    /// Host and port where clients connect: the registry's name in references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        Passed {
            to_client: self.shared.to_client.passed.load(Ordering::SeqCst),
            to_server: self.shared.to_server.passed.load(Ordering::SeqCst),
            connections: self.shared.connections.load(Ordering::SeqCst),
            resets: self.shared.resets.load(Ordering::SeqCst),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then sees that it should end.
        drop(TcpStream::connect(self.address));
        for stream in self
            .shared
            .open()
            .drain(..)
            .filter_map(|open| open.upgrade())
        {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl Shared {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Weak<TcpStream>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming() {
            if self.stopped.load(Ordering::SeqCst) {
                return;
            }
            // A server that is not there: the client sees its connection end.
            if let (Ok(client), Ok(server)) = (client, TcpStream::connect(&self.server)) {
                self.connect(client, server);
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        // Without it small answers wait for each other; where it can't be set they do.
        drop((client.set_nodelay(true), server.set_nodelay(true)));
        let (client, server) = (Arc::new(client), Arc::new(server));
        {
            let mut open = self.open();
            open.retain(|stream| stream.strong_count() > 0);
            open.extend([Arc::downgrade(&client), Arc::downgrade(&server)]);
        }
        let chance = |direction| Chance::new(&self.conditions, 2 * number + direction);
        let down = Way {
            from: Arc::clone(&server),
            to: Arc::clone(&client),
            chance: chance(0),
        };
        let up = Way {
            from: client,
            to: server,
            chance: chance(1),
        };
        for (way, is_down) in [(down, true), (up, false)] {
            let shared = Arc::clone(self);
            std::thread::spawn(move || {
                let lane = if is_down {
                    &shared.to_client
                } else {
                    &shared.to_server
                };
                shared.pass(way, lane);
            });
        }
    }

    fn pass(&self, mut way: Way, lane: &Lane) {
        let mut buffer = vec![0; PIECE];
        while let Ok(read @ 1..) = (&*way.from).read(&mut buffer) {
            let (now, is_hit) = way.chance.next(read);
            lane.wait(now, self.conditions.bits_a_second);
            if (&*way.to).write_all(&buffer[..now]).is_err() {
                break;
            }
            lane.passed.fetch_add(now as u64, Ordering::SeqCst);
            if is_hit {
                self.resets.fetch_add(1, Ordering::SeqCst);
                return way.reset();
            }
        }
        // The other side may have more to say; it, too, ends when this one is closed.
        drop(way.to.shutdown(Shutdown::Write));
    }
}

impl Way {
    /// Ends the connection on both sides, without a goodbye.
    fn reset(self) {
        for stream in [self.from, self.to] {
            rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))
                .expect("a TCP socket can be told not to linger");
            // Only wakes the thread of the other direction. When that lets go of the socket it is closed.
            drop(stream.shutdown(Shutdown::Read));
        }
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            passed: AtomicU64::new(0),
            free: Mutex::new(Instant::now()),
        }
    }

    /// Waits until so many bytes have taken their time.
    fn wait(&self, bytes: usize, bits_a_second: Option<u64>) {
        let Some(rate) = bits_a_second else { return };
        let nanos = 8 * bytes as u64 * 1_000_000_000 / rate.max(1);
        let until = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            *free = (*free).max(Instant::now()) + Duration::from_nanos(nanos);
            *free
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}

/// Where resets fall on one direction of a connection.
struct Chance {
    state: u64,
    reset: f64,
    segment: u64,
    /// Bytes until the segment ends.
    left: u64,
    /// Bytes until the reset, if there is one in this segment.
    hit: Option<u64>,
}

impl Chance {
    fn new(conditions: &Conditions, number: u64) -> Self {
        Self {
            state: conditions.seed ^ number.wrapping_mul(0xd134_2543_de82_ef95),
            reset: conditions.reset,
            segment: conditions.segment_bytes.max(1),
            left: 0,
            hit: None,
        }
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// How many of so many bytes pass, and whether a reset follows them.
    fn next(&mut self, bytes: usize) -> (usize, bool) {
        let mut passed = 0;
        while passed < bytes {
            if self.left == 0 {
                self.left = self.segment;
                let drawn = (self.draw() >> 11) as f64 / (1_u64 << 53) as f64;
                self.hit = (drawn < self.reset).then(|| self.draw() % self.segment);
            }
            let end = self.hit.unwrap_or(self.left);
            let step = usize::try_from(end).map_or(bytes - passed, |end| end.min(bytes - passed));
            passed += step;
            self.left -= step as u64;
            if let Some(hit) = &mut self.hit {
                *hit -= step as u64;
                if *hit == 0 {
                    return (passed, true);
                }
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(reset: f64, seed: u64) -> Chance {
        let conditions = Conditions {
            bits_a_second: None,
            reset,
            segment_bytes: 1000,
            seed,
        };
        Chance::new(&conditions, 0)
    }

    /// After how many bytes the connection is reset.
    fn first_reset(mut chance: Chance, piece: usize) -> usize {
        let mut passed = 0;
        loop {
            let (bytes, is_hit) = chance.next(piece);
            passed += bytes;
            if is_hit {
                return passed;
            }
        }
    }

    #[test]
    fn resets_depend_on_the_seed_and_not_on_how_bytes_come() {
        for seed in 0..20 {
            let at = |piece| first_reset(chance(0.2, seed), piece);
            assert_eq!(at(1), at(777));
            assert_eq!(at(1), at(5000));
        }
        assert_ne!(
            first_reset(chance(0.2, 1), 100),
            first_reset(chance(0.2, 2), 100)
        );
    }

    #[test]
    fn as_many_segments_are_hit_as_were_asked_for() {
        let bytes: usize = (0..1000)
            .map(|seed| first_reset(chance(0.1, seed), 100))
            .sum();
        // One segment in ten: every connection lives for nine and a half on average.
        assert!((8_500_000..10_500_000).contains(&bytes), "{bytes}");
        assert_eq!(chance(0.0, 1).next(1 << 20), (1 << 20, false));
    }
}
