//! The helper of `exec`: joins a container and makes one more process in it.
//!
//! 1. Receive the order and descriptors: the container's pidfd, then standard streams.
//! 2. Become undumpable, so that nobody in the container can look into us while we are half inside (CVE-2016-9962).
//! 3. Join the cgroups, then all namespaces but that of cgroups at once through the pidfd.
//! 4. A terminal, if wanted, from the container's own `/dev/pts`.
//! 5. Clone the process as a *sibling* (`CLONE_PARENT`): it is the caller's child, who can wait for it; the helper ends.
//! 6. The process confines itself as the container's own did, and executes.

use super::{
    cloner,
    confinement::{Confined, become_program},
    init::open_terminal,
    message, stdio,
    user::{self, Identity},
};
use crate::{
    cgroup::Cgroup,
    confine::SeccompProfile,
    container::Process,
    failure::{At, Failure, Step},
    rootfs::inside::Tree,
    sys::{clone, exec},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::DumpableBehavior,
};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsFd, OwnedFd};

/// What to run and where. Descriptors beside it: the pidfd of the container's process 1, then input, output and error
/// unless there is a terminal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) process: Process,
    pub(crate) host_name: String,
    pub(crate) seccomp: SeccompProfile,
    pub(crate) cgroup: Cgroup,
    /// `CLONE_NEW*` of all namespaces to join.
    pub(crate) namespaces: i32,
    /// How many of the descriptors, the last ones, are the process's own from 3 on.
    #[serde(default)]
    pub(crate) preserved: usize,
}

/// The helper's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The process exists; its pidfd comes along, then its terminal's master. A failure may still follow; the end of
    /// the stream means that it was executed.
    Entered { pid: i32 },
    /// It failed.
    Failed(Failure),
}

/// Runs the role.
pub(crate) fn run(caller: OwnedFd) -> u8 {
    let Ok(Some((order, descriptors))) = message::receive::<Order>(&caller) else {
        return 125;
    };
    // Above the numbers of kept descriptors, which are about to be taken.
    let Ok(caller) = rustix::io::fcntl_dupfd_cloexec(&caller, cloner::first_free(order.preserved)) else {
        return 125;
    };
    match enter(&order, descriptors, &caller) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = message::send(&caller, &Answer::Failed(failure), &[]);
            125
        }
    }
}

fn enter(order: &Order, descriptors: Vec<OwnedFd>, caller: &OwnedFd) -> Result<(), Failure> {
    let descriptors = cloner::keep_last(descriptors, order.preserved).at(Step::Descriptors, "3-")?;
    let mut descriptors = descriptors.into_iter();
    let target = descriptors
        .next()
        .ok_or(Errno::BADF)
        .at(Step::JoinNamespace, "pidfd")?;
    let streams: Vec<OwnedFd> = descriptors.collect();
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Prepare, "exec")?;
    let cgroup = match &order.cgroup.v2 {
        Some(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some(rustix::fs::open(path, flags, Mode::empty()).at(Step::JoinCgroup, path.display())?)
        }
        None => None,
    };
    for door in order.cgroup.doors() {
        let file = rustix::fs::open(&door, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        file.and_then(|file| rustix::io::write(&file, b"0"))
            .at(Step::JoinCgroup, door.display())?;
    }
    // A cgroup namespace is a border that processes are not moved across (`nsdelegate`, cgroup-v2.rst, "Delegation
    // Containment"): the copy is born in the container's cgroup, and joins the namespace then.
    let late = order.namespaces & clone::CLONE_NEWCGROUP;
    clone::setns(target.as_fd(), order.namespaces & !late).at(Step::JoinNamespace, "container")?;
    rustix::process::chdir("/").at(Step::Cwd, "/")?;
    let root = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .at(Step::Resolve, "/")?;
    let tree = Tree::new(root);
    let identity = match &order.process.exact {
        Some(exact) => Identity::exact(&tree, exact),
        None => user::look_up(&tree, &order.process.user, &order.process.groups)?,
    };
    let terminal = match order.process.terminal {
        Some(size) => Some(open_terminal(size.rows, size.columns).at(Step::Terminal, "/dev/pts/ptmx")?),
        None => None,
    };
    let filter =
        crate::confine::filter(&order.seccomp, &order.process.capabilities).at(Step::Seccomp, "profile")?;
    let options = clone::CopyOptions {
        namespaces: 0,
        sibling: true,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
        keep: None,
    };
    match clone::copy_process(&options).at(Step::Clone, "exec")? {
        clone::Copied::Parent { pid, pidfd } => {
            let mut along = vec![pidfd.as_fd()];
            along.extend(terminal.iter().map(|(master, _)| master.as_fd()));
            let answer = Answer::Entered {
                pid: pid.as_raw_nonzero().get(),
            };
            message::send(caller, &answer, &along).at(Step::Wait, "caller")
        }
        clone::Copied::Child => {
            let slave = terminal.map(|(_, slave)| slave);
            let confined = Confined {
                process: &order.process,
                identity: &identity,
                host_name: &order.host_name,
                filter: &filter,
                filter_flags: crate::confine::filter_flags(&order.seccomp),
                supervisor: None,
            };
            let joined = match late {
                0 => Ok(()),
                late => clone::setns(target.as_fd(), late).at(Step::JoinNamespace, "cgroup"),
            };
            let ready = joined.and_then(|()| take_streams(slave.as_ref(), &streams, identity.uid));
            let failure = match ready {
                Ok(()) => become_program(&confined),
                Err(failure) => failure,
            };
            let _ = message::send(caller, &Answer::Failed(failure), &[]);
            exec::leave(125)
        }
    }
}

fn take_streams(slave: Option<&OwnedFd>, streams: &[OwnedFd], uid: u32) -> Result<(), Failure> {
    rustix::process::setsid().at(Step::Prepare, "session")?;
    if let Some(slave) = slave {
        rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(uid)), None).at(Step::Terminal, "slave")?;
        rustix::process::ioctl_tiocsctty(slave).at(Step::Terminal, "slave")?;
        return stdio::install(slave, slave, slave).at(Step::Terminal, "slave");
    }
    let [input, output, error] = streams else {
        return Err(Errno::BADF).at(Step::Prepare, "streams");
    };
    stdio::install(input, output, error).at(Step::Prepare, "streams")
}
