//! Links the `banyan` binary statically and at a fixed address.
//!
//! Why static: the binary is bind-mounted into containers as their `init`, where no shared library of the host exists.
//! Why not position-independent: relocations would dirty private pages in every shim (see `docs/architecture.md`).
//!
//! rustc links `-lc` and `-lgcc_s` dynamically for the gnu target unless `crt-static` is set, and `crt-static` cannot
//! be set for one crate only (it breaks procedural macros). So the linker is shown small linker scripts under the
//! shared libraries' names, which name the static archives.

use std::{env, fs, path::Path};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_gnu_linux = env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux")
        && env::var("CARGO_CFG_TARGET_ENV").as_deref() == Ok("gnu");
    if !is_gnu_linux {
        return;
    }
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    let scripts = [
        ("libgcc_s.so", "GROUP ( libgcc_eh.a libgcc.a )"),
        ("libc.so", "GROUP ( libc.a libgcc_eh.a libgcc.a )"),
        ("libm.so", "GROUP ( libm.a )"),
    ];
    for (name, script) in scripts {
        fs::write(Path::new(&out).join(name), format!("{script}\n")).expect("OUT_DIR is writable");
    }
    for argument in [format!("-L{out}"), "-static".into(), "-no-pie".into()] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
}
