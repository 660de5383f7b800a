//! A slow network that resets connections, for measurements: `proxy HOST:PORT BITS_A_SECOND RESET SEGMENT_BYTES
//! SEED`. Prints where to connect; when standard input ends, prints what passed and ends.

#![expect(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;

use lapstrake_testkit::proxy::{Conditions, Proxy};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [server, rate, reset, segment, seed] = arguments.as_slice() else {
        return Err(
            "usage: proxy HOST:PORT BITS_A_SECOND (0: any) RESET SEGMENT_BYTES SEED".into(),
        );
    };
    let conditions = Conditions {
        bits_a_second: Some(rate.parse()?).filter(|rate| *rate > 0),
        reset: reset.parse()?,
        segment_bytes: segment.parse()?,
        seed: seed.parse()?,
    };
    let proxy = Proxy::before(server, conditions);
    println!("{}", proxy.host());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    println!("{:?}", proxy.passed());
    Ok(())
}
