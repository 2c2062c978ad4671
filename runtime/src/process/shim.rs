//! The shim: the small single-threaded process that is the container's parent.
//!
//! 1. Receive the plan and descriptors from the launcher on descriptor 0.
//! 2. Make the pipes, the socket others connect to, and the channel to init; clone init.
//! 3. When init stands at the barrier: write the record, tell the launcher.
//! 4. Loop: output to the log, requests, the container's end, the engine's end.
//! 5. At the end: drain the output, remove the cgroups, write the exit record, tell everybody, sync it.
//!
//! It depends on nobody reading anything, keeps no growing state, and touches as little memory as it can (one block for
//! output, given back to the kernel when idle).

use super::{
    init::{self, Inherited},
    message::{self, Adoption, Hello, InitMessage, Plan, Reply, Request},
    stdio,
};
use crate::{
    container::{Exit, TerminalSize, paths, record::Record},
    failure::{At, Failure, Step},
    log::{
        Stream, Writer, now,
        writer::{BLOCK_SIZE, Taken},
    },
    sys::{clone, exec, heap, pidfd},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FlockOperation, Mode, OFlags},
    io::{Errno, FdFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::Pid,
    termios::Winsize,
};
use std::{
    ffi::CString,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

/// How long to wait before looking again whether another shim's revival has worked.
const REVIVE_AGAIN: Duration = Duration::from_millis(300);
/// An engine that we started and that lived for less was started in vain: the next one waits, each time twice as long.
const GOOD_LIFE: Duration = Duration::from_secs(10);
/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How long an exit record may wait for the disk, for the container to be removed meanwhile.
const BEFORE_SYNC: std::time::Duration = Duration::from_millis(20);

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

/// Runs the role; `launcher` is the socket the plan comes through.
pub(crate) fn run(launcher: OwnedFd) -> u8 {
    // Leave the launcher's session: its terminal's Ctrl-C is not for us. Fails when we lead a group already: harmless.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    // Executed through a descriptor, we would be called after its number.
    let _ = rustix::thread::set_name(c"banyan-shim");
    let made = match message::receive::<Request>(&launcher) {
        Ok(Some((Request::Launch(plan), descriptors))) => Shim::launch(*plan, descriptors, launcher.as_fd()),
        Ok(Some((Request::Adopt(adoption), descriptors))) => {
            Shim::adopt(*adoption, descriptors, launcher.as_fd())
        }
        _ => return 125,
    };
    match made {
        Ok(mut shim) => {
            shim.clients.push(Client::new(launcher));
            // Launching took memory that watching does not need.
            heap::trim();
            shim.watch();
            0
        }
        Err(failure) => {
            let _ = message::send(&launcher, &Reply::Failed(failure), &[]);
            125
        }
    }
}

struct Shim {
    plan: Plan,
    pid: Pid,
    pidfd: OwnedFd,
    /// To init, until exec.
    channel: Option<OwnedFd>,
    listener: OwnedFd,
    clients: Vec<Client>,
    /// Output ends: pipe or terminal master, and which stream.
    outputs: Vec<(OwnedFd, Stream)>,
    /// Our hold on standard input.
    input: Option<OwnedFd>,
    /// The master again, for sizes.
    terminal: bool,
    log: Writer,
    engine: Option<OwnedFd>,
    revival: Revival,
    /// When we last started an engine.
    revived: Option<Instant>,
    /// Engines started in vain, one after the other.
    in_vain: u32,
    kept: Vec<OwnedFd>,
    started: Option<i64>,
}

/// Somebody connected.
struct Client {
    socket: OwnedFd,
    /// An eventfd that tells it of output.
    follows: Option<OwnedFd>,
}

impl Client {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            follows: None,
        }
    }

    fn tell_of_output(&self) {
        if let Some(event) = &self.follows {
            // Full only if it was not read for 2^64 times.
            let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Revival {
    /// The engine lives, or there is none.
    No,
    /// It is dead; try to start it, from then on.
    Due(Instant),
}

/// How long to wait before an engine is started again after so many that were started in vain.
fn patience(in_vain: u32) -> Duration {
    match in_vain {
        0 => Duration::ZERO,
        _ => (REVIVE_AGAIN * 2_u32.saturating_pow((in_vain - 1).min(16))).min(LONGEST_WAIT),
    }
}

impl Shim {
    fn launch(mut plan: Plan, descriptors: Vec<OwnedFd>, launcher: BorrowedFd<'_>) -> Result<Self, Failure> {
        let mut descriptors = descriptors.into_iter();
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
        let (inherited, outputs, input) = make_streams(&plan, theirs, grants)?;
        let (pid, pidfd) = clone_init(&plan, inherited)?;
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
    fn adopt(
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

    fn map_ids(&self) -> Result<(), Failure> {
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

    /// Waits until init stands at the barrier, then records the container and tells the launcher.
    fn wait_ready(&mut self, launcher: BorrowedFd<'_>) -> Result<(), Failure> {
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
        let hello = self.hello();
        let pipes = if self.terminal { &[][..] } else { &self.outputs[..] };
        let pipes = pipes
            .iter()
            .filter_map(|(pipe, _)| rustix::fs::fstat(pipe).ok().map(|status| status.st_ino))
            .collect();
        Record::of(&hello, &self.plan, pipes)
            .and_then(|record| record.write(&self.plan.state))
            .at(Step::Record, self.plan.state.display())?;
        // The launcher may be gone already; the container is recorded, and somebody else can start it.
        let _ = message::send(launcher, &Reply::Created(hello), &[]);
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello {
            pid: self.pid.as_raw_nonzero().get(),
            shim: rustix::process::getpid().as_raw_nonzero().get(),
            started: self.started,
            keep: self.kept.iter().map(AsRawFd::as_raw_fd).collect(),
        }
    }

    /// The loop. Ends with the container.
    fn watch(&mut self) {
        // On the heap and not touched before it is needed: most containers are silent.
        let buffer: Box<[u8]> = vec![0; BLOCK_SIZE].into();
        let Ok(mut buffer) = Box::<[u8; BLOCK_SIZE]>::try_from(buffer) else {
            return;
        };
        let mut idle = false;
        loop {
            let ready = self.wait(idle);
            // Output before anything else: what a container wrote before it ended belongs before its end.
            let mut moved = false;
            for index in (0..self.outputs.len()).rev() {
                let (source, stream) = &self.outputs[index];
                match self.log.take(source, *stream, &mut buffer) {
                    Ok(Taken::Some) => moved = true,
                    Ok(Taken::Nothing) => {}
                    Ok(Taken::End) | Err(_) => {
                        self.outputs.remove(index);
                    }
                }
            }
            idle = !moved;
            if moved {
                self.clients.iter().for_each(Client::tell_of_output);
            }
            if ready.channel {
                self.hear_init();
            }
            if ready.engine {
                self.engine_ended();
            }
            if let Revival::Due(from) = self.revival
                && Instant::now() >= from
            {
                self.revive();
            }
            if ready.listener {
                self.accept();
            }
            for index in ready.clients.into_iter().rev() {
                self.serve(index);
            }
            if ready.ended {
                self.finish(&mut buffer);
                return;
            }
        }
    }

    fn wait(&self, may_sleep: bool) -> Ready {
        let mut list = vec![
            PollFd::new(&self.pidfd, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        list.extend(self.outputs.iter().map(|(fd, _)| PollFd::new(fd, PollFlags::IN)));
        let clients = list.len();
        let sockets = self.clients.iter().map(|client| &client.socket);
        list.extend(sockets.map(|fd| PollFd::new(fd, PollFlags::IN)));
        let channel = list.len();
        list.extend(self.channel.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let engine = list.len();
        list.extend(self.engine.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let timeout = match (may_sleep, self.revival) {
            (false, _) => Some(Duration::ZERO),
            (true, Revival::Due(from)) => {
                Some(from.saturating_duration_since(Instant::now()).max(REVIVE_AGAIN))
            }
            (true, Revival::No) => None,
        };
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let _ = poll(&mut list, timeout.as_ref());
        let set = |index: usize| list.get(index).is_some_and(|fd| !fd.revents().is_empty());
        Ready {
            ended: set(0),
            listener: set(1),
            clients: (0..self.clients.len())
                .filter(|index| set(clients + index))
                .collect(),
            channel: self.channel.is_some() && set(channel),
            engine: self.engine.is_some() && set(engine),
        }
    }

    /// Init either failed, or its end was closed by a successful exec.
    fn hear_init(&mut self) {
        let Some(channel) = self.channel.take() else {
            return;
        };
        let reply = match message::receive::<InitMessage>(&channel) {
            Ok(Some((InitMessage::Failed(failure), _))) => Reply::Failed(failure),
            _ => {
                let at = now();
                self.started = Some(at);
                Reply::Started { at }
            }
        };
        self.tell_all(&reply);
    }

    fn tell_all(&self, reply: &Reply) {
        for client in &self.clients {
            let _ = message::send(&client.socket, reply, &[]);
        }
    }

    fn accept(&mut self) {
        let Ok(client) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) else {
            return;
        };
        // A client that does not read must not stop us: sends give up instead.
        let _ = rustix::io::ioctl_fionbio(&client, true);
        if message::send(&client, &Reply::Hello(self.hello()), &[]).is_ok() {
            self.clients.push(Client::new(client));
        }
    }

    fn serve(&mut self, index: usize) {
        let client = &self.clients[index].socket;
        let (request, mut descriptors) = match message::try_receive::<Request>(client) {
            Ok(Some(received)) => received,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
            _ => {
                self.clients.remove(index);
                return;
            }
        };
        let answer = |reply: &Reply, descriptors: &[BorrowedFd<'_>]| {
            let _ = message::send(client, reply, descriptors);
        };
        match request {
            Request::Launch(_) | Request::Adopt(_) => {}
            Request::Start => match &self.channel {
                // The answer comes when init has executed or failed.
                Some(channel) => {
                    // Should we be killed, it shows whether the program may have run. The folder is ours, so it
                    // can be written, or the disk is full and the container is merely not known to have run.
                    // A second name of our socket: cheaper than a file of its own.
                    let (socket, lifted) = (paths::socket(&self.plan.run), paths::lifted(&self.plan.run));
                    let _ = std::fs::hard_link(socket, lifted);
                    let _ = message::send(channel, &InitMessage::Start, &[]);
                }
                None => answer(&Reply::Done, &[]),
            },
            Request::Stdin => {
                let source = if self.terminal {
                    self.outputs.first().map(|(fd, _)| fd)
                } else {
                    self.input.as_ref()
                };
                let list: Vec<_> = source.iter().map(AsFd::as_fd).collect();
                answer(&Reply::Stdin, &list);
            }
            Request::CloseStdin => {
                answer(&Reply::Done, &[]);
                self.input = None;
            }
            Request::Resize(size) => {
                self.resize(size);
                answer(&Reply::Done, &[]);
            }
            Request::Engine => {
                self.engine = descriptors.pop();
                self.revival = Revival::No;
                answer(&Reply::Done, &[]);
            }
            Request::Follow => {
                let client = &mut self.clients[index];
                client.follows = descriptors.pop();
                // There may be some already.
                client.tell_of_output();
            }
        }
    }

    fn resize(&self, size: TerminalSize) {
        if let (true, Some((master, _))) = (self.terminal, self.outputs.first()) {
            let size = Winsize {
                ws_row: size.rows,
                ws_col: size.columns,
                ws_xpixel: 0,
                ws_ypixel: 0,
            };
            let _ = rustix::termios::tcsetwinsize(master, size);
        }
    }

    /// The engine is dead. One that we started is our child, and reaped. When it gave up soon there may be no sense in
    /// starting it again and again (its root was deleted, say); one that was killed is started at once.
    fn engine_ended(&mut self) {
        // Whoever started another engine reaps it.
        let ended = self
            .engine
            .take()
            .and_then(|engine| pidfd::reap(engine.as_fd(), false).ok()?);
        let soon = self
            .revived
            .take()
            .is_some_and(|revived| revived.elapsed() < GOOD_LIFE);
        self.in_vain = match ended {
            Some(pidfd::Ended::Code(_)) if soon => self.in_vain.saturating_add(1),
            _ => 0,
        };
        self.revival = Revival::Due(Instant::now() + patience(self.in_vain));
    }

    /// Starts the engine again, unless another shim is doing so.
    fn revive(&mut self) {
        let Some(revive) = self.plan.revive.clone() else {
            self.revival = Revival::No;
            return;
        };
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
        let Ok(lock) = rustix::fs::open(&revive.lock, flags, Mode::from_raw_mode(0o600)) else {
            return;
        };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return;
        }
        let texts: Option<Vec<CString>> = revive
            .command
            .iter()
            .map(|text| CString::new(text.as_str()).ok())
            .collect();
        let Some(arguments) = texts.filter(|arguments| !arguments.is_empty()) else {
            return;
        };
        match clone::copy_process(&clone::CopyOptions::default()) {
            Ok(clone::Copied::Child) => {
                // The engine holds the lock through its standard input until it has taken over.
                let _ = rustix::process::setsid();
                let _ = rustix::stdio::dup2_stdin(&lock);
                let _ = rustix::io::fcntl_setfd(rustix::stdio::stdin(), FdFlags::empty());
                crate::sys::signals::reset();
                let variables: Vec<CString> = std::env::vars()
                    .filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok())
                    .collect();
                let _ = exec::exec(&arguments[0], &arguments, &variables);
                exec::leave(127);
            }
            Ok(clone::Copied::Parent { pidfd, .. }) => {
                self.engine = Some(pidfd);
                self.revived = Some(Instant::now());
                self.revival = Revival::No;
            }
            Err(_) => {}
        }
    }

    /// How an adopted container ended: the kernel tells once its parent (the host's init, or an engine) has reaped it,
    /// which it offers no event for.
    fn status_of_adopted(&self) -> Option<pidfd::Ended> {
        // Ten seconds: a busy host's init takes its time.
        for _ in 0..2000 {
            if let Some(ended) = pidfd::status_of_stranger(self.pidfd.as_fd()) {
                return Some(ended);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// The container has ended: everything in order, then the process may end.
    fn finish(&mut self, buffer: &mut [u8; BLOCK_SIZE]) {
        if self.channel.is_some() {
            self.hear_init();
        }
        if self.plan.kill_cgroup {
            self.plan.cgroup.kill();
        }
        let ended = pidfd::reap(self.pidfd.as_fd(), true).unwrap_or_else(|_| self.status_of_adopted());
        for (source, stream) in std::mem::take(&mut self.outputs) {
            while matches!(self.log.take(&source, stream, buffer), Ok(Taken::Some)) {}
        }
        let Some(ended) = ended else {
            // Nobody could tell: better no record than a wrong one.
            let _ = self.plan.cgroup.remove();
            let _ = std::fs::remove_file(paths::socket(&self.plan.run));
            return;
        };
        let exit = Exit {
            ended,
            out_of_memory: self.plan.cgroup.oom_kills() > 0,
            started: self.started,
            at: now(),
        };
        let written = exit.write(&self.plan.state);
        let _ = self.plan.cgroup.remove();
        let _ = std::fs::remove_file(paths::socket(&self.plan.run));
        self.tell_all(&Reply::Exited(exit));
        // Nobody waits for the disk: the record is complete for all readers, and after a power cut the container is
        // known to have ended anyway. Many containers are removed as soon as they end, and `remove` ends this process in
        // the pause: then nothing is written to the disk at all.
        self.clients.clear();
        self.kept.clear();
        if let Some(files) = &self.plan.remove_at_end {
            // What cannot be removed stays listed as a stopped container, for others to remove.
            for file in files {
                let _ = std::fs::remove_file(file);
            }
            let _ = std::fs::remove_dir_all(&self.plan.run);
            let _ = std::fs::remove_dir_all(&self.plan.state);
            return;
        }
        if let Ok(file) = written {
            std::thread::sleep(BEFORE_SYNC);
            let _ = rustix::fs::fsync(&file);
        }
    }
}

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

struct Ready {
    ended: bool,
    listener: bool,
    clients: Vec<usize>,
    channel: bool,
    engine: bool,
}

type Streams = (Inherited, Vec<(OwnedFd, Stream)>, Option<OwnedFd>);

fn make_streams(plan: &Plan, channel: OwnedFd, grants: Option<OwnedFd>) -> Result<Streams, Failure> {
    if plan.terminal.is_some() {
        let inherited = Inherited {
            channel,
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
        listener: None,
        output: Some((out.theirs, error.theirs)),
        input: their_input,
        grants,
    };
    Ok((inherited, outputs, our_input))
}

fn clone_init(plan: &Plan, inherited: Inherited) -> Result<(Pid, OwnedFd), Failure> {
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
    ];
    let keep: Vec<_> = [Some(&inherited.channel)]
        .into_iter()
        .chain(own)
        .flatten()
        .map(AsFd::as_fd)
        .collect();
    let options = clone::CopyOptions {
        namespaces: plan.clone_flags,
        sibling: false,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        keep: Some(&keep),
    };
    match clone::copy_process(&options).at(Step::Clone, &plan.id)? {
        clone::Copied::Child => init::run(plan, inherited),
        clone::Copied::Parent { pid, pidfd } => Ok((pid, pidfd)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_started_in_vain_is_started_again_less_and_less_often() {
        let waits: Vec<u128> = (0..6).map(|in_vain| patience(in_vain).as_millis()).collect();
        assert_eq!(waits, [0, 300, 600, 1200, 2400, 4800]);
        assert_eq!(patience(u32::MAX), LONGEST_WAIT);
    }
}
