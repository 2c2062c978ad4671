//! What an application keeps its data in: told by its modules, its `.env` and its sources.

use super::{Base, Draft, Folder, Store};

/// A kind of store and what gives it away.
struct Signs {
    kind: &'static str,
    name: &'static str,
    /// Modules of any language, by their names there.
    modules: &'static [&'static str],
    /// In the value of a variable of `.env`.
    values: &'static [&'static str],
    /// In sources of programs without a list of modules.
    sources: &'static [&'static str],
}

const ALL: &[Signs] = &[
    Signs {
        kind: "mysql",
        name: "db",
        modules: &[
            "ext-pdo_mysql",
            "ext-mysqli",
            "ext-mysql",
            "mysql",
            "mysql2",
            "mariadb",
            "mysqlclient",
            "pymysql",
            "aiomysql",
            "mysql-connector-python",
            "github.com/go-sql-driver/mysql",
        ],
        values: &["mysql://", "mysql2://", "mariadb://", "mysql+", "mysql:", "mysql"],
        sources: &["new mysqli(", "mysqli_connect(", "mysql:host=", "mysql:dbname="],
    },
    Signs {
        kind: "postgresql",
        name: "db",
        modules: &[
            "ext-pdo_pgsql",
            "ext-pgsql",
            "pg",
            "postgres",
            "psycopg2",
            "psycopg2-binary",
            "psycopg",
            "asyncpg",
            "github.com/lib/pq",
            "github.com/jackc/pgx",
        ],
        values: &[
            "postgres://",
            "postgresql://",
            "postgresql+",
            "pgsql:",
            "pgsql",
            "postgres",
            "postgresql",
        ],
        sources: &["pg_connect(", "pgsql:host=", "pgsql:dbname="],
    },
    Signs {
        kind: "redis",
        name: "redis",
        modules: &[
            "ext-redis",
            "predis/predis",
            "redis",
            "ioredis",
            "github.com/redis/go-redis",
            "github.com/go-redis/redis",
            "github.com/gomodule/redigo",
        ],
        values: &["redis://", "redis"],
        sources: &["new Redis(", "new \\Redis("],
    },
    Signs {
        kind: "memcached",
        name: "memcached",
        modules: &[
            "ext-memcached",
            "memcached",
            "memjs",
            "pymemcache",
            "python-memcached",
            "dalli",
            "github.com/bradfitz/gomemcache",
        ],
        values: &["memcached://", "memcached"],
        sources: &["new Memcached(", "new \\Memcached("],
    },
    Signs {
        kind: "rabbitmq",
        name: "rabbitmq",
        modules: &[
            "ext-amqp",
            "php-amqplib/php-amqplib",
            "amqplib",
            "pika",
            "aio-pika",
            "bunny",
            "github.com/rabbitmq/amqp091-go",
            "github.com/streadway/amqp",
        ],
        values: &["amqp://"],
        sources: &[],
    },
];

/// Files with variables, the most telling first.
const ENV_FILES: &[&str] = &[
    ".env",
    ".env.local",
    ".env.dist",
    ".env.example",
    ".env.sample",
    ".env.dev",
];

pub(super) fn find(folder: &Folder, draft: &mut Draft) {
    let pages = matches!(draft.app.base, Base::Files { .. });
    if pages {
        return;
    }
    let variables = variables(folder);
    let modules = modules(folder);
    for signs in ALL {
        let Some(because) = told(signs, folder, &variables, &modules) else {
            continue;
        };
        // One database is what one program has; the first sign counts.
        if draft.stores.iter().any(|store| store.name == signs.name) {
            continue;
        }
        draft.why.push(format!("{because}: {}", signs.kind));
        draft.stores.push(store(signs.kind, &variables));
    }
    let asked = variables
        .iter()
        .find(|(_, _, value)| value.starts_with("mongodb"));
    if let Some((file, ..)) = asked {
        draft.notes.push(format!(
            "{file} asks for MongoDB, which Debian does not carry: add a service with an image"
        ));
    }
}

/// A store of this kind, and the variables that lead to it.
pub(super) fn of_kind(kind: &'static str) -> Store {
    store(kind, &[])
}

fn told(
    signs: &Signs,
    folder: &Folder,
    variables: &[(&'static str, String, String)],
    modules: &[(String, String)],
) -> Option<String> {
    if let Some((file, module)) = modules
        .iter()
        .find(|(_, module)| signs.modules.contains(&module.as_str()))
    {
        return Some(format!("{module} in {file}"));
    }
    let says = |(_, key, value): &&(&str, String, String)| {
        let value = value.to_lowercase();
        signs.values.iter().any(|sign| {
            // A word alone is a kind (`DB_CONNECTION=mysql`), not part of a text.
            if sign.ends_with(|c: char| c.is_ascii_alphanumeric()) {
                value == *sign
            } else {
                value.starts_with(sign)
            }
        }) || key.starts_with(&format!("{}_HOST", signs.kind.to_uppercase()))
    };
    if let Some((file, key, _)) = variables.iter().find(says) {
        return Some(format!("{key} in {file}"));
    }
    if signs.kind == "mysql" && (folder.has("wp-config-sample.php") || folder.has("wp-config.php")) {
        return Some("WordPress".into());
    }
    let mut sources = folder.ending(".php");
    let (path, _) = sources.find(|(_, text)| signs.sources.iter().any(|sign| text.contains(sign)))?;
    Some(path.to_owned())
}

/// File, key and value of what `.env` and its like say.
fn variables(folder: &Folder) -> Vec<(&'static str, String, String)> {
    let mut all = Vec::new();
    for file in ENV_FILES {
        for line in folder
            .text(file)
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
        {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let value = value.trim().trim_matches(['"', '\'']);
            all.push((*file, key.trim().to_owned(), value.to_owned()));
        }
    }
    all
}

/// File and name of what the lists of modules ask for.
fn modules(folder: &Folder) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (file, lists) in [
        ("composer.json", ["require", "require-dev"]),
        ("package.json", ["dependencies", "devDependencies"]),
    ] {
        let json: serde_json::Value = serde_json::from_str(folder.text(file)).unwrap_or_default();
        let names = lists
            .iter()
            .filter_map(|list| json[*list].as_object())
            .flat_map(serde_json::Map::keys);
        all.extend(names.map(|name| (file.to_owned(), name.clone())));
    }
    let python = folder
        .first(&["requirements.txt", "pyproject.toml", "Pipfile"])
        .unwrap_or("requirements.txt");
    all.extend(
        super::python::modules(folder)
            .into_iter()
            .map(|name| (python.to_owned(), name)),
    );
    let gems = ["pg", "mysql2", "redis", "dalli", "bunny"];
    let gems = gems.into_iter().filter(|gem| super::ruby::needs(folder, gem));
    all.extend(gems.map(|gem| ("Gemfile".to_owned(), gem.to_owned())));
    for line in folder.text("go.mod").lines() {
        let line = line.trim().trim_start_matches("require ").trim();
        let path = line.split_whitespace().next().unwrap_or_default();
        // `github.com/jackc/pgx/v5` is a version of `github.com/jackc/pgx`.
        let path = match path.rsplit_once("/v") {
            Some((path, version)) if version.chars().all(|c| c.is_ascii_digit()) => path,
            _ => path,
        };
        all.push(("go.mod".to_owned(), path.to_owned()));
    }
    all
}

/// User, password and name of a database that is made here.
const OURS: &str = "app";

fn store(kind: &'static str, variables: &[(&'static str, String, String)]) -> Store {
    let name = ALL
        .iter()
        .find(|signs| signs.kind == kind)
        .map_or(kind, |signs| signs.name);
    let mut ours: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| {
        if !ours.iter().any(|(own, _)| own == key) {
            ours.push((key.to_owned(), value.to_owned()));
        }
    };
    let (prefixes, port): (&[&str], &str) = match kind {
        "mysql" => {
            set("DATABASE_URL", "mysql://app:app@db:3306/app");
            (&["DB_", "DATABASE_", "MYSQL_"], "3306")
        }
        "postgresql" => {
            set("DATABASE_URL", "postgresql://app:app@db:5432/app");
            (&["DB_", "DATABASE_", "POSTGRES_", "PG"], "5432")
        }
        "redis" => {
            set("REDIS_URL", "redis://redis:6379");
            (&["REDIS_"], "6379")
        }
        "memcached" => {
            set("MEMCACHED_HOST", name);
            (&["MEMCACHED_"], "11211")
        }
        _ => {
            set("AMQP_URL", "amqp://guest:guest@rabbitmq:5672");
            (&["RABBITMQ_", "AMQP_"], "5672")
        }
    };
    let database = matches!(kind, "mysql" | "postgresql");
    // The names that the application reads, with our values: they win over those of `.env`.
    for (_, key, value) in variables {
        let Some(part) = prefixes.iter().find_map(|prefix| key.strip_prefix(prefix)) else {
            continue;
        };
        match part {
            "HOST" | "HOSTNAME" => set(key, name),
            "PORT" => set(key, port),
            "DATABASE" | "NAME" | "DB" | "USER" | "USERNAME" | "PASSWORD" | "PASS" if database => {
                set(key, OURS)
            }
            "PASSWORD" if kind == "redis" && !value.is_empty() => set(key, ""),
            _ => {}
        }
    }
    if kind == "rabbitmq" {
        let url = |(_, _, value): &&(&str, String, String)| value.starts_with("amqp://");
        for (_, key, _) in variables.iter().filter(url) {
            set(key, "amqp://guest:guest@rabbitmq:5672/%2f/messages");
        }
    }
    Store {
        kind,
        name,
        variables: ours,
    }
}
