//! A static payload for tests: reports from inside a container what it sees and what it may do, one fact a line.
//!
//! `facts` ([`facts`]), `calls` ([`calls`]), `open PATH…` and `node PATH c|b MAJOR MINOR` ([`devices`]), `eat MIB`, `fork MOST`,
//! `throttled`, `wait` ([`limits`]), `unix-say SOCKET TEXT`. It judges nothing: the tests do.

mod calls;
mod devices;
mod facts;
mod limits;

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["facts"] => facts::print(),
        ["calls"] => calls::print(),
        ["open", paths @ ..] => devices::open(paths),
        ["node", path, kind, major, minor] => devices::node(path, kind, number(major)?, number(minor)?),
        ["eat", mebibytes] => limits::eat(number(mebibytes)?),
        ["fork", most] => limits::fork(number(most)?),
        ["throttled"] => limits::throttled(),
        ["wait"] => limits::wait(),
        ["unix-say", socket, text] => unix_say(socket, text),
        _ => Err(std::io::Error::other(format!(
            "`{}` is nothing I do",
            words.join(" ")
        ))),
    }
}

fn number(text: &str) -> std::io::Result<u32> {
    text.parse().map_err(std::io::Error::other)
}

/// What a unix socket answers to a text.
fn unix_say(socket: &str, text: &str) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    std::io::stdout().write_all(&answer)
}
