//! Node.js: `package.json`.

use super::{App, Base, Draft, Folder};
use regex::Regex;
use serde_json::Value;

pub(super) fn find(folder: &Folder, draft: &mut Draft) -> bool {
    if !folder.has("package.json") {
        return false;
    }
    let json: Value = serde_json::from_str(folder.text("package.json")).unwrap_or_default();
    let script = |name: &str| json["scripts"][name].as_str();
    let depends = |name: &str| {
        ["dependencies", "devDependencies"]
            .iter()
            .any(|list| json[*list][name].is_string())
    };
    let main = json["main"]
        .as_str()
        .map(|main| main.trim_start_matches("./").to_owned());
    let program = main.filter(|main| folder.has(main)).or_else(|| {
        let usual = ["server.js", "app.js", "index.js", "src/server.js", "src/index.js"];
        folder.first(&usual).map(str::to_owned)
    });
    let mut app = App {
        base: Base::Type("nodejs"),
        packages: vec!["npm"],
        ..App::default()
    };
    // What only builds pages is served by its own development server, or as files.
    if let Some(start) = script("start") {
        app.start = Some("npm start".into());
        draft
            .why
            .push(format!("package.json: Node.js, `npm start` ({start})"));
    } else if script("dev").is_some() {
        let vite = depends("vite");
        let more = if vite {
            " -- --host 0.0.0.0 --port 3000"
        } else {
            ""
        };
        app.start = Some(format!("npm run dev{more}"));
        app.sure = vite;
        draft.why.push("package.json: Node.js, `npm run dev`".into());
    } else if let Some(program) = &program {
        app.start = Some(format!("node {program}"));
        draft.why.push(format!("package.json and {program}: Node.js"));
    } else if folder.has("index.html") {
        return false;
    } else {
        draft.why.push("package.json: Node.js".into());
        draft.notes.push(
            "nothing tells what starts it: write it as `after_script`, or work in it: banyan exec app bash"
                .into(),
        );
    }
    if app.start.is_some() {
        app.port = Some(3000);
        listens(folder, script("start"), program.as_deref(), &mut app);
        app.environment
            .push(("PORT".into(), app.port.unwrap_or(3000).to_string()));
    }
    let needs = ["dependencies", "devDependencies"]
        .iter()
        .any(|list| json[*list].as_object().is_some_and(|list| !list.is_empty()));
    if needs {
        draft
            .why
            .push("package.json: `npm install` at the first start, `banyan run npm …`".into());
        let install = App::as_owner("npm install --no-audit --no-fund");
        app.before.push(format!("[ -d node_modules ] || {install}"));
        draft.tools.push("npm");
    }
    let wanted = json["engines"]["node"].as_str();
    if let Some((major, _)) = wanted.and_then(|wanted| super::newer(wanted, (18, 99))) {
        draft.why.push(format!(
            "package.json: Node.js {major}, which Debian does not bring: an image"
        ));
        app.base = Base::Image(format!("node:{major}"));
    }
    draft.app = app;
    true
}

/// The port that the program or its command names; sure when it takes `PORT`.
fn listens(folder: &Folder, start: Option<&str>, program: Option<&str>, app: &mut App) {
    let named = start.and_then(|start| {
        let mut words = start.split_whitespace();
        words.find(|word| folder.has(word) && word.ends_with("js"))
    });
    let text = named.or(program).map_or("", |path| folder.text(path));
    if text.contains("process.env.PORT") {
        app.sure = true;
        return;
    }
    let number = Regex::new(r"(?i)(?:listen\(\s*|\bport\s*[:=]\s*)(\d{2,5})\b").ok();
    if let Some(port) = number.and_then(|number| number.captures(text)?[1].parse().ok()) {
        app.port = Some(port);
        app.sure = true;
    }
}
