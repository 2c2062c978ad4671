//! `banyan init`: from a folder to a page that answers.

use super::{is_asked_for, page, shared_root};
use crate::support::{Ran, Root};
use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

/// A folder that `init` wrote a project file for, up; down when dropped.
#[derive(Debug)]
struct Site<'r> {
    root: &'r Root,
    folder: PathBuf,
    port: u16,
    /// Two at the same time would take the same free port.
    _alone: MutexGuard<'static, ()>,
}

impl<'r> Site<'r> {
    fn up(root: &'r Root, name: &str, files: &[(&str, &str)]) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let folder = root.path().join("src").join(name);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut site = Self {
            root,
            folder,
            port: 0,
            _alone: alone,
        };
        let said = site.ok(&["init", "--yes"]);
        let (_, port) = said
            .split_once("http://localhost:")
            .unwrap_or_else(|| panic!("no address in {said}"));
        site.port = port.trim().parse().unwrap();
        // `up` alone is what the next line of `init` says; it builds what is missing.
        super::in_turn(|| site.ok(&["up", "-d", "--wait"]));
        site
    }

    /// What it said on standard error.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self
            .root
            .banyan()
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let ran = Ran::new(arguments, output);
        assert_eq!(ran.code, 0, "banyan {arguments:?}\n{}", ran.all());
        ran.stderr
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        let mut down = self.root.banyan();
        let _ = down
            .args(["down", "-v", "-t", "1"])
            .current_dir(&self.folder)
            .output();
    }
}

#[test]
fn a_folder_with_an_index_php_answers() {
    let Some(root) = shared_root() else { return };
    let site = Site::up(
        &root,
        "fresh",
        &[("index.php", "<?php echo 'php ', PHP_MAJOR_VERSION;")],
    );
    page(site.port, "/", "php 8");
}

#[test]
fn a_folder_with_composer_json_and_mysql_answers_with_a_row() {
    let Some(root) = shared_root() else { return };
    let index = "<?php
require __DIR__ . '/../vendor/autoload.php';
$url = parse_url(getenv('DATABASE_URL'));
$db = new PDO(\"mysql:host=$url[host];port=$url[port];dbname=\" . trim($url['path'], '/'), $url['user'], $url['pass']);
$row = $db->query('SELECT DATABASE() AS name, VERSION() AS version')->fetch();
echo (new Fig)->name(), ' ', $row['name'], ' ', $row['version'], ' at ', $_SERVER['REQUEST_URI'];
";
    let files = [
        ("public/index.php", index),
        (
            "composer.json",
            r#"{"require": {"ext-pdo_mysql": "*"}, "autoload": {"classmap": ["src/"]}}"#,
        ),
        (
            "src/Fig.php",
            "<?php class Fig { function name() { return 'fig'; } }",
        ),
        (".env", "DATABASE_URL=mysql://root:secret@127.0.0.1:3306/shop\n"),
    ];
    let site = Site::up(&root, "shop", &files);
    page(site.port, "/any/route", "fig app 10.11");
    page(site.port, "/any/route", "at /any/route");
}

const MANAGE: &str = "import os, sys
os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'shop.pages')
sys.path.insert(0, os.path.dirname(__file__))
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
";

const PAGES: &str = "from django.http import HttpResponse
from django.urls import path
SECRET_KEY, DEBUG, ROOT_URLCONF = 'x', True, __name__
urlpatterns = [path('', lambda request: HttpResponse('hello from django'))]
";

const WEBRICK: &str = "require 'webrick'
server = WEBrick::HTTPServer.new(Port: 8000)
server.mount_proc('/') { |_, answer| answer.body = 'hello from ruby' }
server.start
";

/// Its name, its files, and what its page says.
type Sample = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[test]
fn folders_in_other_languages_answer() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let sites: &[Sample] = &[
        (
            "flask",
            &[
                (
                    "app.py",
                    "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef page():\n    return 'hello from flask'\n",
                ),
                ("requirements.txt", "flask\n"),
            ],
            "hello from flask",
        ),
        (
            "module",
            &[
                (
                    "app.py",
                    "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef page():\n    return 'hello from a module'\n",
                ),
                (
                    "pyproject.toml",
                    "[project]\nname = 'hello'\nversion = '1'\ndependencies = ['flask']\n",
                ),
            ],
            "hello from a module",
        ),
        (
            "node",
            &[
                (
                    "server.js",
                    "const odd = require('is-number')('7');\nrequire('http').createServer((_, answer) => answer.end(`hello from node, ${odd}`)).listen(process.env.PORT)",
                ),
                (
                    "package.json",
                    r#"{"scripts": {"start": "node server.js"}, "dependencies": {"is-number": "7.0.0"}}"#,
                ),
            ],
            "hello from node, true",
        ),
        (
            "go",
            &[
                (
                    "main.go",
                    "package main\n\nimport (\"fmt\"; \"net/http\")\n\nfunc main() {\n\thttp.HandleFunc(\"/\", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, \"hello from go\") })\n\thttp.ListenAndServe(\":9090\", nil)\n}\n",
                ),
                ("go.mod", "module hello\n\ngo 1.18\n"),
            ],
            "hello from go",
        ),
        (
            "django",
            &[
                ("manage.py", MANAGE),
                ("shop/__init__.py", ""),
                ("shop/pages.py", PAGES),
            ],
            "hello from django",
        ),
        (
            "ruby",
            &[
                // With what Ruby brings, no place to fetch gems from is asked.
                ("Gemfile", "gem 'webrick'\n"),
                ("app.rb", WEBRICK),
            ],
            "hello from ruby",
        ),
        (
            "jekyll",
            &[
                ("_config.yml", "title: x\n"),
                ("index.md", "---\n---\n# hello from jekyll\n"),
            ],
            "hello from jekyll",
        ),
        (
            "pages",
            &[("public/index.html", "hello from nginx")],
            "hello from nginx",
        ),
    ];
    for (name, files, expected) in sites {
        let site = Site::up(&root, &format!("made-{name}"), files);
        page(site.port, "/", expected);
        // What runs at the start leaves nothing of its own among the sources, but modules where their tools put them.
        let known = |name: &str| {
            let of_tools = ["node_modules", "package-lock.json", "Gemfile.lock", "go.sum"];
            let ours = files.iter().any(|(path, _)| path.split('/').next() == Some(name));
            ours || name == "banyan.yaml" || of_tools.contains(&name)
        };
        let made = fs::read_dir(&site.folder).unwrap();
        let made: Vec<String> = made
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !known(name))
            .collect();
        assert!(made.is_empty(), "{name} left {made:?}");
    }
}
