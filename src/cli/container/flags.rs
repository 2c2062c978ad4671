//! What may be typed for `run` and `create`, as in `docker run`.

use super::value;
use clap::Args;
use std::path::PathBuf;

/// Everything that describes a new container.
#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Image (or, with --rootfs, the program), then the command and its arguments
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "IMAGE [COMMAND [ARG...]]"
    )]
    pub(super) words: Vec<String>,
    /// Directory to use as root filesystem instead of an image
    #[arg(long, value_name = "DIR")]
    pub(super) rootfs: Option<PathBuf>,
    /// Name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Environment variable; without value: this command's own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// File with environment variables, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<PathBuf>,
    /// Bind mount or volume: SOURCE:TARGET[:ro]
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]")]
    pub(super) volume: Vec<String>,
    /// Mount in long form: type=bind|volume|tmpfs,source=…,target=…[,readonly]
    #[arg(long, value_name = "KEY=VALUE,…")]
    pub(super) mount: Vec<String>,
    /// Memory at a path: TARGET[:size=64m,mode=1777,…]
    #[arg(long, value_name = "TARGET[:OPTIONS]")]
    pub(super) tmpfs: Vec<String>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(super) workdir: Option<String>,
    /// User, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
    /// Program, instead of the image's
    #[arg(long, value_name = "PROGRAM")]
    pub(super) entrypoint: Option<String>,
    /// Host name
    #[arg(long, value_name = "NAME")]
    pub(super) hostname: Option<String>,
    /// NIS domain name
    #[arg(long, value_name = "NAME")]
    pub(super) domainname: Option<String>,
    /// Network: bridge, none, host, container:NAME, or one made by `network create` (repeatable); bridge unless --rootfs
    #[arg(long, alias = "net", value_name = "NETWORK")]
    pub(super) network: Vec<String>,
    /// One more name on its networks
    #[arg(long, alias = "net-alias", value_name = "NAME")]
    pub(super) network_alias: Vec<String>,
    /// IPv4 address on its network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip: Option<std::net::Ipv4Addr>,
    /// IPv6 address on its network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) ip6: Option<std::net::Ipv6Addr>,
    /// MAC address on its network
    #[arg(long, value_name = "ADDRESS")]
    pub(super) mac_address: Option<String>,
    /// Port of the host that leads to it: [ADDRESS:][HOST:]PORT[/udp]
    #[arg(short, long, value_name = "[ADDRESS:][HOST:]PORT[/PROTOCOL]")]
    pub(super) publish: Vec<String>,
    /// Publish every port its image names, each at a free port of the host
    #[arg(short = 'P', long)]
    pub(super) publish_all: bool,
    /// Processes: host or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub(super) pid: String,
    /// IPC: private, none, host, shareable or container:NAME
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub(super) ipc: String,
    /// Host name space: host
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub(super) uts: String,
    /// cgroup view: private or host
    #[arg(long, value_name = "MODE", default_value = "private")]
    pub(super) cgroupns: String,
    /// Root filesystem that cannot be written
    #[arg(long)]
    pub(super) read_only: bool,
    /// Memory limit
    #[arg(short, long, value_name = "BYTES", value_parser = value::bytes)]
    pub(super) memory: Option<u64>,
    /// Soft memory limit
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub(super) memory_reservation: Option<u64>,
    /// Memory plus swap; -1: unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = value::bytes_or_unlimited, allow_hyphen_values = true)]
    pub(super) memory_swap: Option<i64>,
    /// Processors: 1.5
    #[arg(long, value_name = "NUMBER", value_parser = value::nano_cpus)]
    pub(super) cpus: Option<u64>,
    /// Relative weight of processor time
    #[arg(short, long, value_name = "WEIGHT")]
    pub(super) cpu_shares: Option<u64>,
    /// Microseconds of processor time per period
    #[arg(long, value_name = "MICROSECONDS", allow_hyphen_values = true)]
    pub(super) cpu_quota: Option<i64>,
    /// Microseconds of a period
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_period: Option<u64>,
    /// Processors allowed: 0-3,5
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes allowed
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// Most processes; -1: no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(super) pids_limit: Option<i64>,
    /// Never kill for memory
    #[arg(long)]
    pub(super) oom_kill_disable: bool,
    /// Out-of-memory score, from -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_hyphen_values = true)]
    pub(super) oom_score_adj: Option<i32>,
    /// Give a capability
    #[arg(long, value_name = "NAME")]
    pub(super) cap_add: Vec<String>,
    /// Take a capability away
    #[arg(long, value_name = "NAME")]
    pub(super) cap_drop: Vec<String>,
    /// Give everything: all capabilities and devices, no confinement
    #[arg(long)]
    pub(super) privileged: bool,
    /// seccomp=unconfined|FILE, no-new-privileges[=false]
    #[arg(long, value_name = "OPTION")]
    pub(super) security_opt: Vec<String>,
    /// Limit of processes: NAME=SOFT[:HARD]
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = value::ulimit)]
    pub(super) ulimit: Vec<(String, (u64, u64))>,
    /// Kernel parameter of the container's namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = value::pair)]
    pub(super) sysctl: Vec<(String, String)>,
    /// Device of the host: SOURCE[:TARGET[:rwm]]
    #[arg(long, value_name = "SOURCE[:TARGET[:PERMISSIONS]]")]
    pub(super) device: Vec<String>,
    /// Rule of the device cgroup: c 1:3 rwm
    #[arg(long, value_name = "RULE")]
    pub(super) device_cgroup_rule: Vec<String>,
    /// Parent cgroup
    #[arg(long, value_name = "PATH")]
    pub(super) cgroup_parent: Option<String>,
    /// Run a reaping init as process 1
    #[arg(long)]
    pub(super) init: bool,
    /// Signal that stops it
    #[arg(long, value_name = "SIGNAL", value_parser = value::signal)]
    pub(super) stop_signal: Option<i32>,
    /// Seconds between the stop signal and the kill; -1: for ever
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(super) stop_timeout: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = value::bytes)]
    pub(super) shm_size: Option<u64>,
    /// Label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = value::pair)]
    pub(super) label: Vec<(String, String)>,
    /// Additional group
    #[arg(long, value_name = "GROUP")]
    pub(super) group_add: Vec<String>,
    /// Line for /etc/hosts: NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub(super) add_host: Vec<String>,
    /// Name server
    #[arg(long, value_name = "ADDRESS")]
    pub(super) dns: Vec<String>,
    /// Search domain
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,
    /// Resolver option
    #[arg(long, value_name = "OPTION")]
    pub(super) dns_option: Vec<String>,
    /// Log option: max-size=10m, max-file=3
    #[arg(long, value_name = "KEY=VALUE", value_parser = value::pair)]
    pub(super) log_opt: Vec<(String, String)>,
    /// Write the container's id to this file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,
}
