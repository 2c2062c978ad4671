//! `redis`, `postgresql`, `memcached`, `python`, `nodejs`, `composer`, `npm`.

use super::{build, give, is_asked_for, owner, page, project, shared_root};
use std::fs;

const STORES: &str = r#"
services:
  store: {type: redis, custom: {password: 'a"b', appendOnly: true}}
  data:
    type: postgresql
    custom: {user: shop, password: "it's", databases: [extra]}
    after_script: |
      psql -d shop -c 'CREATE TABLE IF NOT EXISTS fruit (name text PRIMARY KEY)'
      psql -d shop -c "INSERT INTO fruit VALUES ('fig') ON CONFLICT DO NOTHING"
  cache: {type: memcached}
  web:
    type: python
    links: [store, data, cache]
    volumes: ['./app:/app']
    ports: ['8000']
    apt_get: [python3-redis, python3-psycopg2, python3-pymemcache]
    after_script: python /app/web.py
    x-banyan: {ready: {tcp: 8000}}
"#;

const WEB: &str = r#"
import http.server, redis, psycopg2
from pymemcache.client.base import Client
store = redis.Redis(host="store", password='a"b')
store.set("fruit", "fig")
cache = Client(("cache", 11211))
cache.set("fruit", "cached fig")
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        db = psycopg2.connect(host="data", user="shop", password="it's", dbname="shop").cursor()
        db.execute("SELECT name, version() FROM fruit")
        row = db.fetchone()
        text = f"{row[0]} from {row[1][:13]}, {store.get('fruit').decode()}, {cache.get('fruit').decode()}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())
http.server.ThreadingHTTPServer(("", 8000), Page).serve_forever()
"#;

#[test]
fn python_gets_real_answers_from_redis_postgresql_and_memcached() {
    let Some(root) = shared_root() else { return };
    let project = project(&root, "stores", STORES, &[("app/web.py", WEB)]);
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    let answer = "fig from PostgreSQL 15, fig, cached fig";
    page(project.port("web"), "/", answer);
    // What was written is there after the containers are gone.
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait"]);
    page(project.port("web"), "/", answer);
    let refused = project.run(&["exec", "-T", "store", "redis-cli", "get", "fruit"]);
    assert!(refused.stdout.contains("NOAUTH"), "{}", refused.all());
    project.ok(&["down", "-v"]);
}

#[test]
fn node_runs_with_modules() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  store: {type: redis}
  web:
    type: nodejs
    links: [store]
    volumes: ['./app:/app']
    ports: ['3000']
    custom: {modules: [ioredis]}
    after_script: node /app/web.js
";
    let program = "
const Redis = require('ioredis');
const redis = new Redis({host: 'store'});
require('http').createServer(async (_, answer) => {
    await redis.incr('visits');
    answer.end(`node ${process.version} visits ${await redis.get('visits')}`);
}).listen(3000);
";
    let project = project(&root, "node", file, &[("app/web.js", program)]);
    project.ok(&["up", "-d"]);
    page(project.port("web"), "/", "node v18.");
    page(project.port("web"), "/", "visits 2");
    project.ok(&["down", "-v"]);
}

#[test]
fn composer_and_npm_work_in_the_callers_folder_as_its_owner() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  composer: {type: composer, before_script: 'id -u >before', after_script: ./after.sh}
  npm: {type: npm}
";
    let files = [
        ("after.sh", "ls vendor >after\n"),
        (
            "site/composer.json",
            r#"{"name": "a/b", "autoload": {"classmap": ["src/"]}}"#,
        ),
        ("site/src/Fig.php", "<?php class Fig {}"),
        ("site/package.json", r#"{"name": "site", "version": "1.0.0"}"#),
    ];
    let project = project(&root, "tools", file, &files);
    let site = project.folder.join("site");
    give(&site, 4321);
    let called = |words: &[&str]| {
        let file = project.folder.join("compose.yaml");
        let mut command = root.banyan();
        command
            .arg("-f")
            .arg(&file)
            .args(["-p", "tools", "run", "--rm", "-T"]);
        let output = command.args(words).current_dir(&site).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    called(&["composer", "install", "--no-interaction"]);
    assert!(site.join("vendor/autoload.php").exists());
    for (made, text) in [
        ("vendor/autoload.php", "<?php"),
        ("before", "4321\n"),
        ("after", "autoload.php"),
    ] {
        assert_eq!(owner(&site.join(made)), (4321, 4321), "{made}");
        assert!(
            fs::read_to_string(site.join(made)).unwrap().contains(text),
            "{made}"
        );
    }
    called(&["npm", "install", "is-number@7.0.0", "--save"]);
    assert!(site.join("node_modules/is-number/package.json").exists());
    assert_eq!(
        owner(&site.join("node_modules/is-number/package.json")),
        (4321, 4321)
    );
    // Called only, never started.
    let started = project.run(&["up", "-d"]);
    assert!(!started.all().contains("Started"), "{}", started.all());
    assert_eq!(project.ps().len(), 0);
    project.ok(&["down", "-v"]);
}
