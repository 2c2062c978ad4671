//! `kill`, `delete`, `update`.

use super::{Context, Failed, Outcome};
use banyan_runtime::{
    oci::{self, Status, spec},
    sys::host::signal_number,
};
use clap::Args;
use std::{io::Read, path::PathBuf};

/// `kill`.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// To all processes of the container
    #[arg(short, long)]
    all: bool,
    /// Name of the container
    id: String,
    /// Signal, by name or number
    #[arg(default_value = "SIGTERM")]
    signal: String,
}

/// `delete`.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Kill it if it runs
    #[arg(short, long)]
    force: bool,
    /// Name of the container
    id: String,
}

/// `update`.
#[derive(Debug, Args)]
pub(super) struct Update {
    /// File with `linux.resources`; - is standard input
    #[arg(short, long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Memory limit, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory: Option<i64>,
    /// Soft memory limit, bytes
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_reservation: Option<i64>,
    /// Memory plus swap, bytes; -1: unlimited
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Microseconds of processor time per period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_quota: Option<i64>,
    /// Microseconds of a period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Relative weight of processor time
    #[arg(long, value_name = "WEIGHT")]
    cpu_share: Option<u64>,
    /// Microseconds of a real-time period
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Microseconds of real-time scheduling per period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    cpu_rt_runtime: Option<i64>,
    /// Idle scheduling
    #[arg(long, value_name = "0|1")]
    cpu_idle: Option<i64>,
    /// Processors allowed
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes allowed
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Most processes; -1: no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Relative weight of block I/O
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u64>,
    /// Name of the container
    id: String,
}

impl Kill {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let signal = signal_number(&self.signal)
            .ok_or_else(|| Failed::new(format!("`{}` is no signal", self.signal)))?;
        context.containers.kill(&self.id, signal, self.all)?;
        Ok(0)
    }
}

impl Delete {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        context.containers.delete(&self.id, self.force)?;
        Ok(0)
    }
}

impl Update {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let allowed = [Status::Created, Status::Running, Status::Paused];
        let container = context.containers.living(&self.id, &allowed, "update")?;
        let written = self.written()?;
        let mut limits = oci::resources(&written).map_err(|error| Failed::caused("", &error))?;
        let cpu = written.cpu.unwrap_or_default();
        // Swap follows memory only where it is said to.
        limits.memory_swap = written
            .memory
            .and_then(|memory| memory.swap)
            .filter(|swap| *swap != 0);
        limits.cpu_idle = cpu.idle;
        container
            .update(&limits)
            .map_err(|error| Failed::caused("cannot change the limits", &error))?;
        Ok(0)
    }

    fn written(&self) -> Result<spec::Resources, Failed> {
        let mut written: spec::Resources = match &self.resources {
            None => spec::Resources::default(),
            Some(path) if path.as_os_str() == "-" => {
                let mut bytes = Vec::new();
                std::io::stdin()
                    .read_to_end(&mut bytes)
                    .map_err(|error| Failed::caused("cannot read the limits", &error))?;
                oci::parse(&bytes).map_err(|error| Failed::caused("cannot read the limits", &error))?
            }
            Some(path) => oci::read(path).map_err(|error| Failed::caused("", &error))?,
        };
        let memory = written.memory.get_or_insert_default();
        memory.limit = self.memory.or(memory.limit);
        memory.reservation = self.memory_reservation.or(memory.reservation);
        memory.swap = self.memory_swap.or(memory.swap);
        let cpu = written.cpu.get_or_insert_default();
        cpu.quota = self.cpu_quota.or(cpu.quota);
        cpu.period = self.cpu_period.or(cpu.period);
        cpu.burst = self.cpu_burst.or(cpu.burst);
        cpu.shares = self.cpu_share.or(cpu.shares);
        cpu.realtime_period = self.cpu_rt_period.or(cpu.realtime_period);
        cpu.realtime_runtime = self.cpu_rt_runtime.or(cpu.realtime_runtime);
        cpu.idle = self.cpu_idle.or(cpu.idle);
        cpu.cpus = self.cpuset_cpus.clone().or(cpu.cpus.take());
        cpu.mems = self.cpuset_mems.clone().or(cpu.mems.take());
        if let Some(limit) = self.pids_limit {
            written.pids = Some(spec::Pids { limit: Some(limit) });
        }
        if let Some(weight) = self.blkio_weight {
            written.block_io.get_or_insert_default().weight = Some(weight);
        }
        Ok(written)
    }
}
