//! What went wrong between `clone` and `exec`, in a form that crosses a process boundary: step, object, errno.

use serde::{Deserialize, Serialize};
use std::{fmt, io};

/// A step of the launch; its text completes "cannot …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant's text is its documentation")]
pub enum Step {
    ReadSettings,
    Prepare,
    Clone,
    MapIds,
    JoinCgroup,
    JoinNamespace,
    NewNamespace,
    Loopback,
    Propagation,
    MountRoot,
    SeedVolume,
    Mount,
    Resolve,
    MakeNode,
    WriteFile,
    Mask,
    ReadOnly,
    Pivot,
    Hostname,
    Sysctl,
    Terminal,
    User,
    Group,
    Rlimit,
    OomScore,
    Capabilities,
    NoNewPrivileges,
    Seccomp,
    Cwd,
    Descriptors,
    Log,
    Socket,
    Record,
    Wait,
    Exec,
    Hook,
    Scheduler,
    Personality,
    Label,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadSettings => "read the settings",
            Self::Prepare => "prepare",
            Self::Clone => "make the process of",
            Self::MapIds => "map ids through",
            Self::JoinCgroup => "join the cgroup",
            Self::JoinNamespace => "join the namespace",
            Self::NewNamespace => "make a new namespace",
            Self::Loopback => "bring up the interface",
            Self::Propagation => "set the propagation of",
            Self::MountRoot => "mount the root filesystem from",
            Self::SeedVolume => "fill the volume",
            Self::Mount => "mount",
            Self::Resolve => "find or make",
            Self::MakeNode => "make the device",
            Self::WriteFile => "write",
            Self::Mask => "mask",
            Self::ReadOnly => "make read-only",
            Self::Pivot => "change the root to",
            Self::Hostname => "set the host name",
            Self::Sysctl => "set the kernel parameter",
            Self::Terminal => "set up the terminal",
            Self::User => "become the user",
            Self::Group => "join the group",
            Self::Rlimit => "set the resource limit",
            Self::OomScore => "set the out-of-memory score",
            Self::Capabilities => "set the capabilities",
            Self::NoNewPrivileges => "give up new privileges for",
            Self::Seccomp => "install the seccomp profile",
            Self::Cwd => "change to the working directory",
            Self::Descriptors => "close the descriptors",
            Self::Log => "open the log",
            Self::Socket => "open the socket",
            Self::Record => "write the record",
            Self::Wait => "wait for",
            Self::Exec => "run",
            Self::Hook => "run the hook",
            Self::Scheduler => "set the scheduling of",
            Self::Personality => "set the personality",
            Self::Label => "set the label",
        })
    }
}

/// One failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What was done.
    pub step: Step,
    /// To what: a path, a name, a command.
    pub object: String,
    /// The kernel's answer (errno(3)).
    pub errno: i32,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.errno).to_string();
        // "No such file or directory (os error 2)": the number helps nobody.
        let text = text.split(" (os error").next().unwrap_or_default();
        write!(
            f,
            "cannot {} `{}`: {}",
            self.step,
            self.object,
            text.to_lowercase()
        )
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// The exit status `docker run` gives for this failure: 127 when the program does not exist, 126 when it cannot be
    /// executed, 125 for everything before.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match (self.step, self.errno) {
            (Step::Exec, libc::ENOENT | libc::ENOTDIR) => 127,
            (Step::Exec, _) => 126,
            (Step::Cwd, _) => 126,
            _ => 125,
        }
    }

    /// What the user can do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match (self.step, self.errno) {
            (Step::Exec, libc::ENOENT) => format!("check that `{}` is in the image and in PATH", self.object),
            (Step::Exec, libc::EACCES) => format!("`{}` must be a file that may be executed", self.object),
            (Step::Exec, libc::ENOEXEC) => {
                format!(
                    "`{}` needs a `#!` line, or was built for another processor",
                    self.object
                )
            }
            (Step::User, libc::ENOENT) => {
                format!("the image's /etc/passwd has no `{}`; use a number", self.object)
            }
            (Step::Group, libc::ENOENT) => {
                format!("the image's /etc/group has no `{}`; use a number", self.object)
            }
            (Step::OomScore | Step::Rlimit, libc::EPERM | libc::EACCES) => {
                "this host does not let us raise it (CAP_SYS_RESOURCE is missing)".to_owned()
            }
            _ => return None,
        })
    }
}

/// Names the step and the object of an error.
pub(crate) trait At<T> {
    /// Turns the error into a [`Failure`].
    fn at(self, step: Step, object: impl fmt::Display) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, step: Step, object: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|cause| Failure {
            step,
            object: object.to_string(),
            errno: errno_of(&cause),
        })
    }
}

impl<T> At<T> for rustix::io::Result<T> {
    fn at(self, step: Step, object: impl fmt::Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure {
            step,
            object: object.to_string(),
            errno: errno.raw_os_error(),
        })
    }
}

/// The errno of an error; for errors that std made up, the nearest one.
pub(crate) fn errno_of(error: &io::Error) -> i32 {
    // fs-err keeps the cause inside; its kind is enough to find the number again.
    error.raw_os_error().unwrap_or_else(|| match error.kind() {
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::PermissionDenied => libc::EPERM,
        io::ErrorKind::AlreadyExists => libc::EEXIST,
        io::ErrorKind::NotADirectory => libc::ENOTDIR,
        io::ErrorKind::IsADirectory => libc::EISDIR,
        io::ErrorKind::StorageFull => libc::ENOSPC,
        io::ErrorKind::ReadOnlyFilesystem => libc::EROFS,
        io::ErrorKind::Unsupported => libc::EOPNOTSUPP,
        io::ErrorKind::ResourceBusy => libc::EBUSY,
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => libc::EINVAL,
        _ => libc::EIO,
    })
}
