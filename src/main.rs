//! The `banyan` command: role check, then the command line.

fn main() -> std::process::ExitCode {
    // A hidden role (shim, init, exec helper) must start before any thread or runtime exists.
    if let Some(status) = banyan_runtime::role::run() {
        return std::process::ExitCode::from(status);
    }
    banyan::cli::main()
}
