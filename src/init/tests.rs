//! What folders become. Every file that is written must be a project without a warning.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use super::{Draft, Folder, Subject, draft, questions};
use crate::project::{LoadOptions, load};

fn drafted(files: &[(&str, &str)]) -> Draft {
    draft(&Folder::of(files)).unwrap_or_else(|| panic!("nothing is known of {files:?}"))
}

/// The text, once it was read as a project.
#[track_caller]
fn text(draft: &Draft) -> String {
    assert!(questions(draft).len() <= 3, "{:?}", questions(draft));
    let text = draft.text();
    let folder = tempfile::tempdir().unwrap();
    let options = LoadOptions {
        files: vec!["-".into()],
        stdin: Some(text.clone()),
        project_name: Some("it".into()),
        working_dir: folder.path().to_owned(),
        profiles: vec!["*".into()],
        ..LoadOptions::default()
    };
    match load(&options) {
        Ok(loaded) => assert!(loaded.warnings.is_empty(), "{:?}\n{text}", loaded.warnings),
        Err(wrong) => panic!("{}\n{text}", wrong.to_text(folder.path())),
    }
    text.split_once("services:\n").unwrap().1.to_owned()
}

/// The file has all of these texts and the reasons all of those.
#[track_caller]
fn check(files: &[(&str, &str)], has: &[&str], why: &[&str]) {
    let draft = drafted(files);
    let text = text(&draft);
    for part in has {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let told = [draft.why.join("\n"), draft.notes.join("\n")].join("\n");
    for part in why {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
}

#[test]
fn pages_alone_are_served_by_nginx() {
    let draft = drafted(&[("index.html", "")]);
    let expected = "  web:\n    type: nginx\n    ports: [\"8080:80\"]\n    volumes: [\".:/var/www:ro\"]\n";
    assert_eq!(text(&draft), expected);
    check(
        &[("public/index.html", "")],
        &["./public:/var/www:ro"],
        &["public/index.html: files"],
    );
}

#[test]
fn php_runs_behind_a_web_server() {
    let alone = drafted(&[("index.php", "<?php echo 1;")]);
    let expected = "  web:
    type: apache
    links: [app]
    ports: [\"8080:80\"]
    volumes: [\".:/var/www\"]

  app:
    type: php-fpm
    volumes: [\".:/var/www\"]
";
    assert_eq!(text(&alone), expected);
    let composer = (
        "composer.json",
        r#"{"require": {"php": ">=8.1", "ext-pdo_mysql": "*", "ext-redis": "*"}}"#,
    );
    check(
        &[
            composer,
            ("public/index.php", "<?php // front"),
            (
                ".env",
                "DB_HOST=127.0.0.1\nDB_DATABASE=shop\nDB_PASSWORD=secret\n",
            ),
        ],
        &[
            "type: nginx",
            "documentRoot: /var/www/public",
            "links: [db, redis]",
            "apt_get: [php-redis]",
            "DATABASE_URL: \"mysql://app:app@db:3306/app\"",
            "DB_HOST: \"db\"",
            "DB_DATABASE: \"app\"",
            "composer: {type: composer}",
            "|| setpriv --reuid=\"$$(stat",
        ],
        &[
            "ext-pdo_mysql in composer.json: mysql",
            "ext-redis in composer.json: redis",
        ],
    );
    check(
        &[composer, ("public/index.php", "<?php"), ("public/.htaccess", "")],
        &["type: apache"],
        &["because of public/.htaccess"],
    );
    check(
        &[("index.php", ""), ("wp-config-sample.php", "")],
        &["type: apache", "type: mysql"],
        &["WordPress: mysql"],
    );
    check(
        &[("index.php", "new PDO('pgsql:host=db')")],
        &["type: postgresql"],
        &["index.php: postgresql"],
    );
    check(
        &[("composer.json", r#"{"require": {"php": "^8.4"}}"#)],
        &["php-fpm"],
        &["asks for PHP ^8.4, Debian brings 8.2"],
    );
}

#[test]
fn secrets_of_env_files_stay_where_they_are() {
    let files = [
        ("index.php", ""),
        (
            ".env",
            "DATABASE_URL=\"mysql://root:geheim@localhost/x\"\nREDIS_PASSWORD=geheim\nREDIS_HOST=x\n",
        ),
    ];
    let text = text(&drafted(&files));
    assert!(!text.contains("geheim"), "{text}");
    assert!(
        text.contains("mysql://app:app@db:3306/app") && text.contains("REDIS_PASSWORD: \"\""),
        "{text}"
    );
}

#[test]
fn python_runs_with_its_modules() {
    check(
        &[
            ("manage.py", ""),
            ("requirements.txt", "Django>=4\npsycopg2-binary\n"),
        ],
        &[
            "type: python",
            "custom: {requirements: requirements.txt}",
            "exec python manage.py runserver 0.0.0.0:8000",
            "type: postgresql",
            "tcp: 8000",
        ],
        &[
            "manage.py: Django",
            "psycopg2-binary in requirements.txt: postgresql",
        ],
    );
    check(
        &[("manage.py", "")],
        &["apt_get: [python3-django]"],
        &["no list of modules names django: Debian's"],
    );
    check(
        &[
            ("app.py", "app = Flask(__name__)\n"),
            ("requirements.txt", "flask\npsycopg2==2.9\n"),
        ],
        &[
            "flask --app app:app run",
            "build-essential, python3-dev, libpq-dev",
        ],
        &["app.py: Flask"],
    );
    check(
        &[
            ("shop/main.py", "api = FastAPI()\n"),
            (
                "pyproject.toml",
                "requires-python = \">=3.13\"\ndependencies = [\"fastapi\"]\n",
            ),
        ],
        &[
            "image: python:3.13",
            "exec uvicorn shop.main:api",
            "pip install --quiet uvicorn",
        ],
        &["Python >=3.13, which Debian does not bring"],
    );
    check(
        &[("main.py", "HTTPServer(('', 9000), Page).serve_forever()")],
        &["exec python main.py", "8080:9000"],
        &["main.py: the program"],
    );
    check(
        &[("requirements.txt", "numpy\n")],
        &["type: python"],
        &["nothing tells what starts it"],
    );
    check(
        &[
            ("requirements.txt", "x\n"),
            ("Procfile", "web: gunicorn x:y -b :$PORT\n"),
        ],
        &["exec gunicorn x:y -b :$$PORT"],
        &[],
    );
}

#[test]
fn node_starts_as_its_package_says() {
    check(
        &[
            (
                "package.json",
                r#"{"scripts": {"start": "node server.js"}, "dependencies": {"pg": "^8", "ioredis": "5"}}"#,
            ),
            ("server.js", "http.listen(process.env.PORT)"),
        ],
        &[
            "type: nodejs",
            "apt_get: [npm]",
            "exec npm start",
            "8080:3000",
            "links: [db, redis]",
            "npm: {type: npm}",
            "tcp: 3000",
        ],
        &["package.json: Node.js, `npm start`"],
    );
    check(
        &[
            ("package.json", r#"{"main": "./bin/www.js"}"#),
            ("bin/www.js", "app.listen(4567)"),
        ],
        &["exec node bin/www.js", "8080:4567"],
        &[],
    );
    check(
        &[(
            "package.json",
            r#"{"scripts": {"dev": "vite"}, "devDependencies": {"vite": "5"}, "engines": {"node": ">=20"}}"#,
        )],
        &["image: node:20", "exec npm run dev -- --host 0.0.0.0 --port 3000"],
        &["Node.js 20, which Debian does not bring"],
    );
}

#[test]
fn ruby_go_and_jekyll_listen_where_their_ports_lead() {
    check(
        &[
            ("Gemfile", "gem 'rails'\ngem \"pg\", '~> 1'\n"),
            ("config.ru", ""),
        ],
        &[
            "type: ruby",
            "rails server -b 0.0.0.0 -p 3000",
            "libpq-dev",
            "type: postgresql",
        ],
        &["Gemfile: Rails", "pg in Gemfile: postgresql"],
    );
    check(
        &[("Gemfile", ""), ("app.rb", "WEBrick::HTTPServer.new(Port: 8123)")],
        &["bundle exec ruby app.rb", "8080:8123"],
        &["app.rb: the program"],
    );
    check(
        &[("Gemfile", "gem 'sinatra'"), ("app.rb", "")],
        &["ruby app.rb -o 0.0.0.0 -p 4567"],
        &["app.rb"],
    );
    check(
        &[("_config.yml", "")],
        &["apt_get: [jekyll]", "jekyll serve --host 0.0.0.0"],
        &["a Jekyll site"],
    );
    check(
        &[("_config.yml", ""), ("Gemfile", "gem 'jekyll'")],
        &["exec bundle exec jekyll serve"],
        &["_config.yml"],
    );
    let main = "package main\nfunc main() { http.ListenAndServe(\":9090\", nil) }\n";
    check(
        &[
            (
                "go.mod",
                "module x\n\ngo 1.18\n\nrequire github.com/jackc/pgx/v5 v5.1.0\n",
            ),
            ("cmd/x/main.go", main),
        ],
        &[
            "type: golang",
            "go build -buildvcs=false -o /tmp/app ./cmd/x",
            "exec /tmp/app",
            "8080:9090",
            "type: postgresql",
        ],
        &["cmd/x/main.go: the program"],
    );
    check(
        &[("go.mod", "go 1.22.1\n"), ("main.go", main)],
        &["image: golang:1.22", "exec /tmp/app"],
        &["does not bring"],
    );
}

#[test]
fn a_dockerfile_is_the_authors_own_word() {
    check(
        &[
            ("Dockerfile", "FROM x\nEXPOSE 5000/tcp 6000\n"),
            ("package.json", r#"{"dependencies": {"mysql2": "3"}}"#),
        ],
        &[
            "build: .",
            "8080:5000",
            "type: mysql",
            "depends_on: {db: {condition: service_healthy}}",
        ],
        &["it exposes 5000"],
    );
}

#[test]
fn nothing_known_is_no_draft() {
    assert_eq!(draft(&Folder::of(&[("notes.txt", ""), ("lib/x.rs", "")])), None);
}

#[test]
fn answers_change_the_file_and_wrong_ones_are_told() {
    let mut draft = drafted(&[("index.php", "")]);
    let asked = questions(&draft);
    let subjects: Vec<_> = asked.iter().map(|question| question.subject).collect();
    assert_eq!(subjects, [Subject::Server, Subject::Database, Subject::Port]);
    assert!(draft.answer(&asked[0], "lighttpd").is_err());
    assert!(draft.answer(&asked[1], "oracle").is_err());
    assert!(draft.answer(&asked[2], "70000").is_err());
    for (question, answer) in asked.iter().zip(["nginx\n", "postgresql", " 9999 "]) {
        draft.answer(question, answer).unwrap();
    }
    let text = text(&draft);
    for part in [
        "type: nginx",
        "type: postgresql",
        "9999:80",
        "postgresql://app:app@db:5432/app",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    assert!(questions(&drafted(&[("index.html", "")])).len() == 1);
}

#[test]
fn what_lies_in_a_folder_is_read_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("index.php", "<?php");
    write("a/b/deep.php", "x");
    write("a/b/c/deeper.php", "x");
    write("node_modules/x/package.json", "{}");
    write(".git/config", "x");
    write(".env", "A=b");
    let read = Folder::read(folder.path());
    let names: Vec<&str> = read.ending("").map(|(path, _)| path).collect();
    assert_eq!(names, [".env", "a/b/deep.php", "index.php"]);
    assert_eq!(read.text(".env"), "A=b");
}
