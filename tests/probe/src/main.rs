//! A static payload for tests: reports from inside a container what it sees.

fn main() {
    println!("pid {}", std::process::id());
}
