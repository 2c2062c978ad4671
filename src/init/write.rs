//! The text of a project file.

use super::{Base, Draft, Store};
use std::fmt::Write as _;

/// Where the folder is in its containers.
const PHP: &str = "/var/www";
const CODE: &str = "/app";

impl Draft {
    /// The project file.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from(
            "# Services by type: `banyan recipe ls` lists the types, `banyan recipe show TYPE` tells their parameters.\nservices:\n",
        );
        self.front(&mut text);
        for store in &self.stores {
            text.push('\n');
            write_store(&mut text, store);
        }
        for tool in &self.tools {
            let _ = writeln!(text, "\n  # banyan run {tool} …\n  {tool}: {{type: {tool}}}");
        }
        if let Some((volume, _)) = self.app.cache {
            let _ = writeln!(text, "\nvolumes: {{{volume}: {{}}}}");
        }
        text
    }

    /// The service that answers, and the one behind it.
    fn front(&self, text: &mut String) {
        let mut line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let port = self
            .app
            .port
            .map(|port| format!("    ports: [\"{}:{port}\"]", self.published));
        match &self.app.base {
            Base::Files { root } => {
                let at = if root.is_empty() {
                    String::new()
                } else {
                    format!("/{root}")
                };
                line("  web:\n    type: nginx");
                port.iter().for_each(|port| line(port));
                line(&format!("    volumes: [\".{at}:{PHP}:ro\"]"));
            }
            Base::Php { server, root } => {
                line(&format!("  web:\n    type: {server}\n    links: [app]"));
                port.iter().for_each(|port| line(port));
                line(&format!("    volumes: [\".:{PHP}\"]"));
                if !root.is_empty() {
                    line(&format!("    custom: {{documentRoot: {PHP}/{root}}}"));
                }
                line("\n  app:\n    type: php-fpm");
                self.app(text, PHP);
            }
            Base::Type(kind) => {
                line(&format!("  app:\n    type: {kind}"));
                port.iter().for_each(|port| line(port));
                self.app(text, CODE);
            }
            Base::Image(image) => {
                line(&format!("  app:\n    image: {image}\n    working_dir: {CODE}"));
                port.iter().for_each(|port| line(port));
                self.app(text, CODE);
            }
            Base::Dockerfile(name) => {
                line("  app:");
                if name == "Dockerfile" {
                    line("    build: .");
                } else {
                    line(&format!("    build: {{context: ., dockerfile: {name}}}"));
                }
                port.iter().for_each(|port| line(port));
                self.app(text, "");
            }
        }
    }

    /// What the application's service says besides its type and port.
    fn app(&self, text: &mut String, code: &str) {
        let app = &self.app;
        let names: Vec<&str> = self.stores.iter().map(|store| store.name).collect();
        let typed = matches!(app.base, Base::Type(_) | Base::Php { .. });
        if !names.is_empty() {
            let _ = writeln!(text, "    links: [{}]", names.join(", "));
            if !typed {
                let waits: Vec<String> = names
                    .iter()
                    .map(|name| format!("{name}: {{condition: service_healthy}}"))
                    .collect();
                let _ = writeln!(text, "    depends_on: {{{}}}", waits.join(", "));
            }
        }
        if !code.is_empty() {
            let cache = app
                .cache
                .map(|(volume, place)| format!(", {volume}:{place}"))
                .unwrap_or_default();
            let _ = writeln!(text, "    volumes: [\".:{code}\"{cache}]");
        }
        let variables: Vec<_> = app
            .environment
            .iter()
            .chain(self.stores.iter().flat_map(|store| &store.variables))
            .collect();
        if !variables.is_empty() {
            text.push_str("    environment:\n");
            for (key, value) in variables {
                let _ = writeln!(text, "      {key}: {}", quoted(value));
            }
        }
        if typed && !app.packages.is_empty() {
            let _ = writeln!(text, "    apt_get: [{}]", app.packages.join(", "));
        }
        let list = (!app.pip.is_empty()).then(|| format!("pip_modules: [{}]", app.pip.join(", ")));
        let file = app.requirements.map(|file| format!("requirements: {file}"));
        let custom: Vec<String> = file.into_iter().chain(list).collect();
        if typed && !custom.is_empty() {
            let _ = writeln!(text, "    custom: {{{}}}", custom.join(", "));
        }
        self.scripts(text);
        let ready = app
            .port
            .filter(|_| app.sure && matches!(app.base, Base::Type(_) | Base::Image(_)));
        if let Some(port) = ready {
            let _ = writeln!(text, "    x-banyan: {{ready: {{tcp: {port}}}}}");
        }
        let checked = ready.is_some() || matches!(app.base, Base::Php { .. });
        if checked && !app.before.is_empty() {
            // The first start installs; the usual minute may be too short for that.
            text.push_str("    healthcheck: {start_period: 10m}\n");
        }
    }

    fn scripts(&self, text: &mut String) {
        let app = &self.app;
        let start = app.start.as_ref().map(|start| format!("exec {start}"));
        if let Base::Image(_) = app.base {
            let mut lines = app.before.clone();
            let file = app.requirements.map(|file| format!("-r {file}"));
            let modules: Vec<String> = file
                .into_iter()
                .chain(app.pip.iter().map(|&name| name.to_owned()))
                .collect();
            if !modules.is_empty() {
                lines.insert(0, format!("pip install --quiet {}", modules.join(" ")));
            }
            lines.push(start.unwrap_or_else(|| "exec sleep infinity".into()));
            let _ = writeln!(text, "    command:\n      - sh\n      - -ec\n      - |");
            block(text, "        ", &lines);
            return;
        }
        // All of them have to do well.
        let before: Vec<String> = match app.before.split_last() {
            Some((last, others)) => {
                let others = others.iter().map(|line| format!("{line} &&"));
                others.chain([last.clone()]).collect()
            }
            None => Vec::new(),
        };
        for (key, lines) in [
            ("before_script", before.as_slice()),
            ("after_script", start.as_slice()),
        ] {
            if !lines.is_empty() {
                let _ = writeln!(text, "    {key}: |");
                block(text, "      ", lines);
            }
        }
    }
}

/// Lines of a script; `$` is the shell's, not the project file's.
fn block(text: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "{indent}{}", line.replace('$', "$$"));
    }
}

fn write_store(text: &mut String, store: &Store) {
    let _ = writeln!(text, "  {}:\n    type: {}", store.name, store.kind);
    let custom = match store.kind {
        "mysql" => "{databases: [app], user: app, password: app}",
        "postgresql" => "{user: app, password: app}",
        _ => return,
    };
    let _ = writeln!(text, "    custom: {custom}");
}

/// A text in YAML's double quotes, which JSON's are; `$` is none of the project file's variables.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}
