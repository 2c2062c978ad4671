//! `mysql` with `repl`: rows go from a master to its slaves, whenever those come.

use super::{build, project, says, shared_root};

#[test]
fn a_slave_has_what_its_master_had_and_what_it_gets() {
    let Some(root) = shared_root() else { return };
    let file = "
services:
  master:
    type: mysql
    custom: {repl: master, databases: [shop]}
    after_script: mysql shop -e 'CREATE TABLE IF NOT EXISTS t (n INT PRIMARY KEY)'
  slave: {type: mysql, links: [master], custom: {repl: slave}, profiles: [later]}
";
    let project = project(&root, "replicas", file, &[]);
    let sql = |service: &str, statement: &str, expected: &str| {
        says(&project, service, &["mysql", "-N", "-e", statement], expected);
    };
    build(&project);
    project.ok(&["up", "-d", "--wait"]);
    sql("master", "INSERT INTO shop.t VALUES (1); SELECT 'done'", "done");
    project.ok(&["--profile", "later", "up", "-d", "--wait"]);
    sql("slave", "SELECT CONCAT('n=', n) FROM shop.t", "n=1");
    sql("master", "INSERT INTO shop.t VALUES (2); SELECT 'done'", "done");
    sql("slave", "SELECT CONCAT('n=', n) FROM shop.t WHERE n = 2", "n=2");
    project.ok(&["--profile", "later", "restart", "slave"]);
    sql("master", "INSERT INTO shop.t VALUES (3); SELECT 'done'", "done");
    sql("slave", "SELECT CONCAT('n=', n) FROM shop.t WHERE n = 3", "n=3");
    project.ok(&["--profile", "later", "down", "-v"]);
}

/// The first copy of a slave may fail after its system tables are there: it is done again when it starts again, from the
/// beginning, also when root has a password by then.
#[test]
fn a_slave_whose_first_copy_failed_copies_when_it_starts_again() {
    let Some(root) = shared_root() else { return };
    let file = r#"
services:
  master:
    type: mysql
    custom: {repl: master, databases: [shop], replicationPassword: "it's right"}
    after_script: |
      mysql shop -e 'CREATE TABLE IF NOT EXISTS t (n INT PRIMARY KEY)'
      mysql shop -e 'INSERT IGNORE INTO t VALUES (1)'
  slave:
    type: mysql
    links: [master]
    custom: {repl: slave, rootPassword: "s'l\"a\\ve"}
    environment: {MYSQL_REPLICATION_PASSWORD: "${REPLICATION:-wrong}"}
"#;
    let project = project(&root, "again", file, &[]);
    build(&project);
    let refused = project.run(&["up", "-d", "--wait"]);
    assert_ne!(refused.code, 0, "{}", refused.all());
    let logs = project.run(&["logs", "slave"]).all();
    assert!(
        logs.contains("copying what master has") && logs.contains("Access denied for user 'replication'"),
        "{logs}"
    );
    let mut again = project.command(&["up", "-d", "--wait"]);
    let again = again.env("REPLICATION", "it's right").output().unwrap();
    assert!(again.status.success(), "{again:?}");
    let sql = |service: &str, statement: &str, expected: &str| {
        says(&project, service, &["mysql", "-N", "-e", statement], expected);
    };
    sql("slave", "SELECT CONCAT('n=', n) FROM shop.t", "n=1");
    sql("master", "INSERT INTO shop.t VALUES (2); SELECT 'done'", "done");
    sql("slave", "SELECT CONCAT('n=', n) FROM shop.t WHERE n = 2", "n=2");
    project.ok(&["down", "-v"]);
}
