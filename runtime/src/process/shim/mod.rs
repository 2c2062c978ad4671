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
//!
//! [`make`] has steps 2 and 3; [`revival`] brings the engine back.

mod ahead;
mod make;
mod revival;

pub(crate) use make::listen;
pub(super) use make::pass;

use super::{
    message::{self, Hello, InitMessage, Plan, Reply, Request},
    zygote,
};
use crate::{
    container::{Exit, TerminalSize, paths},
    log::{
        Stream, Writer, now,
        writer::{BLOCK_SIZE, Taken},
    },
    sys::{heap, pidfd},
};
use ahead::Ahead;
use revival::{REVIVE_AGAIN, Revival};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::SocketFlags,
    process::Pid,
    termios::Winsize,
};
use std::{
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

/// How long an exit record may wait for the disk, for the container to be removed meanwhile.
const BEFORE_SYNC: std::time::Duration = Duration::from_millis(20);

/// Runs the role; `launcher` is the socket the plan comes through.
pub(crate) fn run(launcher: OwnedFd) -> u8 {
    serve_launcher(launcher, false)
}

/// The same in a copy of the zygote, which may have been made before somebody wants it.
pub(super) fn run_copied(launcher: OwnedFd) -> u8 {
    serve_launcher(launcher, true)
}

fn serve_launcher(launcher: OwnedFd, copied: bool) -> u8 {
    // Leave the launcher's session: its terminal's Ctrl-C is not for us. Fails when we lead a group already: harmless.
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    // Executed through a descriptor, we would be called after its number.
    let _ = rustix::thread::set_name(c"banyan-shim");
    let ahead = if copied {
        Ahead::prepare(launcher.as_fd())
    } else {
        Ok(None)
    };
    let Ok(ahead) = ahead else { return 125 };
    let made = match message::receive::<Request>(&launcher) {
        Ok(Some((Request::Zygote, _))) => return zygote::run(launcher),
        Ok(Some((Request::Launch(plan), descriptors))) => {
            Shim::launch(*plan, descriptors, launcher.as_fd(), ahead)
        }
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

impl Shim {
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
            Request::Launch(_) | Request::Adopt(_) | Request::Zygote | Request::Fork => {}
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

    /// How an adopted container ended: the kernel tells once its parent (the host's init, or an engine) has reaped it,
    /// which it offers no event for.
    fn status_of_adopted(&self) -> Option<pidfd::Ended> {
        // Ten seconds: a busy host's init takes its time.
        for _ in 0..2000 {
            match pidfd::status_of_stranger(self.pidfd.as_fd()) {
                Ok(None) => {}
                // An older kernel never tells: nobody should wait for it.
                told => return told.ok().flatten(),
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

struct Ready {
    ended: bool,
    listener: bool,
    clients: Vec<usize>,
    channel: bool,
    engine: bool,
}
