//! The child side of the launch: what runs between `clone` and `exec`, in kernel order.
//!
//! 1. Join the cgroups (v1: by writing; v2: born inside), then the cgroup namespace, so that its root is ours.
//! 2. Join other containers' namespaces; bring up `lo` in a network namespace of our own.
//! 3. Cut the mount namespace off, mount `/`, the usual filesystems, the user's mounts, the engine's files; hide paths.
//! 4. Write sysctls and the OOM score through the host's `/proc` (the image cannot have forged that one).
//! 5. `pivot_root`: from here on there is no way back to the host's tree.
//! 6. Terminal, user, working directory.
//! 7. Report, and wait at the barrier: now somebody may attach networks.
//! 8. Confinement and exec ([`super::confinement`]).
//!
//! A failure anywhere is sent as (step, object, errno), and the process ends.

use super::{
    bundled,
    confinement::{Confined, become_program, check_program, set_limits},
    message::{self, InitMessage, Plan},
    reaper, shim, stdio,
    user::{self, Identity},
};
use crate::{
    container::{Grant, Settings, paths},
    failure::{At, Failure, Step},
    namespace::Namespace,
    rootfs::{self, Mount, MountKind, Propagation, Standard, inside::Tree},
    sys::{clone, exec, link_up},
};
use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
    pty::OpenptFlags,
    termios::Winsize,
};
use std::{
    io::Read,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

/// Descriptors init takes over from the shim.
#[derive(Debug)]
pub(super) struct Inherited {
    /// To the shim.
    pub(super) channel: OwnedFd,
    /// Opens when the cgroups are made; `None`: they are.
    pub(super) gate: Option<OwnedFd>,
    /// No shim stays: whoever connects here lifts the barrier.
    pub(super) listener: Option<OwnedFd>,
    /// The container's ends of its standard streams; `None` with a terminal. Input may be absent.
    pub(super) output: Option<(OwnedFd, OwnedFd)>,
    pub(super) input: Option<OwnedFd>,
    /// Files granted, serialised.
    pub(super) grants: Option<OwnedFd>,
}

/// Never returns: becomes the container's program, or reports and ends.
pub(super) fn run(plan: &Plan, mut inherited: Inherited) -> ! {
    let failure = match launch(plan, &mut inherited) {
        Err(failure) => failure,
        Ok(never) => match never {},
    };
    // The other end may be gone; then nobody wants to know.
    let _ = message::send(&inherited.channel, &InitMessage::Failed(failure), &[]);
    exec::leave(125)
}

fn launch(plan: &Plan, inherited: &mut Inherited) -> Result<std::convert::Infallible, Failure> {
    rustix::process::setsid().at(Step::Prepare, &plan.id)?;
    if let Some(gate) = inherited.gate.take() {
        shim::pass(&gate).at(Step::JoinCgroup, &plan.id)?;
    }
    let settings = read_settings(plan)?;
    enter_namespaces(plan, &settings, &inherited.channel)?;
    let tree = mount_everything(plan, &settings, inherited.grants.take())?;
    write_sysctls(&settings)?;
    if let Some(score) = settings.process.oom_score_adj {
        std::fs::write("/proc/self/oom_score_adj", score.to_string()).at(Step::OomScore, score)?;
    }
    let mut supervisor = None;
    if let Some(bundle) = settings.literal() {
        supervisor = bundled::connect_supervisor(bundle)?;
        bundled::run_hooks_before_root(bundle, &inherited.channel)?;
    }
    rootfs::enter(&tree, settings.root.read_only)?;
    if let Some(propagation) = settings.literal().and_then(|bundle| bundle.propagation) {
        rootfs::propagate(propagation)?;
    }
    let identity = match &settings.process.exact {
        Some(exact) => Identity::exact(&tree, exact),
        None => user::look_up(&tree, &settings.process.user, &settings.process.groups)?,
    };
    let (output, input) = (inherited.output.take(), inherited.input.take());
    let master = set_up_streams(&settings, output, input, &identity)?;
    make_cwd(&tree, &settings.process.cwd)?;
    if settings.literal().is_some() {
        check_program(&settings.process)?;
        set_limits(&settings.process)?;
    }
    wait_at_barrier(inherited, master)?;
    if let Some(bundle) = settings.literal() {
        bundled::run_start_hooks(bundle)?;
    }

    let mut process = settings.process.clone();
    if settings.init {
        process
            .arguments
            .splice(0..0, [reaper::PATH.to_owned(), "--".to_owned()]);
    }
    let filter = match &plan.filter {
        Some(compiled) => crate::confine::decode(compiled),
        None => crate::confine::filter(&settings.confinement.seccomp, &process.capabilities),
    };
    let filter = filter.at(Step::Seccomp, "profile")?;
    let confined = Confined {
        process: &process,
        identity: &identity,
        host_name: settings.host_name(),
        filter: &filter,
        filter_flags: crate::confine::filter_flags(&settings.confinement.seccomp),
        supervisor: supervisor.as_ref(),
    };
    Err(become_program(&confined))
}

/// Cgroups, then every namespace that is not made by the clone itself, and what belongs into new ones.
fn enter_namespaces(plan: &Plan, settings: &Settings, channel: &OwnedFd) -> Result<(), Failure> {
    let namespaces = &settings.namespaces;
    if namespaces.user.is_some() {
        wait_for_maps(channel)?;
    }
    // Still with the host's ids: cgroups are the host's files.
    join_cgroups(plan)?;
    for (path, kind) in namespaces.to_join() {
        let object = path.display();
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .at(Step::JoinNamespace, object)?;
        clone::setns(file.as_fd(), kind).at(Step::JoinNamespace, path.display())?;
    }
    if namespaces.cgroup == Namespace::Private {
        clone::unshare(clone::CLONE_NEWCGROUP).at(Step::NewNamespace, "cgroup")?;
    }
    if namespaces.net == Namespace::Private {
        link_up::loopback_up().at(Step::Loopback, "lo")?;
    }
    if namespaces.uts == Namespace::Host {
        return Ok(());
    }
    let hostname = match settings.literal() {
        Some(bundle) => bundle.hostname.as_deref(),
        None => (namespaces.uts == Namespace::Private).then(|| settings.host_name()),
    };
    if let Some(name) = hostname {
        rustix::system::sethostname(name.as_bytes()).at(Step::Hostname, name)?;
    }
    if let Some(domain) = &settings.domainname {
        rustix::system::setdomainname(domain.as_bytes()).at(Step::Hostname, domain)?;
    }
    Ok(())
}

fn read_settings(plan: &Plan) -> Result<Settings, Failure> {
    let path = paths::settings(&plan.state);
    let bytes = std::fs::read(&path).at(Step::ReadSettings, path.display())?;
    serde_json::from_slice(&bytes)
        .map_err(std::io::Error::from)
        .at(Step::ReadSettings, path.display())
}

/// Waits until the id maps are written.
fn wait_for_maps(channel: &OwnedFd) -> Result<(), Failure> {
    match message::receive::<InitMessage>(channel).at(Step::MapIds, "user namespace")? {
        Some((InitMessage::Mapped, _)) => Ok(()),
        _ => exec::leave(125),
    }
}

/// Becomes root of the user namespace: files made from here on belong to somebody who exists in it.
fn become_mapped_root() -> Result<(), Failure> {
    let (uid, gid) = (rustix::thread::Uid::from_raw(0), rustix::thread::Gid::from_raw(0));
    rustix::thread::set_thread_groups(&[]).at(Step::MapIds, "groups")?;
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::MapIds, "0")?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::MapIds, "0")
}

fn join_cgroups(plan: &Plan) -> Result<(), Failure> {
    for door in plan.cgroup.doors() {
        let file = rustix::fs::open(&door, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let joined = file.and_then(|file| rustix::io::write(&file, b"0"));
        joined.at(Step::JoinCgroup, door.display())?;
    }
    Ok(())
}

fn mount_everything(plan: &Plan, settings: &Settings, grants: Option<OwnedFd>) -> Result<Tree, Failure> {
    // Permission bits of everything made here are meant as written.
    rustix::process::umask(Mode::empty());
    let mapped = settings.namespaces.user.is_some() || plan.join_user;
    let host_devices = rootfs::HostNodes::open(settings.literal().is_some() || mapped);
    let mut sources = rootfs::open_shared_sources(&settings.mounts)?;
    rootfs::cut_off(settings.literal().and_then(|bundle| bundle.propagation))?;
    let tree = rootfs::prepare_root(&settings.root, paths::mount_point(&plan.run))?;
    let files = engine_files(plan, settings);
    let mut file_sources = Vec::new();
    if mapped {
        // What lies on the host is opened while we may still read it.
        rootfs::open_host_sources(&settings.mounts, &mut sources)?;
        rootfs::open_host_sources(&files, &mut file_sources)?;
        become_mapped_root()?;
    }
    if let Some(bundle) = settings.literal() {
        let own = (settings.namespaces.cgroup == Namespace::Host).then_some(&plan.cgroup);
        rootfs::mount_bundle(&tree, &settings.mounts, &sources, (&plan.cgroup_view, own))?;
        rootfs::make_bundle_nodes(&tree, &bundle.nodes, &settings.mounts, &host_devices)?;
        rootfs::hide(
            &tree,
            &settings.confinement.masked_paths,
            &settings.confinement.readonly_paths,
            &host_devices,
        )?;
        return Ok(tree);
    }
    let replaced: Vec<&str> = settings
        .mounts
        .iter()
        .map(|mount| mount.target.trim_end_matches('/'))
        .collect();
    let devices = rootfs::prepare_dev(&settings.devices);
    let standard = Standard {
        privileged: settings.confinement.privileged,
        shm_size: settings.shm_size,
        ipc: &settings.namespaces.ipc,
        cgroups: &plan.cgroup_view,
        devices: &devices,
        replaced: &replaced,
        host: &host_devices,
    };
    rootfs::mount_standard(&tree, &standard)?;
    rootfs::mount_user(&tree, &files, &file_sources)?;
    rootfs::mount_user(&tree, &settings.mounts, &sources)?;
    if let Some(grants) = grants {
        let mut text = Vec::new();
        std::fs::File::from(grants)
            .read_to_end(&mut text)
            .at(Step::ReadSettings, "grants")?;
        let grants: Vec<Grant> = serde_json::from_slice(&text)
            .map_err(std::io::Error::from)
            .at(Step::ReadSettings, "grants")?;
        rootfs::mount_grants(&tree, &grants)?;
    }
    if settings.init {
        rootfs::mount_binary(&tree, &plan.binary, reaper::PATH)?;
    }
    rootfs::hide(
        &tree,
        &settings.confinement.masked_paths,
        &settings.confinement.readonly_paths,
        &host_devices,
    )?;
    Ok(tree)
}

/// `/etc/hosts` and its like: bound from the container's directory, so that the engine can rewrite them in place.
fn engine_files(plan: &Plan, settings: &Settings) -> Vec<Mount> {
    let files = &settings.files;
    [
        ("hosts", &files.hosts),
        ("resolv.conf", &files.resolv_conf),
        ("hostname", &files.hostname),
    ]
    .into_iter()
    .filter(|(_, content)| content.is_some())
    .map(|(name, _)| Mount {
        kind: MountKind::Bind {
            source: paths::file(&plan.state, name),
            recursive: false,
            propagation: Propagation::Private,
        },
        target: format!("/etc/{name}"),
        read_only: settings.root.read_only,
    })
    .filter(|ours| !settings.mounts.iter().any(|theirs| theirs.target == ours.target))
    .collect()
}

/// Kernel parameters, through the host's `/proc/sys`, which shows each process the values of its own namespaces.
/// Only namespaced ones arrive here (checked before launch).
fn write_sysctls(settings: &Settings) -> Result<(), Failure> {
    let usual = settings.literal().is_none() && settings.namespaces.user.is_none();
    if settings.namespaces.net == Namespace::Private && usual {
        // Docker's two: ping for everybody, and low ports without a capability.
        for (path, value) in [
            ("net/ipv4/ping_group_range", "0 2147483647"),
            ("net/ipv4/ip_unprivileged_port_start", "0"),
        ] {
            if !settings.sysctls.contains_key(&path.replace('/', ".")) {
                // Missing in kernels built without: not ours to complain.
                let _ = std::fs::write(Path::new("/proc/sys").join(path), value);
            }
        }
    }
    for (name, value) in &settings.sysctls {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        std::fs::write(path, value).at(Step::Sysctl, name)?;
    }
    Ok(())
}

/// Standard streams, owned by the user so that `/dev/stdout` can be opened again by path. Gives the terminal's master.
fn set_up_streams(
    settings: &Settings,
    output: Option<(OwnedFd, OwnedFd)>,
    input: Option<OwnedFd>,
    identity: &Identity,
) -> Result<Option<OwnedFd>, Failure> {
    let owner = Some(rustix::fs::Uid::from_raw(identity.uid));
    if let Some(size) = settings.process.terminal {
        let (master, slave) = open_terminal(size.rows, size.columns).at(Step::Terminal, "/dev/pts/ptmx")?;
        rootfs::bind_console(&slave)?;
        rustix::fs::fchown(&slave, owner, None).at(Step::Terminal, "/dev/console")?;
        rustix::process::ioctl_tiocsctty(&slave).at(Step::Terminal, "/dev/console")?;
        stdio::install(&slave, &slave, &slave).at(Step::Terminal, "/dev/console")?;
        return Ok(Some(master));
    }
    let input = match input {
        Some(input) => input,
        None => rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .at(Step::Prepare, "/dev/null")?,
    };
    if let Some((out, error)) = output {
        for stream in [&out, &error] {
            let given = rustix::fs::fchown(stream, owner, None);
            // Streams of the caller's may be anything; only our own pipes must change hands.
            if settings.literal().is_none() && settings.namespaces.user.is_none() {
                given.at(Step::Prepare, "output")?;
            }
        }
        // A user's stdin may be a pipe of the caller's; its owner is not ours to change when it is /dev/null.
        let _ = rustix::fs::fstat(&input)
            .is_ok_and(|status| {
                rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::Fifo
            })
            .then(|| rustix::fs::fchown(&input, owner, None));
        stdio::install(&input, &out, &error).at(Step::Prepare, "output")?;
    }
    Ok(None)
}

/// A new terminal of this mount namespace's `/dev/pts`. The slave comes from the master (`TIOCGPTPEER`), never by path.
pub(super) fn open_terminal(rows: u16, columns: u16) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let master = rustix::fs::open(
        "/dev/pts/ptmx",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    rustix::pty::unlockpt(&master)?;
    rustix::termios::tcsetwinsize(
        &master,
        Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )?;
    let slave = rustix::pty::ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    Ok((master, slave))
}

/// Makes the working directory when it is missing, as Docker does.
fn make_cwd(tree: &Tree, cwd: &str) -> Result<(), Failure> {
    let resolve = ResolveFlags::IN_ROOT;
    match rustix::fs::openat2(
        tree.root(),
        cwd,
        OFlags::PATH | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    ) {
        Err(Errno::NOENT) => match tree.make(cwd, rootfs::inside::Kind::Directory(0o755)) {
            // A read-only root: let chdir give the error that counts.
            Err(failure) if failure.errno != libc::EROFS => Err(failure),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn wait_at_barrier(inherited: &mut Inherited, master: Option<OwnedFd>) -> Result<(), Failure> {
    let descriptors: Vec<_> = master.iter().map(AsFd::as_fd).collect();
    message::send(&inherited.channel, &InitMessage::Ready, &descriptors).at(Step::Wait, "start")?;
    drop(master);
    if let Some(listener) = inherited.listener.take() {
        inherited.channel = bundled::wait_for_start(&listener)?;
        return Ok(());
    }
    match message::receive::<InitMessage>(&inherited.channel).at(Step::Wait, "start")? {
        Some((InitMessage::Start, _)) => Ok(()),
        // The shim is gone or gave up: so does the container.
        _ => exec::leave(125),
    }
}
