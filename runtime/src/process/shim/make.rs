//! Becoming a container's parent: of a new one, or of one whose shim was killed.

use super::{Revival, Shim, ahead::Ahead};
use crate::{
    container::{paths, record::Record},
    failure::{At, Failure, Step},
    log::{Stream, Writer},
    process::{
        init::{self, Inherited},
        message::{self, Adoption, InitMessage, Plan, Reply},
        stdio,
    },
    sys::{clone, pidfd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::Pid,
};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
};

/// What a launch that is given up waited for.
const LAUNCHER: &str = "launcher";

/// Whether the other end of a socket is closed (poll(2), `POLLHUP`).
fn is_gone(socket: BorrowedFd<'_>) -> bool {
    let mut list = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut list, Some(&now)).is_ok() && list[0].revents().contains(PollFlags::HUP)
}

/// Waits until the launcher has made the cgroups; `EPIPE` when it could not, and has said why itself.
pub(in crate::process) fn pass(gate: &OwnedFd) -> rustix::io::Result<()> {
    loop {
        match rustix::io::read(gate, &mut [0_u8; 1][..]) {
            Ok(0) => return Err(Errno::PIPE),
            Err(Errno::INTR) => {}
            result => return result.map(drop),
        }
    }
}

impl Shim {
    pub(super) fn launch(
        mut plan: Plan,
        descriptors: Vec<OwnedFd>,
        launcher: BorrowedFd<'_>,
        ahead: Option<Ahead>,
    ) -> Result<Self, Failure> {
        let mut descriptors = descriptors.into_iter();
        let gate = descriptors
            .next()
            .ok_or(Errno::BADF)
            .at(Step::Prepare, LAUNCHER)?;
        let engine = if plan.revive.is_some() {
            descriptors.next()
        } else {
            None
        };
        let grants = if plan.grants { descriptors.next() } else { None };
        let kept: Vec<OwnedFd> = descriptors.collect();
        let log = Writer::open(&paths::log(&plan.state), &plan.log).at(Step::Log, plan.state.display())?;
        let listener = listen(&plan.run)?;
        let (channel, theirs) = message::pair().at(Step::Prepare, "channel")?;
        let gate = if plan.cgroup.v2.is_some() {
            // Init is born in its cgroup: that must be there.
            pass(&gate).at(Step::Prepare, LAUNCHER)?;
            None
        } else {
            Some(gate)
        };
        let (mut inherited, outputs, input) = make_streams(&plan, theirs, grants)?;
        inherited.gate = gate;
        let (pid, pidfd) = clone_init(&plan, inherited, ahead)?;
        // Init has its copy.
        plan.filter = None;
        let mut shim = Self {
            pid,
            pidfd,
            channel: Some(channel),
            listener,
            clients: Vec::new(),
            outputs,
            input,
            terminal: plan.terminal.is_some(),
            log,
            engine,
            revival: Revival::No,
            revived: None,
            in_vain: 0,
            kept,
            started: None,
            plan,
        };
        shim.map_ids()
            .and_then(|()| shim.wait_ready(launcher))
            .and_then(|()| shim.record())
            .inspect_err(|_| {
                let _ = pidfd::signal(&shim.pidfd, libc::SIGKILL);
                let _ = pidfd::reap(shim.pidfd.as_fd(), true);
                // Another launch of this container may be using the cgroup by now; who removes the container finds it.
                if !is_gone(launcher) {
                    let _ = shim.plan.cgroup.remove();
                }
            })?;
        Ok(shim)
    }

    /// Takes over a running container whose shim was killed. What it wrote meanwhile waits in its pipes, which its own
    /// processes hold open.
    pub(super) fn adopt(
        adoption: Adoption,
        descriptors: Vec<OwnedFd>,
        launcher: BorrowedFd<'_>,
    ) -> Result<Self, Failure> {
        let Adoption {
            plan,
            pid,
            pipes,
            started,
        } = adoption;
        let gone = |()| Err::<OwnedFd, _>(Errno::SRCH).at(Step::Wait, "container");
        let pidfd = descriptors.into_iter().next().map_or_else(|| gone(()), Ok)?;
        let shim = Self {
            pid: Pid::from_raw(pid)
                .ok_or(Errno::SRCH)
                .at(Step::Wait, "container")?,
            pidfd,
            channel: None,
            listener: listen(&plan.run)?,
            clients: Vec::new(),
            outputs: find_pipes(&plan, &pipes),
            input: None,
            terminal: false,
            log: Writer::open(&paths::log(&plan.state), &plan.log).at(Step::Log, plan.state.display())?,
            engine: None,
            revival: Revival::No,
            revived: None,
            in_vain: 0,
            kept: Vec::new(),
            started: Some(started),
            plan,
        };
        let hello = shim.hello();
        Record::of(&hello, &shim.plan, pipes)
            .and_then(|record| record.write(&shim.plan.state))
            .at(Step::Record, shim.plan.state.display())?;
        let _ = message::send(launcher, &Reply::Created(hello), &[]);
        Ok(shim)
    }

    pub(super) fn map_ids(&self) -> Result<(), Failure> {
        let (Some(uids), Some(gids)) = (&self.plan.uid_map, &self.plan.gid_map) else {
            return Ok(());
        };
        for (file, map) in [("gid_map", gids), ("uid_map", uids)] {
            let path = format!("/proc/{}/{file}", self.pid.as_raw_nonzero());
            std::fs::write(&path, map).at(Step::MapIds, &path)?;
        }
        let channel = self.channel.as_ref().expect("the channel is open until exec");
        message::send(channel, &InitMessage::Mapped, &[]).at(Step::MapIds, "user namespace")
    }

    /// Waits until init stands at the barrier and tells the launcher, which connects networks while we go on.
    pub(super) fn wait_ready(&mut self, launcher: BorrowedFd<'_>) -> Result<(), Failure> {
        let channel = self.channel.as_ref().expect("the channel is open until exec");
        match message::receive::<InitMessage>(channel).at(Step::Wait, "init")? {
            Some((InitMessage::Ready, descriptors)) => {
                if let Some(master) = descriptors.into_iter().next() {
                    rustix::io::ioctl_fionbio(&master, true).at(Step::Terminal, "master")?;
                    self.outputs.push((master, Stream::Stdout));
                }
            }
            Some((InitMessage::Failed(failure), _)) => return Err(failure),
            _ => return Err(Errno::CHILD).at(Step::Wait, "init"),
        }
        if is_gone(launcher) {
            // Nobody knows of this container yet: whoever comes next launches it anew, perhaps at this moment.
            return Err(Errno::PIPE).at(Step::Wait, LAUNCHER);
        }
        // The launcher may be gone by now; the container is about to be recorded, and somebody else can start it.
        let _ = message::send(launcher, &Reply::Created(self.hello()), &[self.pidfd.as_fd()]);
        Ok(())
    }

    /// Records the container. It waits at the barrier meanwhile, where it ends when we do: nothing is lost before this.
    pub(super) fn record(&self) -> Result<(), Failure> {
        let pipes = if self.terminal { &[][..] } else { &self.outputs[..] };
        let pipes = pipes
            .iter()
            .filter_map(|(pipe, _)| rustix::fs::fstat(pipe).ok().map(|status| status.st_ino))
            .collect();
        Record::of(&self.hello(), &self.plan, pipes)
            .and_then(|record| record.write(&self.plan.state))
            .at(Step::Record, self.plan.state.display())
    }
}

type Streams = (Inherited, Vec<(OwnedFd, Stream)>, Option<OwnedFd>);

/// The reading ends of pipes, found through whatever process of the container still holds them.
fn find_pipes(plan: &Plan, pipes: &[u64]) -> Vec<(OwnedFd, Stream)> {
    let processes = plan.cgroup.processes().unwrap_or_default();
    let streams = pipes.iter().zip([Stream::Stdout, Stream::Stderr]);
    let find = |inode: &u64| {
        let name = format!("pipe:[{inode}]");
        processes.iter().find_map(|pid| {
            let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
            entries.map(|entry| entry.path()).find_map(|path| {
                let same = std::fs::read_link(&path).is_ok_and(|target| target.as_os_str() == name.as_str());
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                same.then(|| rustix::fs::open(&path, flags, Mode::empty()).ok())?
            })
        })
    };
    streams
        .filter_map(|(inode, stream)| Some((find(inode)?, stream)))
        .collect()
}

fn make_streams(plan: &Plan, channel: OwnedFd, grants: Option<OwnedFd>) -> Result<Streams, Failure> {
    if plan.terminal.is_some() {
        let inherited = Inherited {
            channel,
            gate: None,
            listener: None,
            output: None,
            input: None,
            grants,
        };
        return Ok((inherited, Vec::new(), None));
    }
    let out = stdio::output().at(Step::Prepare, "standard output")?;
    let error = stdio::output().at(Step::Prepare, "standard error")?;
    let input = plan
        .stdin
        .then(stdio::input)
        .transpose()
        .at(Step::Prepare, "standard input")?;
    let (our_input, their_input) = input.map_or((None, None), |ends| (Some(ends.ours), Some(ends.theirs)));
    let outputs = vec![(out.ours, Stream::Stdout), (error.ours, Stream::Stderr)];
    let inherited = Inherited {
        channel,
        gate: None,
        listener: None,
        output: Some((out.theirs, error.theirs)),
        input: their_input,
        grants,
    };
    Ok((inherited, outputs, our_input))
}

fn clone_init(plan: &Plan, inherited: Inherited, ahead: Option<Ahead>) -> Result<(Pid, OwnedFd), Failure> {
    if let Some(path) = &plan.join_pid {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty()).at(Step::JoinNamespace, path.display())?;
        // Takes effect for children only (setns(2), "PID namespaces").
        clone::setns(file.as_fd(), clone::CLONE_NEWPID).at(Step::JoinNamespace, path.display())?;
    }
    let cgroup = match &plan.cgroup.v2 {
        Some(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some(rustix::fs::open(path, flags, Mode::empty()).at(Step::JoinCgroup, path.display())?)
        }
        None => None,
    };
    let (stdout, stderr) = match &inherited.output {
        Some((stdout, stderr)) => (Some(stdout), Some(stderr)),
        None => (None, None),
    };
    let own = [
        stdout,
        stderr,
        inherited.input.as_ref(),
        inherited.grants.as_ref(),
        inherited.gate.as_ref(),
    ];
    let keep: Vec<_> = [Some(&inherited.channel)]
        .into_iter()
        .chain(own)
        .flatten()
        .map(AsFd::as_fd)
        .collect();
    let ahead = ahead.filter(|ahead| ahead.fits(plan.clone_flags));
    let namespaces = match &ahead {
        Some(ahead) => {
            ahead.enter().at(Step::JoinNamespace, "net")?;
            plan.clone_flags & !clone::CLONE_NEWNET
        }
        None => plan.clone_flags,
    };
    let options = clone::CopyOptions {
        namespaces,
        sibling: false,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        keep: Some(&keep),
    };
    let made = match clone::copy_process(&options).at(Step::Clone, &plan.id) {
        Ok(clone::Copied::Child) => init::run(plan, inherited),
        Ok(clone::Copied::Parent { pid, pidfd }) => Ok((pid, pidfd)),
        Err(failure) => Err(failure),
    };
    if let Some(ahead) = ahead {
        ahead.leave().at(Step::JoinNamespace, "net")?;
    }
    made
}

/// The socket in the run directory. Bound through the directory's descriptor: a socket's path may have 108 bytes only
/// (unix(7)), directories may be longer.
pub(crate) fn listen(run: &Path) -> Result<OwnedFd, Failure> {
    let object = paths::socket(run);
    let object = object.display();
    let attempt = || -> rustix::io::Result<OwnedFd> {
        let directory = rustix::fs::open(
            run,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        match rustix::fs::unlinkat(&directory, paths::SOCKET, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), paths::SOCKET);
        rustix::process::umask(Mode::from_raw_mode(0o177));
        rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
        rustix::process::umask(Mode::from_raw_mode(0o022));
        rustix::net::listen(&socket, 64)?;
        Ok(socket)
    };
    attempt().at(Step::Socket, object)
}
