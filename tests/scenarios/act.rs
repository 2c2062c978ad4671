//! Doing what a scenario says, in a root that was empty before and is empty afterwards.

use crate::{
    case::{Scenario, Step, words},
    expect::{Seen, differences},
    support::{BANYAN, Root},
};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The most that one command may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Stage<'a> {
    root: &'a Root,
    folder: PathBuf,
    /// What `{port}` stands for.
    port: u16,
    remembered: BTreeMap<String, String>,
    begun: Option<Begun>,
}

/// A command in the background and the threads that read it.
struct Begun {
    child: Child,
    out: thread::JoinHandle<String>,
    err: thread::JoinHandle<String>,
}

/// Plays it and cleans up; says what was not as described.
pub(crate) fn play(root: &Root, scenario: &Scenario) -> Result<(), String> {
    let folder = root.path().join("src/app");
    fs::create_dir_all(&folder).unwrap();
    let mut stage = Stage {
        root,
        folder: folder.clone(),
        port: crate::support::free_port(),
        remembered: BTreeMap::new(),
        begun: None,
    };
    stage.write(&scenario.files);
    let mut outcome = Ok(());
    for (number, step) in scenario.steps.iter().enumerate() {
        if let Err(why) = stage.step(step) {
            outcome = Err(format!("step {}: {why}", number + 1));
            break;
        }
    }
    if let Some(mut begun) = stage.begun.take() {
        let _ = begun.child.kill();
        let _ = begun.child.wait();
    }
    let cleaned = stage.clean();
    fs::remove_dir_all(&folder).unwrap();
    outcome.and(cleaned)
}

impl Stage<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(step.within.unwrap_or(0));
        loop {
            let done = self.once(step);
            if done.is_ok() || Instant::now() >= deadline {
                return done;
            }
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    fn once(&mut self, step: &Step) -> Result<(), String> {
        let fill = |text: &Option<String>| text.as_ref().map(|text| self.filled(text));
        let step = &Step {
            out: fill(&step.out),
            like: fill(&step.like),
            has: step.has.iter().map(|text| self.filled(text)).collect(),
            err: step.err.iter().map(|text| self.filled(text)).collect(),
            ..step.clone()
        };
        if let Some(files) = &step.write {
            self.write(files);
        } else if let Some(line) = &step.run {
            let line = self.filled(line);
            let mut command = self.command(step);
            command.args(words(&line));
            return check(
                step,
                &format!("banyan {line}"),
                run(command, step.stdin.as_deref()),
            );
        } else if let Some(line) = &step.host {
            let line = self.filled(line);
            let mut command = self.around(step, Command::new("/bin/sh"));
            command
                .arg("-c")
                .arg(&line)
                .env("BANYAN", BANYAN)
                .env("BANYAN_ROOT", self.root.path());
            return check(step, &line, run(command, step.stdin.as_deref()));
        } else if let Some(line) = &step.begin {
            let mut command = self.command(step);
            command.args(words(&self.filled(line)));
            self.begun = Some(begin(command, step.stdin.as_deref()));
        } else if let Some(signal) = &step.finish {
            let begun = self.begun.take().ok_or("nothing was begun")?;
            if !signal.is_empty() {
                let id = begun.child.id().to_string();
                Command::new("/bin/busybox")
                    .args(["kill", &format!("-{signal}"), &id])
                    .status()
                    .unwrap();
            }
            return check(step, "what was begun", end(begun));
        } else if step.remember {
            self.remembered = self.ids()?;
        } else if let Some(expected) = &step.containers {
            return self.containers(expected);
        } else if let Some(places) = &step.kept {
            return self.compare(places, true);
        } else if let Some(places) = &step.recreated {
            return self.compare(places, false);
        } else {
            return Err("it says neither what to do nor what to see".into());
        }
        Ok(())
    }

    fn command(&self, step: &Step) -> Command {
        self.around(step, self.root.banyan())
    }

    fn around(&self, step: &Step, mut command: Command) -> Command {
        command.current_dir(&self.folder).env("HOME", &self.folder);
        for name in [
            "COMPOSE_FILE",
            "COMPOSE_PROJECT_NAME",
            "COMPOSE_PROFILES",
            "NO_COLOR",
        ] {
            command.env_remove(name);
        }
        for (name, value) in &step.env {
            command.env(name, self.filled(value));
        }
        command
    }

    fn filled(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
            .replace("{folder}", &self.folder.display().to_string())
            .replace("{root}", &self.root.path().display().to_string())
    }

    fn write(&self, files: &BTreeMap<String, String>) {
        for (name, content) in files {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
            fs::write(path, self.filled(content)).unwrap();
        }
    }

    fn ps(&self) -> Result<Vec<serde_json::Value>, String> {
        let mut command = self.command(&Step::default());
        command.args(["ps", "--all", "--format", "json"]);
        let seen = run(command, None);
        if seen.exit != 0 {
            return Err(format!("`ps` failed: {}", seen.err));
        }
        let lines = seen.out.lines();
        lines
            .map(|line| serde_json::from_str(line).map_err(|error| error.to_string()))
            .collect()
    }

    fn ids(&self) -> Result<BTreeMap<String, String>, String> {
        let all = self.ps()?;
        Ok(all
            .iter()
            .map(|c| (place(c), c["ID"].as_str().unwrap_or_default().to_owned()))
            .collect())
    }

    fn containers(&self, expected: &[String]) -> Result<(), String> {
        let mut found: Vec<String> = self.ps()?.iter().map(described).collect();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        if found == expected {
            return Ok(());
        }
        Err(format!("the containers are {found:?} instead of {expected:?}"))
    }

    fn compare(&self, places: &[String], same: bool) -> Result<(), String> {
        let now = self.ids()?;
        for place in places {
            let (before, now) = (self.remembered.get(place), now.get(place));
            if before.is_none() || now.is_none() || (before == now) != same {
                let what = if same { "kept" } else { "made anew" };
                return Err(format!(
                    "{place} was not {what}: it was {before:?} and is {now:?}"
                ));
            }
        }
        Ok(())
    }

    /// Takes everything down; nothing of any container may be left.
    fn clean(&self) -> Result<(), String> {
        let mut wrong = String::new();
        let projects = fs::read_dir(self.root.path().join("projects"));
        for project in projects.into_iter().flatten().flatten() {
            let mut command = self.root.banyan();
            command.current_dir("/").arg("-p").arg(project.file_name());
            command.args(["down", "-t", "0", "-v", "--remove-orphans"]);
            let seen = run(command, None);
            if seen.exit != 0 {
                wrong += &format!("`down` at the end failed: {}\n", seen.err);
            }
        }
        let mut command = self.root.banyan();
        command.args(["volume", "prune", "--all", "--force"]);
        run(command, None);
        for kind in ["containers", "volumes"] {
            let left = fs::read_dir(self.root.path().join(kind))
                .into_iter()
                .flatten()
                .flatten();
            for entry in left {
                wrong += &format!("left behind: {}\n", entry.path().display());
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// `a-1`: the service and the number, or the name of what is not of a service.
fn place(container: &serde_json::Value) -> String {
    let name = container["Name"].as_str().unwrap_or_default();
    name.strip_prefix("app-").unwrap_or(name).to_owned()
}

fn described(container: &serde_json::Value) -> String {
    let mut text = format!(
        "{} {}",
        place(container),
        container["State"].as_str().unwrap_or_default()
    );
    if container["State"] == "exited" {
        text += &format!(" {}", container["ExitCode"]);
    }
    if let Some(health) = container["Health"].as_str().filter(|health| !health.is_empty()) {
        text += &format!(" {health}");
    }
    text
}

fn check(step: &Step, what: &str, seen: Seen) -> Result<(), String> {
    let wrong = differences(step, &seen);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{what}\n{wrong}--- standard output\n{}--- standard error\n{}",
        seen.out, seen.err
    ))
}

fn run(command: Command, stdin: Option<&str>) -> Seen {
    end(begin(command, stdin))
}

fn begin(command: Command, stdin: Option<&str>) -> Begun {
    let mut command = crate::support::hearing(&command, &[]);
    command.stdin(if stdin.is_some() {
        Stdio::piped()
    } else {
        Stdio::null()
    });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
        let text = text.to_owned();
        // Whoever reads may end before it has read all.
        thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    fn read(mut from: impl Read + Send + 'static) -> thread::JoinHandle<String> {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let (out, err) = (
        read(child.stdout.take().unwrap()),
        read(child.stderr.take().unwrap()),
    );
    Begun { child, out, err }
}

fn end(mut begun: Begun) -> Seen {
    let deadline = Instant::now() + PATIENCE;
    let exit = loop {
        match begun.child.try_wait().unwrap() {
            Some(status) => break status.code().unwrap_or(-1),
            None if Instant::now() > deadline => {
                let _ = begun.child.kill();
                let _ = begun.child.wait();
                break -2;
            }
            None => thread::park_timeout(Duration::from_millis(2)),
        }
    };
    Seen {
        exit,
        out: begun.out.join().unwrap_or_default(),
        err: begun.err.join().unwrap_or_default(),
    }
}
