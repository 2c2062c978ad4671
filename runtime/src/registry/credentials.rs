//! `~/.docker/config.json`: who we are at which registry (docker/cli, `config/configfile`).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Docker Hub's name in that file.
const HUB: &str = "https://index.docker.io/v1/";

/// A user at a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name; `<token>` with an identity token as password.
    pub user: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The file and what it says; a missing file says nothing.
#[derive(Debug, Clone)]
pub struct Credentials {
    path: PathBuf,
    document: Map<String, Value>,
}

impl Credentials {
    /// Reads a configuration file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let document = match fs_err::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::other)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            path: path.to_path_buf(),
            document,
        })
    }

    /// Nobody, anywhere.
    pub fn none() -> Self {
        Self {
            path: PathBuf::new(),
            document: Map::new(),
        }
    }

    /// The folder of the file; `None` for nobody's.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty())
    }

    /// Who we are at `host`: from its credential helper, the general one, or the file itself.
    pub fn find(&self, host: &str) -> Option<Login> {
        let key = key(host);
        let helper = self
            .document
            .get("credHelpers")
            .and_then(|helpers| helpers.get(host).or(helpers.get(&key)));
        let helper = helper.or(self.document.get("credsStore")).and_then(Value::as_str);
        if let Some(login) = helper.and_then(|helper| ask(helper, &key)) {
            return Some(login);
        }
        let auths = self.document.get("auths")?.as_object()?;
        let same = |name: &str| {
            let bare = name.trim_start_matches("https://").trim_start_matches("http://");
            name == key || bare.split('/').next() == Some(host)
        };
        let entry = auths
            .iter()
            .find(|(name, _)| same(name))
            .map(|(_, entry)| entry)?;
        let text = |name: &str| {
            entry
                .get(name)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        if let Some(token) = text("identitytoken") {
            return Some(Login {
                user: "<token>".into(),
                password: token.to_owned(),
            });
        }
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Some(Login {
                user: user.to_owned(),
                password: password.to_owned(),
            });
        }
        let decoded = STANDARD.decode(text("auth")?).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        let (user, password) = decoded.split_once(':')?;
        Some(Login {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }

    /// Remembers a login in the file, readable by its owner only.
    pub fn store(&mut self, host: &str, login: &Login) -> io::Result<()> {
        let auth = STANDARD.encode(format!("{}:{}", login.user, login.password));
        let auths = self.document.entry("auths").or_insert_with(|| json!({}));
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(key(host), json!({ "auth": auth }));
        }
        self.write()
    }

    /// Forgets a login. `false`: there was none.
    pub fn remove(&mut self, host: &str) -> io::Result<bool> {
        let auths = self.document.get_mut("auths").and_then(Value::as_object_mut);
        let was_there = auths.is_some_and(|auths| auths.remove(&key(host)).or(auths.remove(host)).is_some());
        if was_there {
            self.write()?;
        }
        Ok(was_there)
    }

    fn write(&self) -> io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        fs_err::create_dir_all(dir)?;
        let temporary = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(&self.document).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs_err::rename(&temporary, &self.path)
    }
}

fn key(host: &str) -> String {
    if host == "docker.io" {
        HUB.into()
    } else {
        host.to_owned()
    }
}

/// Asks `docker-credential-<helper> get` (docker/docker-credential-helpers, "Development").
fn ask(helper: &str, key: &str) -> Option<Login> {
    if !helper
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        return None;
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    child.stdin.take()?.write_all(key.as_bytes()).ok()?;
    let output = child.wait_with_output().ok()?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .ok()
        .filter(|_| output.status.success())?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(Login {
        user: text("Username")?,
        password: text("Secret")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_finds_and_forgets() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x/config.json");
        let mut credentials = Credentials::load(&path).unwrap();
        let login = Login {
            user: "me".into(),
            password: "a:b".into(),
        };
        for host in ["docker.io", "localhost:5000"] {
            assert_eq!(credentials.find(host), None);
            credentials.store(host, &login).unwrap();
        }
        let mut again = Credentials::load(&path).unwrap();
        assert_eq!(again.find("docker.io"), Some(login.clone()));
        assert_eq!(again.find("localhost:5000"), Some(login));
        assert_eq!(again.find("localhost"), None);
        assert!(again.remove("docker.io").unwrap() && !again.remove("docker.io").unwrap());
        use std::os::unix::fs::MetadataExt;
        assert_eq!(fs_err::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
