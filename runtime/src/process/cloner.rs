//! The helper that makes a container whose parent is the caller, with the caller's own streams (OCI runtimes work so: the
//! container engine above reaps the container).
//!
//! 1. Receive the plan and descriptors: the channel to init, the socket init will listen on, the three streams, then those
//!    to be kept from 3 on, which get their numbers now, before anything else can take them.
//! 2. Join a user, time or pid namespace, or make a time namespace: all take effect for children only.
//! 3. Clone init as a *sibling* (`CLONE_PARENT`), answer with its number and pidfd, and end.

use super::{
    init::{self, Inherited},
    message::{self, Plan},
};
use crate::{
    container::TimeNamespace,
    failure::{At, Failure, Step},
    namespace::Namespace,
    sys::clone,
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd},
    path::{Path, PathBuf},
};

/// What to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) plan: Plan,
    pub(crate) join_user: Option<PathBuf>,
    pub(crate) time: TimeNamespace,
}

/// The answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It exists; its pidfd comes along.
    Made { pid: i32 },
    /// It does not.
    Failed(Failure),
}

/// Runs the role.
pub(crate) fn run(caller: OwnedFd) -> u8 {
    let Ok(Some((task, descriptors))) = message::receive::<Task>(&caller) else {
        return 125;
    };
    // Above the numbers of kept descriptors, which are about to be taken.
    let kept = descriptors.len().saturating_sub(5);
    let Ok(caller) = rustix::io::fcntl_dupfd_cloexec(&caller, first_free(kept)) else {
        return 125;
    };
    match make(&task, descriptors, &caller) {
        Ok(()) => 0,
        Err(failure) => {
            let _ = message::send(&caller, &Answer::Failed(failure), &[]);
            125
        }
    }
}

fn make(task: &Task, descriptors: Vec<OwnedFd>, caller: &OwnedFd) -> Result<(), Failure> {
    let kept = descriptors.len().saturating_sub(5);
    let descriptors = keep_last(descriptors, kept).at(Step::Descriptors, "3-")?;
    let mut descriptors = descriptors.into_iter();
    let mut next = || descriptors.next().ok_or(Errno::BADF).at(Step::Prepare, "streams");
    let inherited = Inherited {
        channel: next()?,
        gate: None,
        listener: Some(next()?),
        input: Some(next()?),
        output: Some((next()?, next()?)),
        grants: None,
    };
    join(task.join_user.as_deref(), clone::CLONE_NEWUSER)?;
    enter_time(&task.time)?;
    join(task.plan.join_pid.as_deref(), clone::CLONE_NEWPID)?;
    let cgroup = match &task.plan.cgroup.v2 {
        Some(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Some(rustix::fs::open(path, flags, Mode::empty()).at(Step::JoinCgroup, path.display())?)
        }
        None => None,
    };
    let options = clone::CopyOptions {
        namespaces: task.plan.clone_flags,
        sibling: true,
        keep: None,
        cgroup: cgroup.as_ref().map(AsFd::as_fd),
    };
    match clone::copy_process(&options).at(Step::Clone, &task.plan.id)? {
        clone::Copied::Child => init::run(&task.plan, inherited),
        clone::Copied::Parent { pid, pidfd } => {
            let answer = Answer::Made {
                pid: pid.as_raw_nonzero().get(),
            };
            message::send(caller, &answer, &[pidfd.as_fd()]).at(Step::Wait, "caller")
        }
    }
}

/// The lowest number that nothing of ours may be below.
pub(super) fn first_free(kept: usize) -> i32 {
    i32::try_from(kept).unwrap_or(i32::MAX - 3) + 3
}

/// Gives the last `kept` descriptors the numbers from 3 on and leaves them open across exec; all others move above.
pub(super) fn keep_last(descriptors: Vec<OwnedFd>, kept: usize) -> rustix::io::Result<Vec<OwnedFd>> {
    if kept == 0 {
        return Ok(descriptors);
    }
    let mut moved = descriptors
        .iter()
        .map(|descriptor| rustix::io::fcntl_dupfd_cloexec(descriptor, first_free(kept)))
        .collect::<rustix::io::Result<Vec<_>>>()?;
    drop(descriptors);
    let split = moved.len().saturating_sub(kept);
    for (number, descriptor) in (3..).zip(moved.drain(split..)) {
        place(&descriptor, number)?;
    }
    Ok(moved)
}

/// Gives a copy of `descriptor` exactly this number, and leaves it open across exec.
fn place(descriptor: &OwnedFd, number: i32) -> rustix::io::Result<()> {
    // The role's socket may have the number; it has a copy elsewhere by now.
    let free = rustix::io::fcntl_dupfd_cloexec(descriptor, number)?;
    if free.as_raw_fd() == number {
        rustix::io::fcntl_setfd(&free, rustix::io::FdFlags::empty())?;
        // Stays open until exec and beyond: nobody owns it here.
        let _ = free.into_raw_fd();
        return Ok(());
    }
    drop(free);
    crate::sys::close_range::replace(descriptor, number).map_err(|_| Errno::BADF)
}

/// Enters a namespace given by path.
fn join(path: Option<&Path>, kind: i32) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).at(Step::JoinNamespace, path.display())?;
    clone::setns(file.as_fd(), kind).at(Step::JoinNamespace, path.display())
}

/// A time namespace for the child; offsets can be written only while nobody is in it (time_namespaces(7)).
fn enter_time(time: &TimeNamespace) -> Result<(), Failure> {
    match &time.namespace {
        Namespace::Host => Ok(()),
        Namespace::Join(path) => join(Some(path), clone::CLONE_NEWTIME),
        Namespace::Private => {
            clone::unshare(clone::CLONE_NEWTIME).at(Step::NewNamespace, "time")?;
            let text = time
                .offsets
                .iter()
                .fold(String::new(), |mut text, (clock, seconds, nanos)| {
                    let _ = writeln!(text, "{clock} {seconds} {nanos}");
                    text
                });
            if text.is_empty() {
                return Ok(());
            }
            std::fs::write("/proc/self/timens_offsets", text).at(Step::NewNamespace, "time offsets")
        }
    }
}
