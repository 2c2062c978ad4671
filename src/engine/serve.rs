//! The engine process.
//!
//! 1. Take the project's lock (kernel-released); when another engine has it, say ready and go: that one serves.
//! 2. Become a subreaper, open the store, find the containers that live, listen on the socket, say ready.
//! 3. Serve one request per connection.
//! 4. End when no container of the project runs, nobody is connected and nothing is under way.

use super::{Engine, Outcome, Voice, events::Events, lifecycle, networks::Networks, observe};
use crate::{
    api::wire::{Failure, Fault, Message, Request},
    model::ProjectName,
    state::Roots,
    volumes::Volumes,
};
use banyan_runtime::{
    container::{LaunchError, Launcher, Revive},
    image::Store,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Notify, mpsc},
};

/// Threads that wait for the kernel on behalf of steps; more would only queue there.
const BLOCKING_THREADS: usize = 16;
/// How long an engine that has the lock may take until it serves.
const PATIENCE: Duration = Duration::from_secs(10);
/// Heaps of all threads together: they do little at the same time but wait for the kernel, and what is freed in one heap
/// leaves holes that another could have used.
const HEAPS: i32 = 1;
/// How long an engine without containers waits for another request before it ends.
const LINGER: Duration = Duration::from_millis(50);

/// Runs the engine of `project` until it has nothing left to do.
///
/// # Errors
/// When it cannot start; it has said so on standard error, and nothing was changed.
pub fn run(roots: &Roots, project: &ProjectName) -> io::Result<()> {
    let folder = roots.project_run(project);
    fs_err::create_dir_all(&folder)?;
    fs_err::set_permissions(&folder, PermissionsExt::from_mode(0o700))?;
    fs_err::create_dir_all(roots.project(project))?;
    let Some(_lock) = lock_or_other(roots, project)? else {
        return say_ready();
    };
    banyan_runtime::sys::heap::share_heaps(HEAPS);
    banyan_runtime::sys::host::detach_session();
    banyan_runtime::sys::host::become_subreaper()?;
    banyan_runtime::sys::host::raise_open_files()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(Duration::from_secs(1))
        // Only what is touched costs memory; a container made within the start of another goes deep.
        .thread_stack_size(2 << 20)
        .enable_all()
        .build()?;
    let served = runtime.block_on(serve(roots, project));
    // The lock is still held: nobody else can have bound a socket that this would remove.
    let _ = std::fs::remove_file(roots.engine_socket(project));
    if super::record::Record::of_project(roots, project.as_str()).is_ok_and(|records| records.is_empty()) {
        sweep(roots, project);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// The project's lock; `None` when another engine has it and serves already. An engine that has the lock and does not
/// serve yet (it takes over what a killed one left) is waited for.
fn lock_or_other(roots: &Roots, project: &ProjectName) -> io::Result<Option<File>> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(lock) = take_lock(&roots.engine_lock(project))? {
            return Ok(Some(lock));
        }
        if std::os::unix::net::UnixStream::connect(roots.engine_socket(project)).is_ok() {
            return Ok(None);
        }
        if std::time::Instant::now() > deadline {
            return Err(io::Error::other(
                "another engine of the project has the lock and does not answer",
            ));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Takes the lock at `path`; `None` when somebody else has it. The last engine of a project removes the file, so a lock
/// on a file that is no longer there is no lock.
pub(super) fn take_lock(path: &Path) -> io::Result<Option<File>> {
    use std::os::unix::fs::MetadataExt;
    loop {
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs_err::create_dir_all(folder)?;
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        if std::fs::metadata(path)
            .is_ok_and(|there| file.metadata().is_ok_and(|ours| ours.ino() == there.ino()))
        {
            return Ok(Some(file));
        }
    }
}

/// Removes what the run folder of a project without containers holds: nobody needs it any more.
fn sweep(roots: &Roots, project: &ProjectName) {
    let folder = roots.project_run(project);
    for name in ["engine.sock", "revive.lock", "engine.lock"] {
        // Absent is as good as removed.
        let _ = std::fs::remove_file(folder.join(name));
    }
    let _ = std::fs::remove_dir(folder);
    // A project that was only asked about, and never applied.
    let kept = roots.project(project);
    let log = kept.join("engine.log");
    if !roots.project_file(project).exists() && std::fs::metadata(&log).is_ok_and(|data| data.len() == 0) {
        let _ = std::fs::remove_file(log);
        let _ = std::fs::remove_dir(kept);
    }
}

/// Whoever started us waits for this line on our standard output.
fn say_ready() -> io::Result<()> {
    let mut output = io::stdout();
    match writeln!(output, "ready").and_then(|()| output.flush()) {
        // Started by a shim, or by a command that was killed: nobody waits.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

async fn serve(roots: &Roots, project: &ProjectName) -> io::Result<()> {
    let socket = roots.engine_socket(project);
    // A dead engine's socket; ours is the lock.
    let _ = std::fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket)?;
    fs_err::set_permissions(&socket, PermissionsExt::from_mode(0o600))?;
    let engine = Arc::new(Engine {
        roots: roots.clone(),
        name: project.clone(),
        launcher: launcher(roots, project).map_err(io::Error::other)?,
        store: Store::open(&roots.images()).map_err(io::Error::other)?,
        volumes: Volumes::new(roots),
        networks: Arc::new(Networks::new(roots, project)),
        events: Events::new(roots, project),
        project: Mutex::new(None),
        keepers: Mutex::new(BTreeMap::new()),
        environment: Mutex::new(BTreeMap::new()),
        turn: tokio::sync::Mutex::new(()),
        holder: Mutex::new(None),
        preparing: Mutex::new(BTreeMap::new()),
        chores: Arc::new(()),
    });
    if let Err(failure) = observe::adopt(&engine).await {
        tracing::error!(?failure, "not everything that runs could be adopted");
    }
    if engine.keepers().iter().any(|keeper| keeper.is_active()) {
        // Brought back to watch what runs; whoever wants more of it connects.
        give_memory_back(&engine).await;
    }
    say_ready()?;
    let clients = Arc::new(AtomicUsize::new(0));
    let left = Arc::new(Notify::new());
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let (engine, clients, left) = (engine.clone(), clients.clone(), left.clone());
                clients.fetch_add(1, Ordering::SeqCst);
                engine.launcher.expect_many();
                tokio::spawn(async move {
                    if let Err(error) = client(&engine, stream).await {
                        tracing::debug!(%error, "a client went away");
                    }
                    let last = clients.fetch_sub(1, Ordering::SeqCst) == 1;
                    left.notify_one();
                    if last {
                        give_memory_back(&engine).await;
                    }
                });
            }
            () = nothing_left(&engine, &clients, &left) => break,
        }
    }
    engine.networks.close().await;
    Ok(())
}

/// Containers of the project go into one scope where systemd owns the cgroups. Roots do not meet: but for the machine's own,
/// a scope's name tells them apart.
fn launcher(roots: &Roots, project: &ProjectName) -> Result<Launcher, LaunchError> {
    let name = match roots.mark() {
        Some(mark) => format!("{project}-{mark}"),
        None => project.to_string(),
    };
    let description = format!("Containers of project {project} (banyan)");
    Launcher::for_many(Path::new("/proc/self/exe")).map(|launcher| launcher.in_scope(&name, &description))
}

/// What an operation used and an engine that only watches does not need goes back to the kernel. Not before everybody
/// who waited has been answered.
async fn give_memory_back(engine: &Arc<Engine>) {
    let engine = engine.clone();
    let given = tokio::task::spawn_blocking(move || {
        engine.launcher.rest();
        banyan_runtime::sys::heap::trim();
        banyan_runtime::sys::heap::forget_code();
    });
    if let Err(error) = given.await {
        tracing::debug!(%error, "memory was not given back");
    }
}

/// Returns when no container runs, none waits for its restart, and no client is connected.
async fn nothing_left(engine: &Engine, clients: &AtomicUsize, left: &Notify) {
    loop {
        let active = || engine.keepers().iter().any(|k| k.is_active());
        if engine.has_chores() && !active() {
            // They are short once nothing runs.
            tokio::time::sleep(LINGER).await;
            continue;
        }
        let idle = || {
            !engine.has_chores()
                && clients.load(Ordering::SeqCst) == 0
                && !engine.keepers().iter().any(|k| k.is_active())
        };
        if idle() {
            tokio::time::sleep(LINGER).await;
            if idle() {
                return;
            }
        }
        let changed = engine.keepers().first().map(|keeper| keeper.watch());
        match changed {
            None => left.notified().await,
            Some(_) => {
                // Any keeper's end may have been the last one; a client's leaving too.
                tokio::select! {
                    () = left.notified() => {}
                    () = any_change(engine) => {}
                }
            }
        }
    }
}

async fn any_change(engine: &Engine) {
    let mut changes = tokio::task::JoinSet::new();
    for keeper in engine.keepers() {
        let mut watch = keeper.watch();
        changes.spawn(async move { watch.changed().await });
    }
    changes.join_next().await;
}

async fn client(engine: &Arc<Engine>, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let line = lines.next_line().await?.unwrap_or_default();
    let request: Request = match serde_json::from_str(&line) {
        Ok(request) => request,
        Err(error) => {
            let failure = Failure::caused(
                Fault::Internal,
                "the engine does not understand the request",
                &error,
            )
            .hint(
                "this engine was started by another version of banyan: run `banyan down` with that version",
            );
            return send(&mut write, &Message::Failed(failure)).await;
        }
    };
    let (voice, mut said) = mpsc::unbounded_channel();
    let voice = Voice::new(voice);
    let stop = voice.stop();
    let working = {
        let engine = engine.clone();
        tokio::spawn(async move {
            let end = match answer(&engine, request, &voice).await {
                Ok(()) => Message::Done,
                Err(failure) => Message::Failed(failure),
            };
            voice.say(end);
        })
    };
    loop {
        tokio::select! {
            message = said.recv() => {
                let Some(message) = message else { break };
                // A client that went away does not end the operation: the rest is said to nobody.
                if send(&mut write, &message).await.is_err() {
                    break;
                }
            }
            line = lines.next_line() => {
                let Some(line) = line? else { break };
                if matches!(serde_json::from_str(&line), Ok(Request::Interrupt)) {
                    stop.send_replace(true);
                }
            }
        }
    }
    if said.is_closed() {
        return Ok(());
    }
    drop(said);
    working.await.map_err(io::Error::other)
}

async fn send(write: &mut tokio::net::unix::OwnedWriteHalf, message: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    write.write_all(&line).await
}

async fn answer(engine: &Arc<Engine>, request: Request, voice: &Voice) -> Outcome {
    match request {
        Request::Up(up) => Box::pin(super::up::up(engine, *up, voice)).await,
        Request::Run(run) => Box::pin(super::one_off::run(engine, *run, voice)).await,
        Request::Down(down) => super::down::down(engine, down, voice).await,
        Request::Stop(select) => lifecycle::stop(engine, select, voice).await,
        Request::Start(select) => lifecycle::start(engine, select, voice).await,
        Request::Restart(select) => lifecycle::restart(engine, select, voice).await,
        Request::Kill { select, signal } => lifecycle::kill(engine, select, &signal, voice).await,
        Request::Pause(select) => lifecycle::pause(engine, select, voice, true).await,
        Request::Unpause(select) => lifecycle::pause(engine, select, voice, false).await,
        Request::Remove {
            select,
            stop,
            volumes,
        } => lifecycle::remove(engine, select, stop, volumes, voice).await,
        Request::Apply { select, discard } => super::overlay::apply(engine, select, discard, voice).await,
        Request::List => {
            voice.say(Message::Containers {
                list: observe::live(engine),
            });
            Ok(())
        }
        Request::Networks => {
            let running: Vec<_> = engine
                .keepers()
                .iter()
                .filter(|keeper| keeper.is_active())
                .map(|keeper| keeper.record())
                .collect();
            voice.say(Message::Networks {
                list: engine.networks.show(&running),
            });
            Ok(())
        }
        Request::Events => {
            let mut events = engine.events.listen();
            loop {
                let event = tokio::select! {
                    event = events.recv() => event,
                    () = voice.unheard() => return Ok(()),
                };
                match event {
                    Ok(event) => voice.say(Message::Event(event)),
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(missed)) => {
                        let text = format!("{missed} events were missed: this reader is too slow");
                        voice.note(None, crate::api::wire::Level::Warning, text);
                    }
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return Ok(()),
                }
            }
        }
        // It belongs on the connection of what is to stop.
        Request::Interrupt => Ok(()),
    }
}

/// How shims bring this engine back when it dies.
pub fn revival(engine: &Engine) -> Revive {
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let text = |path: &Path| path.display().to_string();
    Revive {
        command: vec![
            text(&program),
            "engine".into(),
            "--state".into(),
            text(&engine.roots.state),
            "--run".into(),
            text(&engine.roots.run),
            "--name".into(),
            engine.name.to_string(),
        ],
        lock: engine.roots.project_run(&engine.name).join("revive.lock"),
    }
}
