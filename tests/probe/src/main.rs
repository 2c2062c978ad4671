//! A static payload for tests: reports from inside a container what it sees.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
};

/// `probe`: its process id. `probe unix-say SOCKET TEXT`: what a unix socket answers to a text.
fn main() -> std::io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["unix-say", socket, text] = words.as_slice() {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(text.as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        return std::io::stdout().write_all(&answer);
    }
    println!("pid {}", std::process::id());
    Ok(())
}
