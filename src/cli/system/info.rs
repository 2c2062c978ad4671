//! `banyan system info`: what this banyan is and where it keeps things.

use crate::cli::{Exit, Global, Outcome, context, print};
use banyan_runtime::{cgroup::Layout, image::Store};
use clap::Args;
use serde_json::json;
use std::fs;

/// `info`.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// `text` or `json`
    #[arg(long, default_value = "text", value_parser = ["text", "json"])]
    format: String,
}

impl Info {
    #[expect(clippy::unnecessary_wraps, reason = "commands of a group have one shape")]
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let roots = context::roots(global);
        let count = |folder: std::path::PathBuf| fs::read_dir(folder).into_iter().flatten().count();
        let images = Store::open(&roots.images())
            .and_then(|store| store.records())
            .map_or(0, |list| list.len());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cgroups = Layout::detect().map_or_else(
            |error| format!("unusable: {error}"),
            |layout| super::cgroups(&layout.view()),
        );
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kilobytes| kilobytes * 1024);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let value = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Root": roots.state,
            "Run": roots.run,
            "Projects": count(roots.projects()),
            "Containers": count(roots.containers()),
            "Volumes": count(roots.volumes()),
            "Images": images,
            "KernelVersion": kernel.trim(),
            "Cgroups": cgroups,
            "NCPU": processors,
            "MemTotal": memory,
            "Rootless": !banyan_runtime::sys::host::is_root(),
        });
        if self.format == "json" {
            print(&format!("{value}\n"));
        } else {
            let mut text = String::new();
            for (key, value) in value.as_object().into_iter().flatten() {
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                text += &format!("{key:<14} {shown}\n");
            }
            print(&text);
        }
        Ok(Exit::Success)
    }
}
