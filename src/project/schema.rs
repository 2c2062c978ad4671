//! Every key of a compose file: what it holds, and how far it is honoured.
//!
//! One table serves three masters: `check` (types, unknown keys), `emit` (what `config` prints and leaves out), and the
//! list in `docs/project-file.md`, which a test compares with it. The keys are those of the Compose Specification
//! (`schema/compose-spec.json`); the tables are sorted by name.

/// What a value may be. After `canonical`, each is in the form that the comment gives last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// Anything (`x-…`).
    Any,
    /// Text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text or a number; text.
    TextOrNumber,
    /// Text or a boolean, kept as it is (`provenance`).
    TextOrBool,
    /// A whole number, also as text.
    Int,
    /// A number, also as text.
    Float,
    /// A boolean, also as text.
    Bool,
    /// A size: a number or `50m`; a number.
    Bytes,
    /// `1m30s`; text as Go writes it.
    Duration,
    /// A list.
    List(&'static Shape),
    /// Text or a list of texts; a list.
    Texts,
    /// Texts or numbers; a list of texts.
    TextsOrNumbers,
    /// A mapping with free keys.
    Map(&'static Shape),
    /// A list of `KEY=value` or a mapping; a mapping whose values are text or null.
    Pairs,
    /// The same, null becomes empty text.
    Labels,
    /// The same, but only a mapping is allowed (`driver_opts`).
    Options,
    /// A mapping with known keys.
    Record(&'static Record),
    /// The same, or null.
    RecordOrNull(&'static Record),
    /// Text for the record's key of that name, or the record; a record.
    Short(&'static str, &'static Record),
    /// `command`: null, text (split), or a list; null or a list.
    Command,
    /// `healthcheck.test`: text or a list; a list.
    Test,
    /// `ports`; a list of `PORT`.
    Ports,
    /// `volumes` of a service; a list of `MOUNT`.
    Mounts,
    /// `env_file`; a list of `ENV_FILE`.
    EnvFiles,
    /// `depends_on`: a list of names or a mapping; a mapping of `DEPENDENCY`.
    DependsOn,
    /// `networks` or `models` of a service: a list of names, or a mapping to these or null; a mapping.
    Named(&'static Record),
    /// `ulimits.X`: a number or `ULIMIT`.
    Ulimit,
    /// `extra_hosts`: a list of `name=address`, or a mapping to one or several addresses; a sorted list `name=address`.
    Hosts,
    /// `build.ssh`: a list of `id[=path]` or a mapping; a mapping.
    Ssh,
    /// `external`: a boolean or `{name: …}`; a boolean.
    External,
    /// `count` of a device request: `all` or a number; text.
    Count,
    /// `gpus`: `all` or a list of device requests; a list.
    Gpus,
    /// `include`: a list of paths or records; handled before the rest.
    Include,
    /// `devices`: a list of `source:target:rwm` or `DEVICE`; a list of `DEVICE`.
    Devices,
}

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Record {
    /// What it describes, for messages: "service", "port".
    pub(crate) what: &'static str,
    pub(crate) fields: &'static [Field],
    /// Keys without which it means nothing.
    pub(crate) required: &'static [&'static str],
}

/// A known key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) print: Print,
    pub(crate) support: Support,
}

/// When `config` prints a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Print {
    /// Unless it is zero, false or empty.
    Filled,
    /// Whenever it is written.
    Written,
    /// Always; null, or an empty mapping for records, when it is not written.
    Always,
    /// Never: the value was used up while loading.
    Never,
}

/// How far a key is honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    Full,
    /// Accepted with a warning that gives this reason.
    Ignored(&'static str),
    /// Accepted silently: it means nothing for one machine, and nobody expects it to.
    Quiet,
}

impl Record {
    pub(crate) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields
            .binary_search_by(|field| field.key.cmp(key))
            .ok()
            .map(|i| &self.fields[i])
    }
}

use Shape::{
    Any, Bool, Bytes, Command, Count, DependsOn, Devices, Duration, EnvFiles, External, Float, Gpus, Hosts,
    Include, Int, Labels, List, Map, Mounts, Named, Options, Pairs, Ports, RecordOrNull, Short, Ssh, Test,
    Text, TextOrBool, TextOrNumber, Texts, TextsOrNumbers, Ulimit, Word,
};

const fn key(key: &'static str, shape: Shape) -> Field {
    Field {
        key,
        shape,
        print: Print::Filled,
        support: Support::Full,
    }
}

impl Field {
    const fn written(self) -> Self {
        Self {
            print: Print::Written,
            ..self
        }
    }
    const fn always(self) -> Self {
        Self {
            print: Print::Always,
            ..self
        }
    }
    const fn never(self) -> Self {
        Self {
            print: Print::Never,
            ..self
        }
    }
    const fn ignored(self, reason: &'static str) -> Self {
        Self {
            support: Support::Ignored(reason),
            ..self
        }
    }
    const fn quiet(self) -> Self {
        Self {
            support: Support::Quiet,
            ..self
        }
    }
}

const WINDOWS: &str = "it belongs to Windows containers";
const CLUSTER: &str = "it belongs to clusters; banyan runs on one machine";
const MODELS: &str = "AI models are not supported";
const GPU: &str = "devices of this kind are not supported; pass device files with `devices`";

macro_rules! record {
    ($(#[$doc:meta])* $name:ident, $what:literal, [$($required:literal),*], [$($field:expr),* $(,)?]) => {
        $(#[$doc])*
        pub(crate) static $name: Record =
            Record { what: $what, fields: &[$($field),*], required: &[$($required),*] };
    };
}

record!(
    /// The top level.
    PROJECT, "project", [], [
    key("configs", Map(&RecordOrNull(&CONFIG))),
    key("include", Include).never(),
    key("models", Map(&RecordOrNull(&MODEL))).ignored(MODELS),
    key("name", Text),
    key("networks", Map(&RecordOrNull(&NETWORK))),
    key("secrets", Map(&RecordOrNull(&SECRET))),
    key("services", Map(&RecordOrNull(&SERVICE))).always(),
    key("version", Text).never(),
    key("volumes", Map(&RecordOrNull(&VOLUME))),
]);

record!(
    /// A service.
    SERVICE, "service", [], [
    key("add", Options).never(),
    key("after_script", Text).never(),
    key("annotations", Labels),
    key("apt_get", List(&Text)).never(),
    key("attach", Bool).written(),
    key("before_script", Text).never(),
    key("blkio_config", Shape::Record(&BLKIO)),
    key("build", Short("context", &BUILD)).written(),
    key("cap_add", List(&Text)),
    key("cap_drop", List(&Text)),
    key("cgroup", Word(&["host", "private"])),
    key("cgroup_parent", Text),
    key("command", Command).always(),
    key("configs", List(&Short("source", &GRANT))),
    key("container_name", Text),
    key("cpu_count", Int).ignored(WINDOWS),
    key("cpu_percent", Float).ignored(WINDOWS),
    key("cpu_period", Int),
    key("cpu_quota", Int),
    key("cpu_rt_period", Int),
    key("cpu_rt_runtime", Int),
    key("cpu_shares", Int),
    key("cpus", Float),
    key("cpuset", Text),
    key("credential_spec", Shape::Record(&CREDENTIALS)).written().ignored(WINDOWS),
    key("custom", Map(&Any)).never(),
    key("depends_on", DependsOn),
    key("deploy", RecordOrNull(&DEPLOY)).written(),
    key("develop", RecordOrNull(&DEVELOP)).written(),
    key("device_cgroup_rules", List(&Text)),
    key("devices", Devices),
    key("dns", Texts),
    key("dns_opt", List(&Text)),
    key("dns_search", Texts),
    key("domainname", Text),
    key("entrypoint", Command).always(),
    key("env_file", EnvFiles),
    key("environment", Pairs),
    key("expose", TextsOrNumbers),
    key("extends", Short("service", &EXTENDS)),
    key("external_links", List(&Text)),
    key("extra_hosts", Hosts),
    key("gpus", Gpus).ignored(GPU),
    key("group_add", TextsOrNumbers),
    key("healthcheck", Shape::Record(&HEALTHCHECK)).written(),
    key("hostname", Text),
    key("image", Text),
    key("init", Bool).written(),
    key("ipc", Text),
    key("isolation", Text).ignored(WINDOWS),
    key("label_file", Texts).never(),
    key("labels", Labels),
    key("links", List(&Text)),
    key("logging", Shape::Record(&LOGGING)).written(),
    key("mac_address", Text),
    key("mem_limit", Bytes),
    key("mem_reservation", Bytes),
    key("mem_swappiness", Bytes),
    key("memswap_limit", Bytes),
    key("models", Named(&MODEL_USE)).ignored(MODELS),
    key("network_mode", Text),
    key("networks", Named(&ATTACHMENT)),
    key("oom_kill_disable", Bool),
    key("oom_score_adj", Int),
    key("path", Text).never(),
    key("pid", Text),
    key("pids_limit", Int),
    key("platform", Text),
    key("ports", Ports),
    key("post_start", List(&Shape::Record(&HOOK))),
    key("pre_start", List(&Shape::Record(&INIT_HOOK))),
    key("pre_stop", List(&Shape::Record(&HOOK))),
    key("privileged", Bool),
    key("profiles", List(&Text)),
    key("provider", Shape::Record(&PROVIDER)).written(),
    key("pull_policy", Text),
    key("pull_refresh_after", Duration).ignored("say `pull_policy: every_…` instead"),
    key("read_only", Bool),
    key("restart", Text),
    key("runtime", Text).ignored("banyan is the runtime"),
    key("scale", Int).written(),
    key("secrets", List(&Short("source", &GRANT))),
    key("security_opt", List(&Text)),
    key("shm_size", Bytes),
    key("stdin_open", Bool),
    key("stop_grace_period", Duration).written(),
    key("stop_signal", Text),
    key("storage_opt", Options).ignored("the files of a container have no limit of their own"),
    key("sysctls", Labels),
    key("template", Text).never(),
    key("tmpfs", Texts),
    key("tty", Bool),
    key("type", Text).never(),
    key("ulimits", Map(&Ulimit)),
    key("use_api_socket", Bool).ignored("there is no engine socket to hand on"),
    key("user", Text),
    key("userns_mode", Text),
    key("uts", Text),
    key("volumes", Mounts),
    key("volumes_from", List(&Text)),
    key("working_dir", Text),
]);

record!(
    BUILD,
    "build",
    [],
    [
        key("additional_contexts", Labels),
        key("args", Pairs),
        key("cache_from", Texts).ignored("banyan keeps one cache, on this machine"),
        key("cache_to", Texts).ignored("banyan keeps one cache, on this machine"),
        key("context", Text),
        key("dockerfile", Text),
        key("dockerfile_inline", Text),
        key("entitlements", List(&Text)),
        key("extra_hosts", Hosts),
        key("isolation", Text).ignored(WINDOWS),
        key("labels", Labels),
        key("network", Text),
        key("no_cache", Bool),
        key("no_cache_filter", Texts).ignored("say `no_cache: true` instead"),
        key("platforms", Texts),
        key("privileged", Bool),
        key("provenance", TextOrBool).ignored("banyan writes no attestations"),
        key("pull", Bool),
        key("sbom", TextOrBool).ignored("banyan writes no attestations"),
        key("secrets", List(&Short("source", &GRANT))),
        key("shm_size", Bytes),
        key("ssh", Ssh),
        key("tags", Texts),
        key("target", Text),
        key("ulimits", Map(&Ulimit)).ignored("build steps run with the limits of banyan itself"),
    ]
);

record!(
    BLKIO,
    "blkio_config",
    [],
    [
        key("device_read_bps", List(&Shape::Record(&BLKIO_RATE))),
        key("device_read_iops", List(&Shape::Record(&BLKIO_RATE))),
        key("device_write_bps", List(&Shape::Record(&BLKIO_RATE))),
        key("device_write_iops", List(&Shape::Record(&BLKIO_RATE))),
        key("weight", Int),
        key("weight_device", List(&Shape::Record(&BLKIO_WEIGHT))),
    ]
);

record!(
    BLKIO_RATE,
    "device limit",
    ["path", "rate"],
    [key("path", Text).always(), key("rate", Bytes).always(),]
);

record!(
    BLKIO_WEIGHT,
    "device weight",
    ["path", "weight"],
    [key("path", Text).always(), key("weight", Int).always(),]
);

record!(
    CREDENTIALS,
    "credential_spec",
    [],
    [key("config", Text), key("file", Text), key("registry", Text),]
);

record!(
    /// One value of `depends_on`.
    DEPENDENCY, "dependency", ["condition"], [
    key("condition", Word(&["service_completed_successfully", "service_healthy", "service_started"])),
    key("required", Bool).always(),
    key("restart", Bool),
]);

record!(
    DEPLOY,
    "deploy",
    [],
    [
        key("endpoint_mode", Text).ignored(CLUSTER),
        key("labels", Labels),
        key("mode", Text),
        key("placement", Shape::Record(&PLACEMENT))
            .always()
            .ignored(CLUSTER),
        key("replicas", Int).written(),
        key("resources", Shape::Record(&RESOURCES)).always(),
        key("restart_policy", Shape::Record(&RESTART_POLICY)).written(),
        key("rollback_config", Shape::Record(&UPDATE))
            .written()
            .ignored(CLUSTER),
        key("update_config", Shape::Record(&UPDATE))
            .written()
            .ignored(CLUSTER),
    ]
);

record!(
    PLACEMENT,
    "placement",
    [],
    [
        key("constraints", List(&Text)),
        key("max_replicas_per_node", Int),
        key("preferences", List(&Shape::Record(&PREFERENCE))),
    ]
);

record!(PREFERENCE, "preference", [], [key("spread", Text)]);

record!(
    RESOURCES,
    "resources",
    [],
    [
        key("limits", Shape::Record(&LIMITS)).written(),
        key("reservations", Shape::Record(&RESERVATIONS)).written(),
    ]
);

record!(
    LIMITS,
    "limits",
    [],
    [key("cpus", Float), key("memory", Bytes), key("pids", Int)]
);

record!(
    RESERVATIONS,
    "reservations",
    [],
    [
        key("cpus", Float).ignored("nothing is reserved on one machine; `limits.cpus` is honoured"),
        key("devices", List(&Shape::Record(&DEVICE_REQUEST))).ignored(GPU),
        key("generic_resources", List(&Shape::Record(&GENERIC))).ignored(CLUSTER),
        key("memory", Bytes),
    ]
);

record!(
    DEVICE_REQUEST,
    "device request",
    [],
    [
        key("capabilities", List(&Text)),
        key("count", Count),
        key("device_ids", List(&Text)),
        key("driver", Text),
        key("options", Labels).never(),
    ]
);

record!(
    GENERIC,
    "generic resource",
    [],
    [key("discrete_resource_spec", Shape::Record(&DISCRETE)).written()]
);

record!(
    DISCRETE,
    "discrete_resource_spec",
    [],
    [key("kind", Text).always(), key("value", Int).always()]
);

record!(
    RESTART_POLICY,
    "restart_policy",
    [],
    [
        key("condition", Text),
        key("delay", Duration).written(),
        key("max_attempts", Int).written(),
        key("window", Duration).written(),
    ]
);

record!(
    UPDATE,
    "update_config",
    [],
    [
        key("delay", Duration),
        key("failure_action", Text),
        key("max_failure_ratio", Float),
        key("monitor", Duration),
        key("order", Word(&["start-first", "stop-first"])),
        key("parallelism", Int).written(),
    ]
);

record!(
    DEVELOP,
    "develop",
    [],
    [key("watch", List(&Shape::Record(&WATCH)))]
);

record!(
    WATCH,
    "watch rule",
    ["action", "path"],
    [
        key(
            "action",
            Word(&["rebuild", "restart", "sync", "sync+exec", "sync+restart"])
        )
        .always(),
        key("exec", Shape::Record(&HOOK)).always(),
        key("ignore", Texts),
        key("include", Texts),
        key("initial_sync", Bool),
        key("path", Text).always(),
        key("target", Text),
    ]
);

record!(
    /// One item of `env_file`.
    ENV_FILE, "env file", ["path"], [
    key("format", Word(&["raw"])),
    key("path", Text),
    key("required", Bool).written(),
]);

record!(
    EXTENDS,
    "extends",
    ["service"],
    [key("file", Text), key("service", Text)]
);

record!(
    HEALTHCHECK,
    "healthcheck",
    [],
    [
        key("disable", Bool),
        key("interval", Duration).written(),
        key("retries", Int).written(),
        key("start_interval", Duration).written(),
        key("start_period", Duration).written(),
        key("test", Test),
        key("timeout", Duration).written(),
    ]
);

record!(
    HOOK,
    "hook",
    ["command"],
    [
        key("command", Command).always(),
        key("environment", Pairs),
        key("privileged", Bool),
        key("user", Text),
        key("working_dir", Text),
    ]
);

record!(
    INIT_HOOK,
    "hook",
    [],
    [
        key("command", Command).always(),
        key("environment", Pairs),
        key("image", Text),
        key("per_replica", Bool),
        key("privileged", Bool),
        key("user", Text),
        key("working_dir", Text),
    ]
);

record!(
    LOGGING,
    "logging",
    [],
    [key("driver", Text), key("options", Options)]
);

record!(
    MODEL,
    "model",
    ["model"],
    [
        key("context_size", Int),
        key("model", Text),
        key("name", Text),
        key("runtime_flags", List(&Text)),
    ]
);

record!(
    MODEL_USE,
    "model",
    [],
    [key("endpoint_var", Text), key("model_var", Text)]
);

record!(
    PROVIDER,
    "provider",
    ["type"],
    [key("options", Map(&Any)), key("type", Text)]
);

record!(
    /// One value of a service's `networks`.
    ATTACHMENT, "network attachment", [], [
    key("aliases", List(&Text)),
    key("driver_opts", Options).ignored("an attachment has no options"),
    key("gw_priority", Int),
    key("interface_name", Text),
    key("ipv4_address", Text),
    key("ipv6_address", Text),
    key("link_local_ips", List(&Text)).ignored("a container has the addresses of its networks"),
    key("mac_address", Text),
    key("priority", Int),
]);

record!(
    /// One item of `ports`.
    PORT, "port", ["target"], [
    key("app_protocol", Text).quiet(),
    key("host_ip", Text),
    key("mode", Text).quiet(),
    key("name", Text).quiet(),
    key("protocol", Text),
    key("published", TextOrNumber),
    key("target", Int),
]);

record!(
    /// One item of a service's `volumes`.
    MOUNT, "mount", ["target", "type"], [
    key("bind", Shape::Record(&BIND)).written(),
    key("consistency", Text).quiet(),
    key("image", Shape::Record(&IMAGE_MOUNT)).written(),
    key("read_only", Bool),
    key("source", Text),
    key("target", Text),
    key("tmpfs", Shape::Record(&TMPFS)).written(),
    key("type", Word(&["bind", "cluster", "image", "npipe", "tmpfs", "volume"])),
    key("volume", Shape::Record(&VOLUME_MOUNT)).written(),
]);

record!(
    BIND,
    "bind",
    [],
    [
        key("create_host_path", Bool),
        key(
            "propagation",
            Word(&["private", "rprivate", "rshared", "rslave", "shared", "slave"])
        ),
        key(
            "recursive",
            Word(&["disabled", "enabled", "readonly", "writable"])
        ),
        key("selinux", Word(&["Z", "z"])).quiet(),
    ]
);

record!(
    VOLUME_MOUNT,
    "volume",
    [],
    [
        key("labels", Labels).quiet(),
        key("nocopy", Bool),
        key("subpath", Text),
    ]
);

record!(TMPFS, "tmpfs", [], [key("mode", Int), key("size", Bytes)]);

record!(IMAGE_MOUNT, "image", [], [key("subpath", Text)]);

record!(
    /// One item of a service's `secrets` or `configs`.
    GRANT, "grant", ["source"], [
    key("gid", Text),
    key("mode", Int).written(),
    key("source", Text),
    key("target", Text),
    key("uid", Text),
]);

record!(
    /// One item of `devices`.
    DEVICE, "device", ["source"], [
    key("permissions", Text),
    key("source", Text),
    key("target", Text),
]);

record!(
    /// One value of `ulimits` when it is a mapping.
    ULIMIT, "ulimit", ["hard", "soft"], [key("hard", Int), key("soft", Int)]);

record!(
    NETWORK,
    "network",
    [],
    [
        key("attachable", Bool),
        key("driver", Text),
        key("driver_opts", Options),
        key("enable_ipv4", Bool).written(),
        key("enable_ipv6", Bool),
        key("external", External),
        key("internal", Bool),
        key("ipam", Shape::Record(&IPAM)).always(),
        key("labels", Labels),
        key("name", Text),
    ]
);

record!(
    IPAM,
    "ipam",
    [],
    [
        key("config", List(&Shape::Record(&POOL))),
        key("driver", Text),
        key("options", Options)
            .never()
            .ignored("banyan hands out addresses itself"),
    ]
);

record!(
    POOL,
    "address pool",
    [],
    [
        key("aux_addresses", Options),
        key("gateway", Text),
        key("ip_range", Text),
        key("subnet", Text),
    ]
);

record!(
    VOLUME,
    "volume",
    [],
    [
        key("driver", Text),
        key("driver_opts", Options),
        key("external", External),
        key("labels", Labels),
        key("name", Text),
    ]
);

record!(
    SECRET,
    "secret",
    [],
    [
        key("driver", Text).ignored("secrets come from files, variables or commands"),
        key("driver_opts", Options).ignored("secrets come from files, variables or commands"),
        key("environment", Text),
        key("external", External),
        key("file", Text),
        key("labels", Labels).quiet(),
        key("name", Text),
        key("template_driver", Text).ignored(CLUSTER),
    ]
);

record!(
    CONFIG,
    "config",
    [],
    [
        key("content", Text),
        key("environment", Text),
        key("external", External),
        key("file", Text),
        key("labels", Labels).quiet(),
        key("name", Text),
        key("template_driver", Text).ignored(CLUSTER),
    ]
);

record!(
    /// One item of `include`.
    INCLUDE, "include", ["path"], [
    key("env_file", Texts),
    key("path", Texts),
    key("project_directory", Text),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(record: &'static Record, seen: &mut Vec<&'static str>) {
        if seen.contains(&record.what) && record.what != "volume" {
            return;
        }
        seen.push(record.what);
        assert!(
            record.fields.is_sorted_by(|a, b| a.key < b.key),
            "{} is sorted",
            record.what
        );
        for field in record.fields {
            walk(&field.shape, seen);
        }
    }

    fn walk(shape: &Shape, seen: &mut Vec<&'static str>) {
        if seen.len() > 500 {
            return;
        }
        match shape {
            Shape::Record(record) | RecordOrNull(record) | Short(_, record) | Named(record) => {
                visit(record, seen)
            }
            List(inner) | Map(inner) => walk(inner, seen),
            _ => {}
        }
    }

    #[test]
    fn tables_are_sorted_for_binary_search() {
        for record in [
            &PROJECT,
            &PORT,
            &MOUNT,
            &ENV_FILE,
            &DEPENDENCY,
            &ULIMIT,
            &INCLUDE,
            &GRANT,
            &VOLUME_MOUNT,
        ] {
            visit(record, &mut Vec::new());
        }
        assert!(SERVICE.field("image").is_some() && SERVICE.field("imagine").is_none());
    }
}
