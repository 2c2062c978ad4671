//! Types that take long to build, with `BANYAN_TESTS_RECIPES=1`: `varnish`, `phpmyadmin`, `ambassador`, `rabbitmq`, `ruby`,
//! `golang`, `jekyll`, `django`, `ror`, `statsd`, `graphite`.

use super::{give, is_asked_for, owner, page, project, says, shared_root};
use crate::support::{Ran, free_port};
use std::{fs, io::Read as _, io::Write as _, net::TcpStream};

/// Head and body.
pub(super) fn try_answer(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Head and body; there must be an answer.
pub(super) fn answer(port: u16, path: &str) -> String {
    try_answer(port, path).unwrap()
}

#[test]
fn a_gaudi_file_with_varnish_phpmyadmin_and_an_ambassador() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let [cached, admin, hand, far] = [(); 4].map(|()| free_port());
    let file = format!(
        "
applications:
  lb: {{type: varnish, links: [web], ports: {{{cached}: 80}}, custom: {{backends: [web]}}}}
  web: {{type: apache, volumes: {{www: /var/www}}}}
  admin: {{type: phpmyadmin, ports: {{{admin}: 8080}}, links: [data], custom: {{user: root}}}}
  data:
    type: mysql
    after_script: mysql -uroot -e \"CREATE DATABASE IF NOT EXISTS orchard\"
    ambassador: {{type: local, port: {hand}}}
  far: {{type: ambassador, links: [data], ports: {{{far}: 3307}}, custom: {{remote: \"data:3306\"}}}}
"
    );
    let project = project(
        &root,
        "gaudi",
        "",
        &[(".gaudi.yml", &file), ("www/index.html", "<p>a fig</p>")],
    );
    let run = |words: &[&str]| {
        let mut command = root.banyan();
        command.args(["-p", "gaudi", "-f", ".gaudi.yml"]).args(words);
        Ran::new(words, command.current_dir(&project.folder).output().unwrap())
    };
    let up = run(&["up", "-d", "--wait"]);
    assert_eq!(up.code, 0, "{}", up.all());
    let first = answer(cached, "/");
    assert!(
        first.contains("X-Cache: MISS") && first.contains("a fig"),
        "{first}"
    );
    let second = answer(cached, "/");
    assert!(
        second.contains("X-Cache: HIT") && second.contains("a fig"),
        "{second}"
    );
    page(admin, "/", "orchard");
    for (host, port) in [("ambassador-data", hand.to_string()), ("far", "3307".to_owned())] {
        let sql = ["mysql", "-h", host, "-P", &port, "-N", "-e", "SHOW DATABASES"];
        let words: Vec<&str> = ["exec", "-T", "data"].into_iter().chain(sql).collect();
        let said = run(&words);
        assert!(said.stdout.contains("orchard"), "{host}: {}", said.all());
    }
    let down = run(&["down", "-v"]);
    assert_eq!(down.code, 0, "{}", down.all());
}

#[test]
fn a_job_goes_through_rabbitmq() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  mail: {type: rabbitmq, custom: {user: me, password: \"it's\"}}
  worker: {type: python, links: [mail], volumes: ['./app:/app'], apt_get: [python3-pika], after_script: python /app/work.py}
";
    let connect = "import pika, sys\n\
        credentials = pika.PlainCredentials('me', \"it's\")\n\
        channel = pika.BlockingConnection(pika.ConnectionParameters('mail', credentials=credentials)).channel()\n\
        channel.queue_declare('jobs', durable=True)\n";
    let send = format!("{connect}channel.basic_publish('', 'jobs', b'a fig')\nprint('sent')\n");
    let work = format!(
        "{connect}for method, _, body in channel.consume('jobs'):\n    print('got', body.decode(), flush=True)\n    channel.basic_ack(method.delivery_tag)\n"
    );
    let project = project(
        &root,
        "jobs-queue",
        file,
        &[("app/send.py", &send), ("app/work.py", &work)],
    );
    project.ok(&["up", "-d", "--wait", "mail"]);
    let sent = project.ok(&["run", "--rm", "-T", "worker", "python", "/app/send.py"]);
    assert!(sent.contains("sent"), "{sent}");
    // The job outlives the broker's container: a durable queue of data in a volume. (The message itself is transient.)
    project.ok(&["up", "-d", "worker"]);
    crate::support::wait_until(20, "the job is done", || {
        project
            .ok(&["logs", "worker"])
            .contains("got a fig")
            .then_some(())
    });
    project.ok(&["down", "-v", "-t", "1"]);
}

#[test]
fn ruby_go_and_php_run_and_jekyll_builds_in_the_callers_folder() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  rb: {type: ruby, volumes: ['./app:/app'], apt_get: [ruby-rainbow], after_script: ruby /app/job.rb}
  go: {type: golang, volumes: ['./app:/app'], apt_get: [golang-github-pkg-errors-dev], after_script: go run /app/job.go}
  php: {type: php, volumes: ['./app:/app'], after_script: 'php /app/job.php'}
  jekyll: {type: jekyll}
";
    let go = "package main\n\nimport (\n\t\"fmt\"\n\t\"runtime\"\n\n\t\"github.com/pkg/errors\"\n)\n\n\
        func main() { fmt.Println(runtime.Version(), errors.New(\"a fig\")) }\n";
    let files = [
        (
            "app/job.rb",
            "require 'rainbow'\nputs \"ruby #{RUBY_VERSION} #{Rainbow('a fig').to_s}\"\n",
        ),
        ("app/job.go", go),
        (
            "app/job.php",
            "<?php echo 'php ', PHP_MAJOR_VERSION, \" a fig\\n\";",
        ),
        ("site/index.md", "---\ntitle: x\n---\n# A fig\n"),
    ];
    let project = project(&root, "languages", file, &files);
    let said = project.run(&["up", "rb", "go", "php"]);
    assert!(
        said.stdout.contains("ruby 3.1") && said.stdout.contains("go1.19"),
        "{}",
        said.all()
    );
    assert_eq!(said.stdout.matches("a fig").count(), 3, "{}", said.all());
    let site = project.folder.join("site");
    give(&site, 4321);
    let compose = project.folder.join("compose.yaml");
    let mut command = root.banyan();
    command
        .arg("-f")
        .arg(&compose)
        .args(["-p", "languages", "run", "--rm", "-T", "jekyll", "build"]);
    let built = command.current_dir(&site).output().unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let made = site.join("_site/index.html");
    assert!(fs::read_to_string(&made).unwrap().contains("A fig</h1>"));
    assert_eq!(owner(&made), (4321, 4321));
    project.ok(&["down", "-v"]);
}

#[test]
fn django_and_rails_make_projects_on_their_databases() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  web: {type: apache, links: [site], ports: ['80']}
  site:
    type: django
    links: [data]
    ports: ['8000']
    volumes: ['./django:/app']
    custom: {project_name: orchard}
    after_script: cd /app && python manage.py migrate --noinput
  rails: {type: ror, links: [tables], ports: ['3000'], volumes: ['./rails:/app'], custom: {project_name: shop}}
  passenger:
    type: ror
    links: [rails, tables]
    ports: ['8080']
    volumes: ['./rails:/app']
    custom: {project_name: shop, serverType: apache, documentRoot: /app/shop/public}
  data: {type: postgresql, custom: {user: me, password: secret, databases: [figs]}}
  tables: {type: mysql, custom: {databases: [shop_development], user: me, password: 'a\"b'}}
";
    let project = project(
        &root,
        "frameworks",
        file,
        &[("django/.keep", ""), ("rails/.keep", "")],
    );
    for folder in ["django", "rails"] {
        give(&project.folder.join(folder), 4321);
    }
    project.ok(&["up", "-d", "--wait"]);
    page(project.port("site"), "/", "The install worked successfully");
    page(project.port("web"), "/", "The install worked successfully");
    assert_eq!(
        owner(&project.folder.join("django/orchard/settings.py")),
        (4321, 4321)
    );
    says(
        &project,
        "data",
        &[
            "psql",
            "-d",
            "figs",
            "-Atc",
            "SELECT count(*) > 5 FROM django_migrations",
        ],
        "t",
    );
    page(project.port("rails"), "/", "Ruby on Rails");
    page(project.port("passenger"), "/", "Ruby on Rails");
    let query = "puts ActiveRecord::Base.connection.select_value('SELECT VERSION()')";
    says(
        &project,
        "rails",
        &[
            "bash",
            "-c",
            &format!("cd shop && HOME=/tmp bundle exec rails runner \"{query}\""),
        ],
        "MariaDB",
    );
    assert_eq!(owner(&project.folder.join("rails/shop/Gemfile")), (4321, 4321));
    project.ok(&["down", "-v"]);
}

#[test]
fn a_count_goes_through_statsd_into_a_graph() {
    if !is_asked_for() {
        return;
    }
    let Some(root) = shared_root() else { return };
    let file = "
services:
  counts: {type: statsd, links: [graphs], custom: {flushInterval: 500}}
  graphs: {type: graphite, ports: ['80']}
";
    let project = project(&root, "graphs", file, &[]);
    project.ok(&["up", "-d", "--wait"]);
    let send = "const s = require('dgram').createSocket('udp4'); s.send('figs:7|g', 8125, '127.0.0.1', () => s.close())";
    project.ok(&["exec", "-T", "counts", "node", "-e", send]);
    page(
        project.port("graphs"),
        "/render?target=stats.gauges.figs&format=json&from=-2min",
        "[7.0,",
    );
    project.ok(&["down", "-v"]);
}
