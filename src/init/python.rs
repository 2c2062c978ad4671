//! Python: `manage.py`, `requirements.txt`, `pyproject.toml`, or a program with a usual name.

use super::{App, Base, Draft, Folder};
use regex::Regex;

/// Names of programs, the usual first.
const PROGRAMS: &[&str] = &["app.py", "main.py", "wsgi.py", "server.py", "run.py"];

/// Modules that are compiled, and what that needs.
const COMPILED: &[(&str, &[&str])] = &[
    ("psycopg2", &["build-essential", "python3-dev", "libpq-dev"]),
    (
        "mysqlclient",
        &["build-essential", "python3-dev", "pkg-config", "libmariadb-dev"],
    ),
];

pub(super) fn find(folder: &Folder, draft: &mut Draft) -> bool {
    let lists = ["requirements.txt", "pyproject.toml", "Pipfile", "setup.py"];
    let Some(from) = folder
        .first(&["manage.py"])
        .or_else(|| folder.first(&lists))
        .or_else(|| folder.first(PROGRAMS))
    else {
        return false;
    };
    let mut app = App {
        base: Base::Type("python"),
        cache: Some(("pip", "/root/.cache/pip")),
        environment: vec![("PYTHONDONTWRITEBYTECODE".into(), "1".into())],
        ..App::default()
    };
    let quiet = "pip install --quiet --disable-pip-version-check --root-user-action=ignore";
    if folder.has("requirements.txt") {
        app.requirements = Some("requirements.txt");
        draft
            .why
            .push("requirements.txt: its modules are in the image".into());
    } else if folder.has("pyproject.toml") || folder.has("setup.py") {
        // Of a copy: a build in the folder itself would leave its own files there, and they would be root's.
        let foreign = [".git", ".venv", "venv", "node_modules"].map(|name| format!("--exclude=./{name}"));
        app.before.extend([
            "mkdir -p /tmp/package".to_owned(),
            format!("tar -c {} . | tar -x -C /tmp/package", foreign.join(" ")),
            format!("{quiet} /tmp/package"),
        ]);
        draft
            .why
            .push(format!("{from}: its modules are installed at the start"));
    } else if folder.has("Pipfile") {
        app.pip.push("pipenv");
        app.before.push("pipenv install --system".into());
    }
    let modules = modules(folder);
    let needs = |module: &str| modules.iter().any(|own| own == module);
    for (module, packages) in COMPILED.iter().filter(|(module, _)| needs(module)) {
        draft
            .why
            .push(format!("{module} is compiled: {}", packages.join(", ")));
        app.packages.extend(*packages);
    }
    start(folder, &needs, &mut app, draft);
    let wanted = required_version(folder.text("pyproject.toml"));
    if let Some((major, minor)) = wanted.as_deref().and_then(|wanted| super::newer(wanted, (3, 11))) {
        let minor = minor.map(|minor| format!(".{minor}")).unwrap_or_default();
        draft.why.push(format!(
            "pyproject.toml: Python {}, which Debian does not bring: an image",
            wanted.unwrap_or_default()
        ));
        app.base = Base::Image(format!("python:{major}{minor}"));
    }
    draft.app = app;
    true
}

/// What starts it, and where it listens then.
fn start(folder: &Folder, needs: &dyn Fn(&str) -> bool, app: &mut App, draft: &mut Draft) {
    let serves = |app: &mut App, command: String| {
        app.port = Some(8000);
        app.sure = true;
        app.start = Some(command);
    };
    if folder.has("manage.py") {
        draft.why.push("manage.py: Django".into());
        if !needs("django") {
            draft.why.push("no list of modules names django: Debian's".into());
            app.packages.push("python3-django");
        }
        draft
            .notes
            .push("tables of Django: banyan exec app python manage.py migrate".into());
        return serves(app, "python manage.py runserver 0.0.0.0:8000".into());
    }
    let instance = Regex::new(r"(?m)^(\w+)\s*=\s*(FastAPI|Flask)\(").ok();
    let found = instance.iter().flat_map(|instance| {
        folder.ending(".py").filter_map(|(path, text)| {
            let found = instance.captures(text)?;
            let module = path
                .trim_end_matches(".py")
                .trim_end_matches("/__init__")
                .replace('/', ".");
            Some((path.to_owned(), module, found[1].to_owned(), found[2].to_owned()))
        })
    });
    if let Some((path, module, name, class)) = found.min_by_key(|(path, ..)| path.matches('/').count()) {
        draft.why.push(format!("{path}: {class}"));
        if class == "Flask" {
            return serves(
                app,
                format!("flask --app {module}:{name} run --host 0.0.0.0 --port 8000"),
            );
        }
        if !needs("uvicorn") {
            app.pip.push("uvicorn");
        }
        return serves(app, format!("uvicorn {module}:{name} --host 0.0.0.0 --port 8000"));
    }
    if let Some(command) = procfile(folder) {
        draft.why.push("Procfile: what starts it".into());
        app.environment.push(("PORT".into(), "8000".into()));
        return serves(app, command);
    }
    let Some(program) = folder.first(PROGRAMS) else {
        draft.notes.push(
            "nothing tells what starts it: write it as `after_script`, or work in it: banyan exec app bash"
                .into(),
        );
        return;
    };
    draft.why.push(format!("{program}: the program"));
    app.start = Some(format!("python {program}"));
    let port = Regex::new(r#"(?i)(?:port\s*=\s*|\(\s*["'][\d.]*["']\s*,\s*)(\d{2,5})\b"#).ok();
    app.port = port.and_then(|port| port.captures(folder.text(program))?[1].parse().ok());
}

/// The command of the `web` line.
pub(super) fn procfile(folder: &Folder) -> Option<String> {
    let line = folder
        .text("Procfile")
        .lines()
        .find_map(|line| line.strip_prefix("web:"))?;
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// Names of modules that it needs, in lower case, of all lists. Not a reader of TOML: a word in quotes at the start of an item.
pub(super) fn modules(folder: &Folder) -> Vec<String> {
    let mut names = Vec::new();
    let name = |text: &str| {
        let end = text
            .find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
            .unwrap_or(text.len());
        text[..end].to_lowercase().replace('_', "-")
    };
    for (path, text) in folder
        .ending(".txt")
        .filter(|(path, _)| path.starts_with("requirements"))
    {
        let _ = path;
        names.extend(text.lines().map(|line| name(line.trim())));
    }
    for text in ["pyproject.toml", "Pipfile"].map(|path| folder.text(path)) {
        for line in text.lines() {
            let quoted = line.split('"').skip(1).step_by(2).map(name);
            names.extend(quoted);
            if let Some((key, _)) = line.split_once('=') {
                names.push(name(key.trim()));
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// `requires-python` of a project, `python` of Poetry.
fn required_version(text: &str) -> Option<String> {
    let line = text
        .lines()
        .find(|line| line.starts_with("requires-python") || line.starts_with("python ="))?;
    let (_, version) = line.split_once('=')?;
    Some(version.trim().trim_matches('"').to_owned())
}
