//! Go: `go.mod`.

use super::{App, Base, Draft, Folder};
use regex::Regex;

pub(super) fn find(folder: &Folder, draft: &mut Draft) -> bool {
    if !folder.has("go.mod") {
        return false;
    }
    let is_program = |text: &str| text.contains("package main") && text.contains("func main(");
    let programs = folder.ending(".go").filter(|(_, text)| is_program(text));
    let program = programs.min_by_key(|(path, _)| path.matches('/').count());
    let mut app = App {
        base: Base::Type("golang"),
        cache: Some(("go", "/root/.cache")),
        environment: vec![("GOMODCACHE".into(), "/root/.cache/mod".into())],
        ..App::default()
    };
    draft.why.push("go.mod: Go; built at every start".into());
    if let Some((path, text)) = program {
        let package = path
            .rsplit_once('/')
            .map_or(".".to_owned(), |(folder, _)| format!("./{folder}"));
        app.before
            .push(format!("go build -buildvcs=false -o /tmp/app {package}"));
        app.start = Some("/tmp/app".into());
        draft.why.push(format!("{path}: the program"));
        if text.contains("Getenv(\"PORT\")") {
            app.environment.push(("PORT".into(), "8080".into()));
            (app.port, app.sure) = (Some(8080), true);
        } else if let Some(port) = named(folder) {
            (app.port, app.sure) = (Some(port), true);
        }
    } else {
        draft.notes.push("no program was found: write what starts it as `after_script`, or work in it: banyan exec app bash".into());
    }
    let version = folder
        .text("go.mod")
        .lines()
        .find_map(|line| line.strip_prefix("go "));
    if let Some((major, minor)) = version.and_then(|version| super::newer(version, (1, 19))) {
        let minor = minor.unwrap_or(0);
        draft.why.push(format!(
            "go.mod: Go {major}.{minor}, which Debian does not bring: an image"
        ));
        app.base = Base::Image(format!("golang:{major}.{minor}"));
    }
    draft.app = app;
    true
}

/// The first port in the sources: `":8080"`.
fn named(folder: &Folder) -> Option<u16> {
    let port = Regex::new(r#""[\d.]*:(\d{2,5})""#).ok()?;
    folder
        .ending(".go")
        .find_map(|(_, text)| port.captures(text)?[1].parse().ok())
}
