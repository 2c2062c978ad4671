//! Ruby: `Gemfile`.

use super::{App, Base, Draft, Folder};
use regex::Regex;

/// Gems that are compiled against a library, and its package.
const COMPILED: &[(&str, &str)] = &[
    ("pg", "libpq-dev"),
    ("mysql2", "default-libmysqlclient-dev"),
    ("sqlite3", "libsqlite3-dev"),
];

pub(super) fn find(folder: &Folder, draft: &mut Draft) -> bool {
    if !folder.has("Gemfile") || needs(folder, "jekyll") {
        return false;
    }
    let mut app = App {
        base: Base::Type("ruby"),
        packages: vec!["build-essential", "ruby-dev", "libyaml-dev"],
        before: vec!["bundle install --quiet".into()],
        cache: Some(("gems", "/var/lib/gems")),
        ..App::default()
    };
    app.packages.extend(
        COMPILED
            .iter()
            .filter(|(gem, _)| needs(folder, gem))
            .map(|(_, package)| *package),
    );
    draft
        .why
        .push("Gemfile: Ruby; its gems are installed at the start".into());
    let (port, start) = if folder.has("bin/rails") || needs(folder, "rails") {
        draft.why.push("Gemfile: Rails".into());
        draft
            .notes
            .push("tables of Rails: banyan exec app bin/rails db:prepare".into());
        // Left by a container that was killed.
        app.before.push("rm -f tmp/pids/server.pid".into());
        (3000, "bundle exec rails server -b 0.0.0.0 -p 3000".to_owned())
    } else if folder.has("config.ru") {
        draft.why.push("config.ru: a Rack application".into());
        (9292, "bundle exec rackup -o 0.0.0.0 -p 9292".to_owned())
    } else if let Some(command) = super::python::procfile(folder) {
        app.environment.push(("PORT".into(), "5000".into()));
        (5000, command)
    } else if let Some(program) = folder.first(&["app.rb", "main.rb", "server.rb"]) {
        draft.why.push(format!("{program}: the program"));
        if needs(folder, "sinatra") {
            (4567, format!("bundle exec ruby {program} -o 0.0.0.0 -p 4567"))
        } else {
            app.start = Some(format!("bundle exec ruby {program}"));
            let port = Regex::new(r"(?i)\bport\b\s*(?::|=>|=|,)\s*(\d{2,5})\b").ok();
            app.port = port.and_then(|port| port.captures(folder.text(program))?[1].parse().ok());
            draft.app = app;
            return true;
        }
    } else {
        draft.notes.push(
            "nothing tells what starts it: write it as `after_script`, or work in it: banyan exec app bash"
                .into(),
        );
        draft.app = app;
        return true;
    };
    app.port = Some(port);
    app.sure = true;
    app.start = Some(start);
    draft.app = app;
    true
}

/// Whether the Gemfile names a gem.
pub(super) fn needs(folder: &Folder, gem: &str) -> bool {
    let names = |quote: char| format!("gem {quote}{gem}{quote}");
    let lines = folder.text("Gemfile").lines().map(str::trim);
    lines
        .into_iter()
        .any(|line| ['"', '\''].iter().any(|quote| line.starts_with(&names(*quote))))
}
