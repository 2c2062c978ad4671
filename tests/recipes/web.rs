//! `apache`, `nginx`, `php-fpm`, `mysql`; scripts.

use super::{build, give, page, project, says, shared_root};
use crate::support::http_get;

const STACK: &str = "
services:
  front:
    type: apache
    links: [app]
    ports: ['80']
    volumes: ['./site:/var/www']
  app:
    type: php-fpm
    links: [db]
    volumes: ['./site:/var/www']
    custom: {memoryLimit: 96M}
    before_script: echo from before >/tmp/before
  db:
    x-banyan:
      type: mysql
      custom: {databases: [shop], user: shop, password: \"it's a secret\"}
      after_script: |
        mysql shop -e 'CREATE TABLE IF NOT EXISTS fruit (name VARCHAR(20) PRIMARY KEY)'
        mysql shop -e 'INSERT IGNORE INTO fruit VALUES (\"fig\")'
";

const INDEX: &str = "<?php
mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
$db = new mysqli('db', 'shop', \"it's a secret\", 'shop');
$row = $db->query('SELECT name, VERSION() AS version FROM fruit')->fetch_assoc();
file_put_contents('/var/www/written', 'x');
echo $row['name'], ' ', $row['version'], ' ', ini_get('memory_limit'), ' ', getenv('DB_PORT_3306_TCP_PORT'), ' ',
     file_get_contents('/tmp/before'), ' uid ', posix_getuid();
";

#[test]
fn apache_php_fpm_and_mysql_answer_with_a_row_and_keep_it() {
    let Some(root) = shared_root() else { return };
    let project = project(
        &root,
        "stack",
        STACK,
        &[("site/index.php", INDEX), ("site/plain.txt", "plain")],
    );
    // The code belongs to somebody, and what PHP writes is theirs.
    give(&project.folder.join("site"), 1234);
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    let port = project.port("front");
    let text = page(port, "/", "fig 10.11");
    assert!(text.contains("96M 3306 from before"), "{text}");
    assert!(text.contains("uid 1234"), "{text}");
    assert_eq!(super::owner(&project.folder.join("site/written")), (1234, 1234));
    page(port, "/plain.txt", "plain");
    assert!(http_get(port, "/missing.php").is_err_and(|error| error.to_string().contains(" 404 ")));
    says(
        &project,
        "db",
        &["mysql", "-N", "-e", "SELECT name FROM shop.fruit"],
        "fig",
    );

    // Nothing changed: nothing is built, nothing is made anew.
    let id = project.id("db");
    let again = project.run(&["up", "-d", "--wait"]);
    assert!(again.code == 0 && !again.all().contains("[1/"), "{}", again.all());
    assert_eq!(project.id("db"), id);
    // The data outlive the containers.
    project.ok(&["down"]);
    project.ok(&["up", "-d", "--wait"]);
    page(project.port("front"), "/", "fig 10.11");
    project.ok(&["down", "-v"]);
}

#[test]
fn nginx_serves_files_hands_php_on_and_shares_work_among_backends() {
    let Some(root) = shared_root() else { return };
    let file = "
services:
  balancer: {type: nginx, links: [front], ports: ['8080'], custom: {backends: [front]}}
  front: {type: nginx, links: [app], scale: 2, volumes: ['./site:/srv/site'], custom: {documentRoot: /srv/site/public}}
  app: {type: php-fpm, volumes: ['./site:/srv/site']}
";
    let files = [
        (
            "site/public/index.php",
            "<?php echo 'php ', PHP_MAJOR_VERSION, ' via ', $_SERVER['SERVER_ADDR'];",
        ),
        ("site/public/plain.txt", "plain"),
    ];
    let project = project(&root, "nginx", file, &files);
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    let port = project.port("balancer");
    page(port, "/plain.txt", "plain");
    let answers: std::collections::BTreeSet<String> =
        (0..8).map(|_| page(port, "/any/route", "php 8 via ")).collect();
    assert_eq!(answers.len(), 2, "both replicas answer: {answers:?}");
    project.ok(&["down"]);
}

#[test]
fn after_script_of_types_without_a_program_is_what_they_run() {
    let Some(root) = shared_root() else { return };
    let file = "
services:
  job: {type: python, volumes: ['./code:/code'], after_script: 'python /code/hello.py && echo in $$PWD'}
  tool: {type: empty, apt_get: [file], before_script: ./prepare.sh}
  stuck: {type: empty, before_script: 'echo first; (exit 7)', after_script: echo never, profiles: [never]}
";
    let files = [
        (
            "code/hello.py",
            "import sys\nprint('hello from', sys.version_info.major)\n",
        ),
        ("prepare.sh", "echo prepared >/tmp/prepared\n"),
    ];
    let project = project(&root, "jobs", file, &files);
    build(&project);
    let said = project.run(&["up", "job"]);
    assert!(
        said.stdout.contains("hello from 3") && said.stdout.contains("in /code"),
        "{}",
        said.all()
    );
    let stuck = project.run(&["run", "--rm", "-T", "stuck"]);
    assert!(
        stuck.code == 7 && stuck.stdout == "first\n",
        "a failed before_script is the end: {}",
        stuck.all()
    );
    project.ok(&["up", "-d", "tool"]);
    says(&project, "tool", &["cat", "/tmp/prepared"], "prepared");
    says(&project, "tool", &["file", "/bin/ls"], "ELF 64-bit");
    project.ok(&["down", "-t", "0"]);
}
