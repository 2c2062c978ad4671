//! `RUN`: one command in a container over the layers so far; what it writes is the new layer.

use super::{
    BuildRequest, RunNetwork,
    agent::AgentSocket,
    dockerfile::{Command, Heredoc, RunFlags, RunMount},
    error::StepError,
    ignore::Ignore,
    mask,
    metadata::absolute,
    sandbox::{self, Reach, Sandbox, SandboxError, Stop},
    stack::Stack,
};
use crate::{
    container::{Files, Grant},
    image::{
        Digest, Event, ImageConfig, Progress, Store,
        durable::unique,
        from_container::{STUBS, remove_stubs},
    },
    rootfs::{Mount, MountKind, Propagation, RootFs},
};
use rustix::fs::FlockOperation;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Bytes of output kept for an error message.
const TAIL: usize = 4000;

/// One `RUN`, with all it needs resolved.
pub(super) struct Run<'a, 'r> {
    pub(super) store: &'a Store,
    pub(super) request: &'a BuildRequest<'r>,
    pub(super) config: &'a ImageConfig,
    /// `NAME=value`: arguments, then the image's environment.
    pub(super) environment: Vec<String>,
    pub(super) below: &'a Stack,
    pub(super) command: &'a Command,
    pub(super) heredocs: &'a [Heredoc],
    pub(super) flags: &'a RunFlags,
    /// Expands variables in options of mounts.
    pub(super) expand: &'a dyn Fn(&str) -> Result<String, String>,
    /// The stack behind `from=`; `None`: the build context.
    pub(super) source: &'a dyn Fn(Option<&str>) -> Result<Stack, StepError>,
    /// What is left out of the build context.
    pub(super) ignore: &'a Ignore,
    pub(super) step: usize,
    /// Whether the command is wanted no more.
    pub(super) stop: &'a (dyn Fn() -> bool + Sync),
}

/// What mounts need while the command runs, and what is taken away after it.
#[derive(Default)]
struct Gear {
    mounts: Vec<Mount>,
    grants: Vec<Grant>,
    environment: Vec<String>,
    /// Locks of cache folders.
    locks: Vec<fs::File>,
    /// Sockets of agents.
    agents: Vec<AgentSocket>,
    temporary: Vec<PathBuf>,
    /// Paths in the image that mounts cover.
    covered: Vec<String>,
}

impl Run<'_, '_> {
    /// Whether whoever builds grants what the step asks for.
    pub(super) fn check(&self) -> Result<(), StepError> {
        let allow = self.request.allow;
        let is_host = matches!(self.request.network, RunNetwork::Host);
        if self.flags.network.as_deref() == Some("host") && !is_host && !allow.host_network {
            return Err(StepError::NotAllowed {
                asked: "--network=host",
                grant: "network.host",
            });
        }
        if self.flags.insecure && !self.request.privileged && !allow.insecure {
            return Err(StepError::NotAllowed {
                asked: "--security=insecure",
                grant: "security.insecure",
            });
        }
        Ok(())
    }

    /// Runs the command; its writes land in `upper`.
    pub(super) fn execute(self, upper: &Path, work: &Path, progress: &dyn Progress) -> Result<(), StepError> {
        let gear = self.gear()?;
        self.with(gear, upper, work, progress)
    }

    fn with(&self, gear: Gear, upper: &Path, work: &Path, progress: &dyn Progress) -> Result<(), StepError> {
        let Gear {
            mounts,
            grants,
            environment,
            locks,
            agents,
            temporary,
            covered,
        } = gear;
        let root = if self.below.layers.is_empty() {
            RootFs::directory(upper.to_path_buf())
        } else {
            RootFs::overlay(self.below.layers.clone(), upper.to_path_buf(), work.to_path_buf())
        };
        let mut sandbox = Sandbox::new(root, self.arguments()?);
        sandbox.mounts = mounts;
        sandbox.grants = grants;
        sandbox.environment = [self.environment.clone(), environment].concat();
        sandbox.user = self.config.user.clone();
        sandbox.cwd = if self.config.working_dir.is_empty() {
            "/".into()
        } else {
            self.config.working_dir.clone()
        };
        sandbox.shm_size = self.request.shm_size;
        sandbox.stop = Some(Stop(self.stop));
        sandbox.privileged = self.request.privileged || self.flags.insecure;
        sandbox.files = self.files();
        let network = match (self.flags.network.as_deref(), self.request.network) {
            (Some("none"), _) => RunNetwork::None,
            (Some("host"), _) => RunNetwork::Host,
            (_, network) => network,
        };
        sandbox.reach = match network {
            RunNetwork::None => Reach::None,
            RunNetwork::Host => Reach::Host,
            RunNetwork::Lazy(open) => Reach::Outbound(open().map_err(SandboxError::from)?),
        };
        let mut tail: Vec<u8> = Vec::new();
        let step = self.step;
        let status = sandbox::run(self.store, self.request.launcher, sandbox, &mut |bytes| {
            progress.event(Event::Output { step, bytes });
            tail.extend_from_slice(bytes);
            let surplus = tail.len().saturating_sub(TAIL);
            tail.drain(..surplus);
        });
        drop((locks, agents));
        for path in temporary {
            fs_err::remove_dir_all(path).ok();
        }
        let covered: Vec<&str> = covered.iter().map(String::as_str).collect();
        remove_stubs(upper, self.below, &covered);
        remove_stubs(upper, self.below, &STUBS);
        match status? {
            0 => Ok(()),
            status => {
                let output = String::from_utf8_lossy(&tail).trim_end().to_owned();
                Err(StepError::Command { status, output })
            }
        }
    }

    fn arguments(&self) -> Result<Vec<String>, StepError> {
        let mut shell = self
            .config
            .shell
            .clone()
            .unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
        let text = match self.command {
            Command::Exec(words) if words.is_empty() => {
                return Err(StepError::Value("`RUN` needs a command".into()));
            }
            Command::Exec(words) => return Ok(words.clone()),
            Command::Shell(text) => text,
        };
        let script = match self.heredocs {
            [only] if text.starts_with("<<") && text.split_whitespace().count() == 1 => {
                // A script with an interpreter of its own is a file, mounted while it runs.
                if only.content.starts_with("#!") {
                    return Ok(vec![SCRIPT.into()]);
                }
                only.content.clone()
            }
            heredocs => {
                // The shell itself reads the here-documents.
                let bodies: String = heredocs
                    .iter()
                    .map(|h| format!("\n{}{}", h.content, h.name))
                    .collect();
                format!("{text}{bodies}")
            }
        };
        shell.push(script);
        Ok(shell)
    }

    fn files(&self) -> Files {
        let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        for (name, address) in &self.request.extra_hosts {
            hosts.push_str(&format!("{address}\t{name}\n"));
        }
        Files {
            hosts: Some(hosts),
            resolv_conf: self.request.resolv_conf.clone(),
            hostname: None,
        }
    }

    fn gear(&self) -> Result<Gear, StepError> {
        let mut gear = Gear::default();
        for mount in &self.flags.mounts {
            let mut options = std::collections::BTreeMap::new();
            for (key, value) in &mount.options {
                let value = if key == "from" {
                    value.clone()
                } else {
                    (self.expand)(value).map_err(StepError::Value)?
                };
                options.insert(key.clone(), value);
            }
            self.mount(
                &RunMount {
                    kind: mount.kind.clone(),
                    options,
                },
                &mut gear,
            )?;
        }
        if let [only] = self.heredocs
            && only.content.starts_with("#!")
        {
            // Not a grant: what is granted cannot be executed.
            let script = self.temporary(&mut gear)?.join("script");
            let written = fs_err::write(&script, &only.content)
                .and_then(|()| fs_err::set_permissions(&script, fs::Permissions::from_mode(0o755)));
            written.map_err(|cause| StepError::Io {
                action: "write",
                path: script.clone(),
                cause,
            })?;
            gear.add(Some(SCRIPT.into()), plain_bind(script), true);
        }
        Ok(gear)
    }

    fn mount(&self, mount: &RunMount, gear: &mut Gear) -> Result<(), StepError> {
        let option = |name: &str| mount.options.get(name).map(String::as_str);
        let is_on = |name: &str| matches!(option(name), Some("true" | "1" | ""));
        let target = option("target").map(|target| absolute(&self.config.working_dir, target));
        let number = |name: &str, radix, default| number(mount, name, radix, default);
        let (uid, gid) = (number("uid", 10, 0)?, number("gid", 10, 0)?);
        match mount.kind.as_str() {
            "tmpfs" => {
                let size = option("size").map(size).transpose()?;
                let kind = MountKind::Tmpfs {
                    size,
                    mode: 0o1777,
                    options: Vec::new(),
                };
                gear.add(target, kind, false);
            }
            "bind" => {
                let is_writable = is_on("rw");
                let kind = self.bind(option("from"), option("source").unwrap_or(""), is_writable, gear)?;
                gear.add(target, kind, !is_writable);
            }
            "cache" => {
                let target_text = target.clone().unwrap_or_default();
                let id = option("id").unwrap_or(&target_text);
                let sharing = option("sharing").unwrap_or("shared");
                let folder = if sharing == "private" {
                    self.temporary(gear)?
                } else {
                    self.store
                        .dir()
                        .join("build/caches")
                        .join(Digest::of(id.as_bytes()).hex())
                };
                self.prepare_cache(
                    &folder,
                    option("from"),
                    option("source"),
                    number("mode", 8, 0o755)?,
                    uid,
                    gid,
                )?;
                if sharing == "locked" {
                    let failed = |cause| StepError::Io {
                        action: "lock",
                        path: folder.clone(),
                        cause,
                    };
                    let lock = fs_err::File::open(&folder).map_err(failed)?.into_file();
                    rustix::fs::flock(&lock, FlockOperation::LockExclusive)
                        .map_err(|errno| failed(errno.into()))?;
                    gear.locks.push(lock);
                }
                let kind = MountKind::Bind {
                    source: folder,
                    recursive: false,
                    propagation: Propagation::Private,
                };
                gear.add(target, kind, is_on("readonly"));
            }
            "secret" => {
                let id = option("id")
                    .or_else(|| option("source").or(option("target"))?.rsplit('/').next())
                    .unwrap_or("");
                let Some(content) = self.request.secrets.get(id) else {
                    let missing =
                        || StepError::Value(format!("the secret `{id}` is required and was not given"));
                    return if is_on("required") { Err(missing()) } else { Ok(()) };
                };
                if let Some(name) = option("env") {
                    gear.environment
                        .push(format!("{name}={}", String::from_utf8_lossy(content)));
                }
                if option("env").is_none() || target.is_some() {
                    let target = target.unwrap_or_else(|| format!("/run/secrets/{id}"));
                    gear.covered.push(target.clone());
                    let mode = number("mode", 8, 0o400)?;
                    gear.grants.push(Grant {
                        target,
                        uid,
                        gid,
                        mode,
                        content: content.clone(),
                    });
                }
            }
            _ => self.agent(mount, target, gear)?,
        }
        Ok(())
    }

    /// `--mount=type=ssh`: an agent's socket.
    fn agent(&self, mount: &RunMount, target: Option<String>, gear: &mut Gear) -> Result<(), StepError> {
        let id = mount.options.get("id").map_or("default", String::as_str);
        let Some(socket) = self.request.ssh.get(id) else {
            let is_required = mount
                .options
                .get("required")
                .is_some_and(|value| value != "false");
            let missing = || StepError::Value(format!("the ssh agent `{id}` is required and was not given"));
            return if is_required { Err(missing()) } else { Ok(()) };
        };
        let number = |name: &str, radix, default| number(mount, name, radix, default);
        let owner = (number("uid", 10, 0)?, number("gid", 10, 0)?);
        let folder = self.temporary(gear)?;
        let socket = AgentSocket::open(&folder, socket, owner, number("mode", 8, 0o600)?);
        let socket = socket.map_err(|cause| StepError::Io {
            action: "make a socket in",
            path: folder,
            cause,
        })?;
        let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{}", gear.agents.len()));
        gear.environment.push(format!("SSH_AUTH_SOCK={target}"));
        let kind = MountKind::Bind {
            source: socket.path().to_path_buf(),
            recursive: false,
            propagation: Propagation::Private,
        };
        gear.agents.push(socket);
        gear.add(Some(target), kind, false);
        Ok(())
    }

    /// `--mount=type=bind`. Writes are thrown away after the step (Dockerfile reference, "RUN --mount=type=bind").
    fn bind(
        &self,
        from: Option<&str>,
        path: &str,
        is_writable: bool,
        gear: &mut Gear,
    ) -> Result<MountKind, StepError> {
        let stack = (self.source)(from)?;
        let missing = || StepError::NoSource {
            path: path.to_owned(),
        };
        let node = stack.find(path, true).ok_or_else(missing)?;
        let relative = node.relative();
        if from.is_none() && !node.is_dir() && self.ignore.excludes(&relative) {
            return Err(missing());
        }
        let failed = |action| {
            let path = node.place().to_path_buf();
            move |cause| StepError::Io { action, path, cause }
        };
        let mut places = node.places.clone();
        if node.is_dir() && from.is_none() && !self.ignore.is_empty() {
            let mask = self.temporary(gear)?;
            if mask::hide(node.place(), &relative, self.ignore, &mask).map_err(failed("read"))? {
                places.insert(0, mask);
            }
        }
        Ok(match (places.as_slice(), node.is_dir(), is_writable) {
            (_, true, true) => {
                let base = self.temporary(gear)?;
                MountKind::OverlayBind {
                    lower: places,
                    upper: base.join("upper"),
                    work: base.join("work"),
                }
            }
            ([_, _, ..], true, false) => MountKind::Layers(places),
            (_, false, true) => {
                let copy = self.temporary(gear)?.join("file");
                fs_err::copy(node.place(), &copy).map_err(failed("copy"))?;
                plain_bind(copy)
            }
            _ => plain_bind(node.place().to_path_buf()),
        })
    }

    /// A folder that goes away after the step.
    fn temporary(&self, gear: &mut Gear) -> Result<PathBuf, StepError> {
        let path = self
            .store
            .dir()
            .join("ingest")
            .join(format!("mount-{}", unique()));
        fs_err::create_dir(&path).map_err(|cause| StepError::Io {
            action: "create",
            path: path.clone(),
            cause,
        })?;
        gear.temporary.push(path.clone());
        Ok(path)
    }

    fn prepare_cache(
        &self,
        folder: &Path,
        from: Option<&str>,
        source: Option<&str>,
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<(), StepError> {
        let failed = |cause| StepError::Io {
            action: "prepare",
            path: folder.to_path_buf(),
            cause,
        };
        if folder.is_dir() && fs_err::read_dir(folder).map_err(failed)?.next().is_some() {
            return Ok(());
        }
        fs_err::create_dir_all(folder).map_err(failed)?;
        fs_err::os::unix::fs::chown(folder, Some(uid), Some(gid)).map_err(failed)?;
        fs_err::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
        if from.is_none() {
            return Ok(());
        }
        // A new cache begins with what `from` has.
        let stack = (self.source)(from)?;
        let path = source.unwrap_or("");
        let node = stack.find(path, true).ok_or_else(|| StepError::NoSource {
            path: path.to_owned(),
        })?;
        let nothing = super::ignore::Ignore::default();
        let hashes = super::cache::Hashes::open(self.store, folder);
        let exclude = super::ignore::Ignore::default();
        let source = super::context::Source {
            stack,
            ignore: &nothing,
            exclude,
            hashes: &hashes,
            keeps_owners: true,
        };
        let empty = Stack::default();
        let target = super::copy::Target {
            root: folder.to_path_buf(),
            below: &empty,
            owner: None,
            mode: None,
        };
        target.copy(&source, &node, "/", false)
    }
}

/// Where a here-document with an interpreter of its own lies.
const SCRIPT: &str = "/run/.banyan-script";

impl Gear {
    fn add(&mut self, target: Option<String>, kind: MountKind, read_only: bool) {
        let target = target.unwrap_or_else(|| "/".into());
        self.covered.push(target.clone());
        self.mounts.push(Mount {
            kind,
            target,
            read_only,
        });
    }
}

fn plain_bind(source: PathBuf) -> MountKind {
    MountKind::Bind {
        source,
        recursive: true,
        propagation: Propagation::Private,
    }
}

/// A number among a mount's options.
fn number(mount: &RunMount, name: &str, radix: u32, default: u32) -> Result<u32, StepError> {
    let text = mount.options.get(name).map(String::as_str);
    text.map_or(Ok(default), |text| {
        u32::from_str_radix(text, radix)
            .map_err(|_| StepError::Value(format!("`{name}={text}` is no number")))
    })
}

/// `64m` and the like, in bytes.
fn size(text: &str) -> Result<u64, StepError> {
    let lower = text.to_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match lower[digits.len()..].trim_end_matches('b') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        _ => 0,
    };
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|_| factor > 0);
    bytes.ok_or_else(|| StepError::Value(format!("`size={text}` is no size")))
}
