//! `image build`, with docker's flags.

use super::{
    CommandError, Exit, Global, Outcome, credentials, failed, launcher, platform, reference, render::Printer,
    store, with_hint,
};
use crate::engine::networks::uplinks;
use banyan_runtime::{
    build::{self, BuildRequest, RunNetwork, remote::Remote},
    image::Store,
    network::{Outbound, UplinkError, resolv_conf::ResolvConf},
    registry::push::push,
};
use clap::Args;
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

/// `image build`.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Folder that `COPY` sees; or a git repository (`https://…​.git#REF:DIR`, `git@…`), archive or Dockerfile at a URL
    context: String,
    /// Dockerfile (default: `Dockerfile` in the folder); `-` is standard input
    #[arg(
        id = "dockerfile",
        short = 'f',
        long = "file",
        alias = "dockerfile",
        value_name = "FILE"
    )]
    dockerfile: Option<PathBuf>,
    /// Name for the image; may be given several times
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Build argument; may be given several times
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Named context: a folder or `docker-image://name`
    #[arg(long, value_name = "NAME=VALUE")]
    build_context: Vec<String>,
    /// Stage to stop at
    #[arg(long)]
    target: Option<String>,
    /// Label
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Secret: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`; `id=NAME` alone is the variable, else the file, of that name
    #[arg(long)]
    secret: Vec<String>,
    /// Agent: `default` or `ID=SOCKET`
    #[arg(long)]
    ssh: Vec<String>,
    /// Grant what the Dockerfile asks for: `network.host`, `security.insecure`
    #[arg(long, value_name = "ENTITLEMENT")]
    allow: Vec<String>,
    /// Size of `/dev/shm` during `RUN`
    #[arg(long, value_name = "BYTES", value_parser = crate::cli::container::bytes)]
    shm_size: Option<u64>,
    /// Push the image when it is built, under each of its names
    #[arg(long)]
    push: bool,
    /// Accepted: the image always lands in the store
    #[arg(long)]
    load: bool,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for base images even when they are here
    #[arg(long)]
    pull: bool,
    /// What to build for: this machine's, or another one, where `RUN` is for this machine's all the same
    #[arg(long)]
    platform: Option<String>,
    /// Network of `RUN`: `default`, `none`, `host`
    #[arg(long, default_value = "default")]
    network: String,
    /// Line of `/etc/hosts` during `RUN`: `NAME:ADDRESS`
    #[arg(long)]
    add_host: Vec<String>,
    /// Print the image's id only
    #[arg(short, long)]
    quiet: bool,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
}

fn usage(text: String) -> CommandError {
    CommandError::new(Exit::Usage, text)
}

fn pairs(flag: &str, list: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let pair = |text: &String| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(usage(format!("`{flag} {text}` needs a value: `NAME=VALUE`"))),
    };
    list.iter().map(pair).collect()
}

/// The network that `RUN` gets, made when the first one needs it.
struct LazyNetwork {
    host: ResolvConf,
    made: OnceLock<Outbound>,
    making: Mutex<()>,
}

impl LazyNetwork {
    fn get(&self) -> Result<&Outbound, UplinkError> {
        let _one = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        let outbound = Outbound::open(uplinks(), &self.host)?;
        Ok(self.made.get_or_init(|| outbound))
    }
}

impl Build {
    pub(super) fn run(&self, global: &Global) -> Outcome {
        let (store, printer) = (store(global)?, Printer::new(global));
        let (launcher, credentials) = (launcher()?, credentials()?);
        let names = self
            .tag
            .iter()
            .map(|tag| reference(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let quiet = banyan_runtime::image::Silent;
        let progress: &dyn banyan_runtime::image::Progress = if self.quiet { &quiet } else { &printer };
        let context = match fetched(&self.context, &store, progress)? {
            Some(folder) => folder,
            None => fs_err::canonicalize(&self.context).map_err(|error| {
                CommandError::caused(Exit::Usage, "there is no such build context", &error)
            })?,
        };
        let resolv = ResolvConf::parse(&fs_err::read_to_string("/etc/resolv.conf").unwrap_or_default());
        let network = LazyNetwork {
            host: resolv.clone(),
            made: OnceLock::new(),
            making: Mutex::new(()),
        };
        let open = || network.get();
        let mut request = BuildRequest::new(context, &launcher, &credentials);
        let remote = Remote::of(&self.context).is_some();
        self.fill(&mut request, global, remote)?;
        for context in request.contexts.values_mut() {
            if let Some(folder) = fetched(context, &store, progress)? {
                *context = folder.display().to_string();
            }
        }
        request.network = match self.network.as_str() {
            "none" => RunNetwork::None,
            "host" => RunNetwork::Host,
            "default" => RunNetwork::Lazy(&open),
            other => {
                return Err(usage(format!(
                    "`--network` is `default`, `none` or `host`, not `{other}`"
                )));
            }
        };
        request.resolv_conf = match request.network {
            RunNetwork::Host => Some(resolv.render()),
            _ => ResolvConf::from_host(&resolv).map(|conf| conf.render()),
        };
        let image = build::build(&request, &store, progress).map_err(|error| {
            with_hint(
                CommandError::caused(Exit::Failed, "cannot build the image", &error),
                error.hint(),
            )
        })?;
        for name in &names {
            store
                .tag(image.id, name)
                .map_err(|error| failed("cannot tag the image", &error))?;
        }
        for name in names.iter().filter(|_| self.push) {
            push(&store, name, &credentials, progress).map_err(|error| {
                let what = format!("cannot push `{}`", name.familiar());
                with_hint(CommandError::caused(Exit::Failed, what, &error), error.hint())
            })?;
        }
        if let Some(path) = &self.iidfile {
            fs_err::write(path, image.id.to_string())
                .map_err(|error| CommandError::caused(Exit::Host, "cannot write the id", &error))?;
        }
        let _ = writeln!(std::io::stdout(), "{}", image.id);
        Ok(Exit::Success)
    }

    fn fill(
        &self,
        request: &mut BuildRequest<'_>,
        global: &Global,
        remote: bool,
    ) -> Result<(), CommandError> {
        // `-f` is the Dockerfile here, as in docker; the global flag of that name takes it first.
        match self.dockerfile.as_ref().or(global.file.last()) {
            Some(path) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map_err(|error| {
                    CommandError::caused(Exit::Host, "cannot read the Dockerfile", &error)
                })?;
                request.inline = Some(text);
            }
            // As in docker: of a remote context, it is a path in there.
            Some(path) if remote => request.dockerfile.clone_from(path),
            Some(path) => {
                request.dockerfile = std::path::absolute(path).map_err(|error| {
                    CommandError::caused(Exit::Host, "cannot find the Dockerfile", &error)
                })?;
            }
            None => {}
        }
        for argument in &self.build_arg {
            match argument.split_once('=') {
                Some((name, value)) => drop(request.args.insert(name.to_owned(), value.to_owned())),
                // Without a value it is taken from the environment, where it is set.
                None => {
                    if let Some(value) = super::variable(argument) {
                        request
                            .args
                            .insert(argument.clone(), value.to_string_lossy().into_owned());
                    }
                }
            }
        }
        request.contexts = pairs("--build-context", &self.build_context)?;
        request.labels = pairs("--label", &self.label)?;
        request.target.clone_from(&self.target);
        request.no_cache = self.no_cache;
        request.pull = self.pull;
        if let Some(list) = self.platform.as_deref().filter(|list| list.contains(',')) {
            let error = usage(format!("`--platform {list}`: a build is for one platform"));
            return Err(
                error.hint("build once for each, under names of their own (`-t app:amd64`, `-t app:arm64`)")
            );
        }
        request.platform = platform(self.platform.as_deref())?;
        request.shm_size = self.shm_size;
        for name in &self.allow {
            request
                .allow
                .grant(name)
                .map_err(|reason| usage(format!("`--allow`: {reason}")))?;
        }
        for host in &self.add_host {
            let (name, address) = host
                .split_once([':', '='])
                .ok_or_else(|| usage(format!("`--add-host {host}` is `NAME:ADDRESS`")))?;
            request.extra_hosts.push((name.to_owned(), address.to_owned()));
        }
        for secret in &self.secret {
            let (id, content) = self::secret(secret)?;
            request.secrets.insert(id, content);
        }
        for agent in &self.ssh {
            let (id, socket) = match agent.split_once('=') {
                Some((id, socket)) => (id, PathBuf::from(socket)),
                None => (
                    agent.as_str(),
                    super::variable("SSH_AUTH_SOCK").unwrap_or_default(),
                ),
            };
            request.ssh.insert(id.to_owned(), socket);
        }
        Ok(())
    }
}

/// The folder of a remote context; `None`: it is none.
fn fetched(
    context: &str,
    store: &Store,
    progress: &dyn banyan_runtime::image::Progress,
) -> Result<Option<PathBuf>, CommandError> {
    let Some(remote) = Remote::of(context) else {
        return Ok(None);
    };
    let fetched = remote.fetch(store, &BTreeMap::new(), progress).map_err(|error| {
        let what = format!("cannot fetch the build context `{context}`");
        with_hint(CommandError::caused(Exit::Failed, what, &error), error.hint())
    })?;
    Ok(Some(fetched.folder))
}

/// `[type=file|env,]id=NAME[,src=FILE|,env=VARIABLE]`, as in docker.
fn secret(text: &str) -> Result<(String, Vec<u8>), CommandError> {
    let options: BTreeMap<&str, &str> = text.split(',').filter_map(|part| part.split_once('=')).collect();
    let id = *options
        .get("id")
        .ok_or_else(|| usage(format!("`--secret {text}` needs `id=`")))?;
    let source = options.get("src").or(options.get("source")).copied();
    let variable = options.get("env").copied();
    let (file, variable) = match (options.get("type").copied(), source, variable) {
        (None | Some("file"), Some(path), None) => (Some(path), None),
        (None | Some("env"), None, Some(name)) | (Some("env"), Some(name), None) => (None, Some(name)),
        (Some("env"), None, None) => (None, Some(id)),
        (Some("file"), None, None) => (Some(id), None),
        (None, None, None) if super::variable(id).is_some() => (None, Some(id)),
        (None, None, None) => (Some(id), None),
        _ => {
            return Err(
                usage(format!("`--secret {text}` says where it comes from in two ways"))
                    .hint("`id=NAME,src=FILE` or `id=NAME,env=VARIABLE`"),
            );
        }
    };
    let content = match (file, variable) {
        (Some(path), _) => fs_err::read(path).map_err(|error| {
            CommandError::caused(Exit::Usage, format!("cannot read the secret `{id}`"), &error)
        })?,
        (None, name) => name
            .and_then(super::variable)
            .map(|value| value.into_os_string().into_encoded_bytes())
            .ok_or_else(|| usage(format!("the variable of the secret `{id}` is not set")))?,
    };
    Ok((id.to_owned(), content))
}
