//! What one container costs beside the kernel's own work and beside crun and runc, all in one run, in turn.
//!
//! Run it through `benches/container`, which builds the program first and prepares the host. Prints medians and 95th
//! percentiles; machines are noisy, so read the ratios. Four floors: the bare one has namespaces and an overlay; the second
//! also has the cgroups every container has here, joined in the cheapest way there is; the third also the filesystems that
//! no container is without (`/proc`, `/dev` and what is in it, `/sys`, the cgroup view), and `pivot_root`. The fourth is the
//! first with a veth pair to a bridge, an address and a default route.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

#[path = "container/veth.rs"]
mod veth;

use banyan_runtime::{
    container::{ContainerDir, Extras, Launcher, Settings, remove},
    rootfs::RootFs,
};
use std::{
    ffi::CString,
    fs,
    os::fd::{AsFd, AsRawFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Rows that others are compared with.
const FLOORS: usize = 4;
/// Containers started at the same time.
const PARALLEL: usize = 50;

fn main() {
    let arguments: Vec<String> = std::env::args().filter(|word| word != "--bench").collect();
    let program = PathBuf::from(arguments.get(1).expect("use benches/container"));
    let rounds: usize = arguments.get(2).map_or(40, |text| text.parse().unwrap());
    let place = tempfile::Builder::new()
        .prefix("banyan-bench-")
        .tempdir()
        .unwrap();
    let bench = Bench::new(program, place.path());
    let mut rows: Vec<Row> = vec![
        Row::new(
            "floor: clone, overlay, exec, wait",
            Box::new(|b, n| b.floor(n, &[], &[], None)),
        ),
        Row::new(
            "floor with cgroups",
            Box::new(|b, n| b.floor(n, &b.hierarchies, &[], None)),
        ),
        Row::new(
            "floor with cgroups and its mounts",
            Box::new(|b, n| b.floor(n, &b.hierarchies, &b.mounts, None)),
        ),
        Row::new(
            "floor with veth",
            Box::new(|b, n| b.floor(n, &[], &[], Some(&b.net))),
        ),
        Row::new("banyan, library", Box::new(|b, n| b.library(n, false))),
        Row::new("banyan, library, with veth", Box::new(|b, n| b.library(n, true))),
        Row::new("banyan container run --rm", Box::new(|b, n| b.command(n))),
        Row::new("banyan oci run", Box::new(|b, n| b.oci(n))),
    ];
    for peer in ["crun", "runc"] {
        match bench.peer_works(peer) {
            Ok(version) => {
                println!("{version}");
                rows.push(Row::new(
                    if peer == "crun" { "crun run" } else { "runc run" },
                    Box::new(move |b, n| b.peer(peer, n)),
                ));
            }
            Err(why) => println!("{peer}: not measured: {why}"),
        }
    }
    // To look at one row with a profiler; both floors stay, for the ratios.
    if let Some(only) = arguments.get(3) {
        let floors = rows.drain(..FLOORS).collect::<Vec<_>>();
        rows.retain(|row| row.name.contains(only.as_str()));
        rows.splice(..0, floors);
    }
    for round in 0..rounds + 3 {
        for row in &mut rows {
            let (start, before) = (Instant::now(), processor_time());
            (row.run)(&bench, round);
            // The first rounds warm caches.
            if round >= 3 {
                row.times.push(start.elapsed());
                row.work.push(processor_time() - before);
            }
        }
    }
    let floors: Vec<Duration> = rows[..FLOORS].iter_mut().map(Row::median).collect();
    println!(
        "{:<36} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        format!("{rounds} rounds, /bin/true"),
        "best",
        "median",
        "p95",
        "work",
        "x floor",
        "x 2nd",
        "x 3rd",
        "x veth"
    );
    for row in &mut rows {
        let median = row.median();
        let ratios: String = floors
            .iter()
            .map(|floor| format!(" {:>9.2}", median.as_secs_f64() / floor.as_secs_f64()))
            .collect();
        let (best, high, work) = (row.percentile(0), row.percentile(95), row.work());
        println!(
            "{:<36} {:>6.2} ms {:>6.2} ms {:>6.2} ms {:>6.2} ms{ratios}",
            row.name,
            milliseconds(best),
            milliseconds(median),
            milliseconds(high),
            milliseconds(work),
        );
    }
    if arguments.len() < 4 {
        bench.parallel();
        bench.idle();
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Processor time this process and the children it has waited for (and theirs) used so far.
fn processor_time() -> Duration {
    let of = |who| {
        // SAFETY: a structure of integers, for which all zeroes is a valid value.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` outlives the call.
        assert_eq!(unsafe { libc::getrusage(who, &raw mut usage) }, 0);
        let time = |part: libc::timeval| {
            Duration::from_secs(part.tv_sec.unsigned_abs())
                + Duration::from_micros(part.tv_usec.unsigned_abs())
        };
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    of(libc::RUSAGE_SELF) + of(libc::RUSAGE_CHILDREN)
}

type Run = Box<dyn Fn(&Bench, usize)>;

struct Row {
    name: &'static str,
    run: Run,
    times: Vec<Duration>,
    /// Processor time of all processes taken part in, which other work on the machine disturbs less.
    work: Vec<Duration>,
}

impl Row {
    fn new(name: &'static str, run: Run) -> Self {
        Self {
            name,
            run,
            times: Vec::new(),
            work: Vec::new(),
        }
    }

    fn work(&mut self) -> Duration {
        self.work.sort_unstable();
        self.work[(self.work.len() - 1) / 2]
    }

    fn median(&mut self) -> Duration {
        self.percentile(50)
    }

    fn percentile(&mut self, part: usize) -> Duration {
        self.times.sort_unstable();
        self.times[(self.times.len() - 1) * part / 100]
    }
}

struct Bench {
    place: PathBuf,
    program: PathBuf,
    launcher: Launcher,
    /// Where a container has cgroups: v1 hierarchies, or the v2 tree.
    hierarchies: Vec<PathBuf>,
    /// What is mounted in a root beside the root.
    mounts: Vec<Step>,
    net: veth::Net,
}

/// One of the calls that fill a container's root, below its current directory.
enum Step {
    Mount {
        kind: CString,
        at: CString,
        flags: libc::c_ulong,
        options: CString,
    },
    Folder(CString),
    Node(CString, libc::dev_t),
}

impl Step {
    /// The filesystems every container has, in order.
    fn all(hierarchies: &[PathBuf]) -> Vec<Self> {
        let text = |text: &str| CString::new(text).unwrap();
        let mount = |kind: &str, at: &str, flags: libc::c_ulong, options: &str| Self::Mount {
            kind: text(kind),
            at: text(at),
            flags,
            options: text(options),
        };
        let still = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
        let mut steps = vec![
            mount("proc", "proc", still, ""),
            mount("tmpfs", "dev", libc::MS_NOSUID, "mode=755,size=64k"),
        ];
        for (name, major, minor) in [
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("tty", 5, 0),
        ] {
            steps.push(Self::Node(
                text(&format!("dev/{name}")),
                libc::makedev(major, minor),
            ));
        }
        for folder in ["pts", "shm", "mqueue"] {
            steps.push(Self::Folder(text(&format!("dev/{folder}"))));
        }
        steps.extend([
            mount(
                "devpts",
                "dev/pts",
                libc::MS_NOSUID | libc::MS_NOEXEC,
                "newinstance,ptmxmode=0666,mode=620",
            ),
            mount("tmpfs", "dev/shm", still, "size=64m"),
            mount("mqueue", "dev/mqueue", still, ""),
            mount("sysfs", "sys", still | libc::MS_RDONLY, ""),
        ]);
        if hierarchies.len() == 1 {
            steps.push(mount("cgroup2", "sys/fs/cgroup", still | libc::MS_RDONLY, ""));
            return steps;
        }
        steps.push(mount("tmpfs", "sys/fs/cgroup", still, "mode=755"));
        for hierarchy in hierarchies {
            let name = hierarchy.file_name().unwrap().to_str().unwrap();
            let at = format!("sys/fs/cgroup/{name}");
            steps.push(Self::Folder(text(&at)));
            steps.push(mount("cgroup", &at, still | libc::MS_RDONLY, name));
        }
        steps
    }

    /// Carries it out; makes system calls only.
    fn done(&self) -> bool {
        let result = match self {
            Self::Mount {
                kind,
                at,
                flags,
                options,
            } => {
                // SAFETY: all are NUL-terminated texts that outlive the call.
                unsafe {
                    libc::mount(
                        kind.as_ptr(),
                        at.as_ptr(),
                        kind.as_ptr(),
                        *flags,
                        options.as_ptr().cast(),
                    )
                }
            }
            // SAFETY: a NUL-terminated text that outlives the call.
            Self::Folder(at) => unsafe { libc::mkdir(at.as_ptr(), 0o755) },
            // SAFETY: a NUL-terminated text that outlives the call.
            Self::Node(at, device) => unsafe { libc::mknod(at.as_ptr(), libc::S_IFCHR | 0o666, *device) },
        };
        result == 0
    }
}

impl Bench {
    fn new(program: PathBuf, place: &Path) -> Self {
        let root = place.join("root");
        for folder in ["bin", "proc", "sys", "dev", "etc", "tmp"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in ["true", "sleep"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let launcher = Launcher::for_many(&program).unwrap();
        let bench = Self {
            place: place.to_path_buf(),
            program,
            launcher,
            mounts: Step::all(&hierarchies()),
            hierarchies: hierarchies(),
            net: veth::Net::new(),
        };
        bench.bundle();
        bench
    }

    /// A bundle for all OCI runtimes alike: what runc's `spec` would write, without a terminal.
    fn bundle(&self) {
        let bundle = self.place.join("bundle");
        fs::create_dir(&bundle).unwrap();
        let mut config = banyan_runtime::oci::example::example();
        // The oldest version that all of them know.
        config["ociVersion"] = "1.0.2".into();
        config["process"]["terminal"] = false.into();
        config["process"]["args"] = serde_json::json!(["/bin/true"]);
        config["root"]["path"] = self.place.join("root").display().to_string().into();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
    }

    fn settings(&self, id: &str, words: &[&str]) -> (Settings, ContainerDir) {
        let state = self.place.join("state").join(id);
        let root = RootFs::overlay(
            vec![self.place.join("root")],
            state.join("upper"),
            state.join("work"),
        );
        let words = words.iter().map(ToString::to_string).collect();
        let mut settings = Settings::new(id, root, words);
        // Removed as soon as it has ended: the floor's overlay is not synced either.
        settings.root.volatile = true;
        settings.id = format!("bench-{}-{id}", std::process::id());
        (
            settings,
            ContainerDir::new(state, self.place.join("run").join(id)),
        )
    }

    /// Create, perhaps connect, start, wait, remove, in this process.
    fn library(&self, round: usize, with_network: bool) {
        let (settings, dir) = self.settings(&format!("l{round}"), &["/bin/true"]);
        let created = self.launcher.create(&settings, &dir, Extras::default()).unwrap();
        if with_network {
            let namespace = created.network_namespace().unwrap();
            let endpoint = veth::Net::endpoint(round);
            self.net
                .hall
                .connect(namespace.as_fd(), &[endpoint], None)
                .unwrap();
        }
        let mut running = created.start().unwrap();
        assert_eq!(running.wait(None).unwrap().unwrap().code(), 0);
        remove(&dir, false).unwrap();
        running.settle();
    }

    fn command(&self, _: usize) {
        let mut command = Command::new(&self.program);
        command
            .arg("--root")
            .arg(self.place.join("cli"))
            .args(["container", "run", "--rm", "--rootfs"]);
        command.arg(self.place.join("root")).args(["--", "/bin/true"]);
        succeed(&mut command);
    }

    fn oci(&self, round: usize) {
        let mut command = Command::new(&self.program);
        command.arg("oci").arg("--root").arg(self.place.join("oci"));
        succeed(self.run_bundle(&mut command, round));
    }

    fn peer(&self, peer: &str, round: usize) {
        let mut command = Command::new(peer);
        command.arg("--root").arg(self.place.join(peer));
        succeed(self.run_bundle(&mut command, round));
    }

    fn run_bundle<'a>(&self, command: &'a mut Command, round: usize) -> &'a mut Command {
        let id = format!("bench-{}-{round}", std::process::id());
        command
            .args(["run", "--bundle"])
            .arg(self.place.join("bundle"))
            .arg(id)
    }

    /// Its version, when it can run the bundle here.
    fn peer_works(&self, peer: &str) -> Result<String, String> {
        let mut command = Command::new(peer);
        command.arg("--root").arg(self.place.join(peer));
        let output = self.run_bundle(&mut command, 0).stdin(Stdio::null()).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            let output = Command::new(peer).arg("--version").output();
            let text = output.map_err(|error| error.to_string())?.stdout;
            let text = String::from_utf8_lossy(&text);
            return Ok(text.lines().next().unwrap_or(peer).to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }

    /// The kernel's own work: the namespaces of a container, an overlay as its root, cgroups in these hierarchies, these
    /// mounts, exec, wait, clean-up. No limits, nothing masked.
    fn floor(&self, round: usize, hierarchies: &[PathBuf], mounts: &[Step], net: Option<&veth::Net>) {
        let cgroups: Vec<PathBuf> = hierarchies
            .iter()
            .map(|mount| mount.join(format!("bench-{}-f{round}", std::process::id())))
            .collect();
        let doors: Vec<CString> = cgroups.iter().map(|cgroup| open_cgroup(cgroup)).collect();
        let place = self.place.join(format!("floor{round}"));
        for folder in ["upper", "work", "root"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        let text = |path: PathBuf| CString::new(path.display().to_string()).unwrap();
        let options = format!(
            "volatile,lowerdir={},upperdir={},workdir={}",
            self.place.join("root").display(),
            place.join("upper").display(),
            place.join("work").display()
        );
        let (options, root) = (CString::new(options).unwrap(), text(place.join("root")));
        let program = c"/bin/true";
        let inside = veth::Inside::new(round);
        // The child waits for its end of the pair.
        let (wait, tell) = std::io::pipe().unwrap();
        let flags = libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWCGROUP
            | libc::SIGCHLD;
        // SAFETY: without CLONE_VM this is fork(2) with namespaces; the child makes system calls only, on memory that is
        // its own copy, and ends by exec or _exit.
        let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
        assert!(pid >= 0, "clone failed: run this as root");
        if pid == 0 {
            let arguments = [program.as_ptr(), std::ptr::null()];
            #[expect(clippy::multiple_unsafe_ops_per_block, reason = "one child, one story")]
            // SAFETY: all pointers are to NUL-terminated texts that live until exec; failures end the child.
            unsafe {
                if net.is_some() {
                    let mut one = 0_u8;
                    let got = libc::read(wait.as_raw_fd(), (&raw mut one).cast(), 1);
                    if got != 1 || !inside.done() {
                        libc::_exit(3);
                    }
                }
                for door in &doors {
                    let fd = libc::open(door.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
                    if libc::write(fd, c"0".as_ptr().cast(), 1) != 1 {
                        libc::_exit(2);
                    }
                    libc::close(fd);
                }
                let none = std::ptr::null();
                libc::mount(
                    none,
                    c"/".as_ptr(),
                    none,
                    libc::MS_PRIVATE | libc::MS_REC,
                    none.cast(),
                );
                let mounted = libc::mount(
                    c"overlay".as_ptr(),
                    root.as_ptr(),
                    c"overlay".as_ptr(),
                    0,
                    options.as_ptr().cast(),
                );
                let entered =
                    mounted == 0 && libc::chdir(root.as_ptr()) == 0 && mounts.iter().all(Step::done);
                let here = c".".as_ptr();
                let rooted = match mounts {
                    [] => libc::chroot(here) == 0,
                    _ => {
                        libc::syscall(libc::SYS_pivot_root, here, here) == 0
                            && libc::umount2(here, libc::MNT_DETACH) == 0
                    }
                };
                if entered && rooted && libc::chdir(c"/".as_ptr()) == 0 {
                    libc::execve(program.as_ptr(), arguments.as_ptr(), [std::ptr::null()].as_ptr());
                }
                libc::_exit(1);
            }
        }
        let mut status = 0;
        let pid = i32::try_from(pid).unwrap();
        if let Some(net) = net {
            net.give(pid, round);
            std::io::Write::write_all(&mut &tell, b"1").unwrap();
        }
        // SAFETY: `status` outlives the call; the child is ours.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(waited == pid && status == 0, "the floor's child failed");
        fs::remove_dir_all(&place).unwrap();
        for cgroup in &cgroups {
            fs::remove_dir(cgroup).unwrap();
        }
    }

    /// Fifty at once: until all run.
    fn parallel(&self) {
        let start = Instant::now();
        let containers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..PARALLEL)
                .map(|number| {
                    scope.spawn(move || {
                        let (settings, dir) = self.settings(&format!("p{number}"), &["/bin/sleep", "1000"]);
                        let created = self.launcher.create(&settings, &dir, Extras::default()).unwrap();
                        (created.start().unwrap(), dir)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        println!(
            "{PARALLEL} containers started in parallel: {:.0} ms",
            milliseconds(start.elapsed())
        );
        let start = Instant::now();
        for (mut running, dir) in containers {
            remove(&dir, true).unwrap();
            running.settle();
        }
        println!(
            "{PARALLEL} containers killed and removed, in turn: {:.0} ms",
            milliseconds(start.elapsed())
        );
    }

    /// What a silent shim holds in memory.
    fn idle(&self) {
        let containers: Vec<_> = (0..PARALLEL)
            .map(|number| {
                let (settings, dir) = self.settings(&format!("i{number}"), &["/bin/sleep", "1000"]);
                let created = self.launcher.create(&settings, &dir, Extras::default()).unwrap();
                (created.start().unwrap(), dir)
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        let field = |text: &str, name: &str| -> u64 {
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or("0");
            line.split_whitespace().next().unwrap_or("0").parse().unwrap_or(0)
        };
        let (mut pss, mut private) = (0, 0);
        for (running, _) in &containers {
            let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", running.shim_pid())).unwrap();
            pss += field(&text, "Pss:");
            private += field(&text, "Private_Clean:") + field(&text, "Private_Dirty:");
        }
        let count = PARALLEL as u64;
        println!(
            "{PARALLEL} idle shims: {} KiB PSS each, {} KiB private each",
            pss / count,
            private / count
        );
        for (mut running, dir) in containers {
            remove(&dir, true).unwrap();
            running.settle();
        }
    }
}

/// Mounts of this host's cgroup hierarchies with controllers.
fn hierarchies() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounts = |kind: &str| -> Vec<PathBuf> {
        text.lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .filter(|words| words[2] == kind && !words[3].contains("name="))
            .map(|words| PathBuf::from(words[1]))
            .collect()
    };
    let old = mounts("cgroup");
    if old.is_empty() { mounts("cgroup2") } else { old }
}

/// Makes a cgroup; gives the file through which a process joins.
fn open_cgroup(cgroup: &Path) -> CString {
    fs::create_dir(cgroup).unwrap();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let above = cgroup.parent().unwrap().join(file);
        // On v1 a new one allows nothing.
        if let Ok(all) = fs::read(above) {
            fs::write(cgroup.join(file), all).unwrap();
        }
    }
    let alone = cgroup.join("tasks");
    let door = if alone.exists() {
        alone
    } else {
        cgroup.join("cgroup.procs")
    };
    CString::new(door.display().to_string()).unwrap()
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
