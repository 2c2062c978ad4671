//! The network of a container without a project (`banyan container run`): what an engine does for a project, one small
//! process does for it, the *attendant*. It belongs to no daemon: it is started with the container and ends with it.
//!
//! 1. The command writes what is wished for ([`Wish`]) into the container's settings and starts the attendant.
//! 2. The attendant joins the networks (they are the shared ones, `bridge` among them), reserves the ports, makes the
//!    container up to its barrier, connects it, serves its names and ports, and says so.
//! 3. The command starts the program; everything else finds the container by its record, as ever.
//! 4. When the container has ended, the attendant gives addresses and ports back, leaves, and ends.
//!
//! A killed attendant is brought back by the container's shim, as an engine is. The lock in the container's run folder is
//! held for as long as it works; whoever removes the container waits for it.

use super::{
    Outcome, Voice,
    networks::{Networks, used_by_host},
    record::{Endpoint, Record},
};
use crate::{
    api::wire::{Failure, Fault, Level, Message, Published},
    model::{
        Attachment, Dialect, ImageSource, Network, Project, ProjectName, PublishedPort, Service, ServiceName,
    },
    network::shared::{ALONE, SharedError, SharedNetworks},
    plan::Slot,
    state::{Roots, read_record, write_record},
};
use banyan_runtime::{
    container::{
        Container, ContainerDir, ContainerError, Created, Extras, Found, LaunchError, Launcher, Revive,
        Running, Settings, open,
    },
    sys::host,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::File,
    io::{self, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::mpsc;

/// Annotation of a container's settings that holds its [`Wish`].
pub const ANNOTATION: &str = "banyan.networks";
/// The network of containers that name none, as in docker.
pub const BRIDGE: &str = "bridge";

/// The hidden command that is an attendant.
pub const COMMAND: &str = "container-attendant";

/// How long an attendant waits for the one before it to have left.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a container asks of the network.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Wish {
    /// Networks, by name on this machine.
    pub networks: BTreeMap<String, Attachment>,
    /// Ports of the host that lead to it.
    pub ports: Vec<PublishedPort>,
    /// Name servers to ask instead of the host's.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Resolver options.
    pub dns_options: Vec<String>,
    /// MAC address on the first network.
    pub mac_address: Option<String>,
    /// `/etc/hosts` but for its own addresses.
    pub hosts: String,
    /// Names for the address at which the host is reached (`--add-host NAME:host-gateway`).
    pub host_names: Vec<String>,
}

/// Where a container is on the network, while it lives: for `inspect`, and for an attendant that comes back.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Presence {
    /// By network.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// Ports.
    pub published: Vec<Published>,
}

impl Wish {
    /// Of a container; `None` when it has no network of this kind.
    pub fn of(settings: &Settings) -> Option<Self> {
        serde_json::from_str(settings.annotations.get(ANNOTATION)?).ok()
    }
}

impl Presence {
    fn path(roots: &Roots, id: &str) -> PathBuf {
        roots.container_run(id).join("network.json")
    }

    /// Of a container that lives.
    pub fn read(roots: &Roots, id: &str) -> Option<Self> {
        read_record(&Self::path(roots, id)).ok()?
    }
}

/// Makes the network `bridge` unless it is there.
///
/// # Errors
/// When no addresses are free, or it cannot be written.
pub fn ensure_bridge(roots: &Roots) -> Result<(), SharedError> {
    let networks = SharedNetworks::new(roots);
    networks.ensure_default(
        shared(BRIDGE),
        &used_by_host(),
        super::names::new_id(),
        super::events::now(),
    )
}

/// A shared network of which nothing but the name is known.
fn shared(name: &str) -> Network {
    Network {
        name: name.to_owned(),
        external: true,
        driver: "bridge".to_owned(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: true,
        ipv4: true,
        ipv6: false,
        ipam: Vec::new(),
        labels: BTreeMap::new(),
    }
}

/// Held by an attendant for as long as it works.
pub fn lock_path(roots: &Roots, id: &str) -> PathBuf {
    roots.container_run(id).join("attendant.lock")
}

/// What an attendant is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errand {
    /// To make the container.
    Launch,
    /// To go on for one that was killed, if the container still lives.
    TakeOver,
}

/// The flag of the hidden command for [`Errand::TakeOver`].
pub const TAKE_OVER: &str = "take-over";

/// The arguments after the program's name that start the attendant of a container.
pub fn arguments(roots: &Roots, id: &str, errand: Errand) -> Vec<String> {
    let text = |path: &Path| path.display().to_string();
    let mut list = [
        COMMAND,
        "--state",
        &text(&roots.state),
        "--run",
        &text(&roots.run),
        "--id",
        id,
    ]
    .map(str::to_owned)
    .to_vec();
    if errand == Errand::TakeOver {
        list.push(format!("--{TAKE_OVER}"));
    }
    list
}

/// Returns when a container that has ended has no attendant any more: its ports are free then.
pub fn settle(roots: &Roots, id: &str) {
    if let Ok(attendant) = File::open(lock_path(roots, id)) {
        // It sees the end by itself, and gives everything back before it ends.
        let _ = attendant.lock();
    }
}

/// Takes away what attendants that were killed left of a container that is gone. Blocks.
pub fn clean_up(roots: &Roots, id: &str) {
    let Ok(name) = member(id) else { return };
    if SharedNetworks::new(roots).joined_by(name.as_str()).is_empty() {
        return;
    }
    let networks = Networks::new(roots, &name);
    networks.shared.release(None);
    networks.shared.leave_all(super::networks::uplinks());
}

/// What a container is called among the members of a network, where projects have their names.
fn member(id: &str) -> Result<ProjectName, Box<Failure>> {
    ProjectName::new(format!("{ALONE}{id}"))
        .map_err(|error| Failure::caused(Fault::Internal, "a container's id is no name", &error))
}

/// Runs the attendant of a container until that has ended. Says on standard output, as messages, how far it is.
///
/// # Errors
/// When it cannot begin.
pub fn run(roots: &Roots, id: &str, errand: Errand) -> io::Result<()> {
    host::detach_session();
    host::become_subreaper()?;
    host::raise_open_files()?;
    let _lock = take_turn(&lock_path(roots, id))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_secs(1))
        .thread_stack_size(2 << 20)
        .enable_all()
        .build()?;
    let ended = runtime.block_on(attend(roots, id, errand));
    if let Err(failure) = ended {
        say(&Message::Failed(failure));
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

/// The lock, when the attendant before us has left.
fn take_turn(path: &Path) -> io::Result<File> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(lock) = super::serve::take_lock(path)? {
            return Ok(lock);
        }
        if std::time::Instant::now() > deadline {
            return Err(io::Error::other(
                "another attendant of the container does not end",
            ));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// To whoever started us, and waits for [`Message::Done`] or [`Message::Failed`]. It may be gone.
fn say(message: &Message) {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    let _ = io::stdout().write_all(&line);
    let _ = io::stdout().flush();
}

fn warning(text: &str) -> Message {
    Message::Note {
        service: None,
        level: Level::Warning,
        text: text.to_owned(),
    }
}

struct Attendant {
    roots: Roots,
    dir: ContainerDir,
    settings: Settings,
    networks: Arc<Networks>,
    project: Project,
    service: Service,
    slot: Slot,
}

async fn attend(roots: &Roots, id: &str, errand: Errand) -> Outcome {
    let attendant = Attendant::new(roots, id)?;
    let result = attendant.attend(errand).await;
    // Whether it ever came to life or not: addresses, ports and the way out go back.
    attendant.networks.release(&attendant.slot);
    attendant.networks.close().await;
    result
}

impl Attendant {
    fn new(roots: &Roots, id: &str) -> Outcome<Self> {
        let dir = ContainerDir::new(roots.container(id), roots.container_run(id));
        let settings = dir.settings().map_err(|error| {
            Failure::caused(Fault::Internal, "cannot read the container's settings", &error)
        })?;
        let wish = Wish::of(&settings)
            .ok_or_else(|| Failure::new(Fault::Internal, "the container asks for no network"))?;
        let name = member(id)?;
        // Messages name it.
        let service_name = ServiceName::new(settings.name.as_str())
            .or_else(|_| ServiceName::new("container"))
            .map_err(|error| Failure::caused(Fault::Internal, "not a service's name", &error))?;
        let image = ImageSource {
            name: String::new(),
            named: true,
            build: None,
        };
        let service = Service {
            container_name: Some(settings.name.clone()),
            networks: wish.networks.clone(),
            ports: wish.ports,
            dns: wish.dns,
            dns_search: wish.dns_search,
            dns_opt: wish.dns_options,
            mac_address: wish.mac_address,
            ..Service::new(service_name.clone(), image)
        };
        let networks = Arc::new(Networks::new(roots, &name));
        let mut project = Project {
            name,
            dialect: Dialect::Compose,
            directory: PathBuf::from("/"),
            files: Vec::new(),
            services: BTreeMap::from([(service_name.clone(), service.clone())]),
            disabled: BTreeMap::new(),
            networks: wish
                .networks
                .keys()
                .map(|name| (name.clone(), shared(name)))
                .collect(),
            volumes: BTreeMap::new(),
            secrets: BTreeMap::new(),
            configs: BTreeMap::new(),
        };
        networks
            .shared
            .resolve(&mut project, &[service_name.clone()].into())?;
        networks.define(&project)?;
        Ok(Self {
            roots: roots.clone(),
            dir,
            settings,
            networks,
            project,
            service,
            slot: Slot {
                service: service_name,
                number: 1,
            },
        })
    }

    async fn attend(&self, errand: Errand) -> Outcome {
        let found = open(&self.dir).map_err(|error| self.failed("open", &error))?;
        let mut alive = match found {
            // The attendant before us was killed.
            Found::Running(container) => self.take_over(Alive::Running(container)).await?,
            Found::Created(container) => self.take_over(Alive::Created(container)).await?,
            _ if errand == Errand::TakeOver => return Ok(()),
            _ => Alive::Created(self.launch().await?),
        };
        say(&Message::Done);
        loop {
            let ended = tokio::task::spawn_blocking(move || {
                let ended = alive.wait();
                alive.settle();
                ended
            });
            match ended.await {
                Ok(Err(ContainerError::ShimLost)) => {}
                _ => return Ok(()),
            }
            // Its shim was killed, and it lives: it gets another, as from any command that needs one.
            let adopted =
                Launcher::new(Path::new("/proc/self/exe")).map(|launcher| launcher.adopt(&self.dir));
            match adopted {
                Ok(Ok(container)) => alive = Alive::Running(container),
                _ => return Ok(()),
            }
        }
    }

    /// A launcher that has settled in the scope that the container and we are in together.
    fn launcher(&self) -> tokio::task::JoinHandle<Result<Launcher, LaunchError>> {
        let id = &self.settings.id;
        let short = id.get(..12).unwrap_or(id).to_owned();
        let description = format!("Container {} (banyan)", self.settings.name);
        tokio::task::spawn_blocking(move || {
            let launcher = Launcher::new(Path::new("/proc/self/exe"))?.in_scope(&short, &description);
            launcher.settle();
            Ok(launcher)
        })
    }

    /// Makes the container and connects it.
    async fn launch(&self) -> Outcome<Container<Created>> {
        let (tell, mut told) = mpsc::unbounded_channel();
        let voice = Voice::new(tell);
        let this = &self.networks;
        // Where systemd makes the container's scope, it does so while we see to the network.
        let launcher = self.launcher();
        this.reserve(&self.slot, &self.service)?;
        for key in self.project.networks.keys() {
            this.ensure(key, &voice).await?;
        }
        while let Ok(message) = told.try_recv() {
            say(&message);
        }
        let mut endpoints = this.allocate(&self.project, &self.service, &self.slot)?;
        let id = &self.settings.id;
        for (key, endpoint) in &mut endpoints {
            let aliases = self
                .service
                .networks
                .get(key)
                .map(|attachment| &attachment.aliases);
            endpoint.names = vec![self.settings.name.clone(), id.get(..12).unwrap_or(id).to_owned()];
            endpoint.names.extend(aliases.into_iter().flatten().cloned());
        }
        let settings = self.with_files(&endpoints);
        let mut record = self.record(settings, endpoints);
        let extras = Extras {
            keep: this.halls_to_hold(&record)?,
            engine: host::own_pidfd().ok(),
            ..Extras::default()
        };
        let (dir, settings) = (self.dir.clone(), record.settings.clone());
        let launcher = launcher
            .await
            .map_err(|error| Failure::caused(Fault::Internal, "creating failed", &error))?;
        let created = tokio::task::spawn_blocking(move || {
            let launcher = launcher?;
            if let Some(text) = launcher.notice() {
                say(&warning(text));
            }
            launcher.create(&settings, &dir, extras)
        });
        let created = created
            .await
            .map_err(|error| Failure::caused(Fault::Internal, "creating failed", &error))?
            .map_err(|error| {
                let mut failure = Failure::caused(
                    Fault::Host,
                    format!("cannot start container `{}`", self.settings.name),
                    &error,
                );
                failure.status = Some(error.exit_status());
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?;
        let attached = this.attach(&record, &created).await;
        record.published = match attached.and_then(|published| self.write(&record, published)) {
            Ok(published) => published,
            Err(failure) => {
                created.abandon();
                return Err(failure);
            }
        };
        Ok(created)
    }

    fn write(&self, record: &Record, published: Vec<Published>) -> Outcome<Vec<Published>> {
        let presence = Presence {
            endpoints: record.endpoints.clone(),
            published,
        };
        write_record(&Presence::path(&self.roots, &record.id), &presence)
            .map_err(|error| self.failed("remember the network of", &error))?;
        Ok(presence.published)
    }

    /// What the files of `/etc` say of its place on the network, and how its shim brings us back.
    fn with_files(&self, endpoints: &BTreeMap<String, Endpoint>) -> Settings {
        let mut settings = self.settings.clone();
        settings.files.resolv_conf = Some(self.networks.resolv_conf(&self.service, endpoints));
        let wish = Wish::of(&self.settings).unwrap_or_default();
        let mut hosts = wish.hosts;
        let full = match &settings.domainname {
            Some(domain) => format!("{0}.{domain} {0}", self.settings.host_name()),
            None => self.settings.host_name().to_owned(),
        };
        for address in endpoints.values().flat_map(Endpoint::addresses) {
            let _ = writeln!(hosts, "{address}\t{full}");
        }
        if let Some(gateway) = self.networks.host_gateway() {
            for name in wish.host_names {
                let _ = writeln!(hosts, "{gateway}\t{name}");
            }
        }
        settings.files.hosts = Some(hosts);
        let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
        let mut command = vec![program.display().to_string()];
        command.extend(arguments(&self.roots, &self.settings.id, Errand::TakeOver));
        settings.revive = Some(Revive {
            command,
            lock: self.dir.run.join("revive.lock"),
        });
        settings
    }

    fn record(&self, settings: Settings, endpoints: BTreeMap<String, Endpoint>) -> Record {
        Record {
            id: settings.id.clone(),
            name: settings.name.clone(),
            project: self.project.name.to_string(),
            slot: self.slot.clone(),
            one_off: true,
            auto_remove: false,
            service: self.service.clone(),
            config_hash: String::new(),
            image: String::new(),
            image_health: None,
            command: Vec::new(),
            created: super::events::now(),
            endpoints,
            published: Vec::new(),
            anonymous: BTreeMap::new(),
            volumes: Vec::new(),
            labels: BTreeMap::new(),
            settings,
            restarts: 0,
        }
    }

    /// Serves a container again that another attendant made.
    async fn take_over(&self, alive: Alive) -> Outcome<Alive> {
        let presence = Presence::read(&self.roots, &self.settings.id).unwrap_or_default();
        let mut record = self.record(self.settings.clone(), presence.endpoints);
        record.published = presence.published;
        let pidfd = host::own_pidfd().map_err(|error| self.failed("watch over", &error))?;
        let adopted = alive.adopt_by(std::os::fd::AsFd::as_fd(&pidfd));
        adopted.map_err(|error| self.failed("take over", &error))?;
        let running = vec![(record.clone(), alive.pid())];
        self.networks
            .take_over(alive.kept(), vec![record], &running)
            .await?;
        Ok(alive)
    }

    fn failed(&self, verb: &str, error: &(dyn std::error::Error + 'static)) -> Box<Failure> {
        let what = format!("cannot {verb} container `{}`", self.settings.name);
        Failure::caused(Fault::Host, what, error)
    }
}

/// A container whose process exists, whatever its stage.
enum Alive {
    Created(Container<Created>),
    Running(Container<Running>),
}

impl Alive {
    fn wait(&mut self) -> Result<(), ContainerError> {
        match self {
            Self::Created(container) => container.wait(None).map(drop),
            Self::Running(container) => container.wait(None).map(drop),
        }
    }

    fn settle(&mut self) {
        match self {
            Self::Created(container) => container.settle(),
            Self::Running(container) => container.settle(),
        }
    }

    fn adopt_by(&self, pidfd: std::os::fd::BorrowedFd<'_>) -> Result<(), ContainerError> {
        match self {
            Self::Created(container) => container.adopt_by(pidfd),
            Self::Running(container) => container.adopt_by(pidfd),
        }
    }

    fn kept(&self) -> Vec<PathBuf> {
        match self {
            Self::Created(container) => container.kept(),
            Self::Running(container) => container.kept(),
        }
    }

    fn pid(&self) -> i32 {
        match self {
            Self::Created(container) => container.pid(),
            Self::Running(container) => container.pid(),
        }
    }
}
