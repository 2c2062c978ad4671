//! A token service (distribution, "Token Authentication Specification"): whoever asks may read public repositories, one
//! user may do everything.

use super::server::{Server, free_port, skip, start};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{SystemTime, UNIX_EPOCH},
};

/// Runs openssl in a folder; `false` where it is not installed or refuses.
pub(crate) fn openssl(folder: &Path, words: &str) -> bool {
    let words = words.split(' ').filter(|word| !word.is_empty());
    let output = Command::new("openssl").args(words).current_dir(folder).output();
    output.is_ok_and(|output| output.status.success())
}

/// A registry that wants tokens, and the service that gives them.
pub(crate) struct Guarded {
    pub(crate) server: Server,
    /// Scopes asked for, one entry a request.
    pub(crate) scopes: Arc<Mutex<Vec<Vec<String>>>>,
}

/// Starts both. `None` with the reason printed where something is missing.
pub(crate) fn guarded(folder: &Path) -> Option<Guarded> {
    let made = openssl(
        folder,
        "req -x509 -newkey rsa:2048 -nodes -keyout token.key -out token.crt -subj /CN=tokens -days 2",
    );
    if !made {
        skip("openssl is not installed");
        return None;
    }
    let port = free_port();
    let section = format!(
        "auth: {{token: {{realm: 'http://127.0.0.1:{port}/token', service: registry, issuer: tokens, rootcertbundle: {}}}}}\n",
        folder.join("token.crt").display()
    );
    let server = start(folder, &section, "")?;
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let scopes = Arc::new(Mutex::new(Vec::new()));
    let (noted, folder) = (Arc::clone(&scopes), folder.to_path_buf());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(&stream, &folder, &noted);
        }
    });
    Some(Guarded { server, scopes })
}

fn answer(mut stream: &TcpStream, folder: &Path, noted: &Mutex<Vec<Vec<String>>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    let mut user = None;
    for line in lines {
        let line = line?;
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            user = Some(value == format!("Basic {}", STANDARD.encode("me:secret")));
        }
        if line.is_empty() {
            break;
        }
    }
    if user == Some(false) {
        return stream.write_all(b"HTTP/1.1 401 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    }
    let query = request
        .split(' ')
        .nth(1)
        .and_then(|path| path.split_once('?'))
        .map_or("", |(_, query)| query);
    let scopes: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("scope="))
        .map(decoded)
        .collect();
    let access: Vec<Value> = scopes
        .iter()
        .filter_map(|scope| granted(scope, user.is_some()))
        .collect();
    noted.lock().unwrap().push(scopes);
    let body = json!({"token": token(folder, &access)}).to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// `repository:NAME:ACTIONS` as an access entry; strangers may pull what is public.
fn granted(scope: &str, known: bool) -> Option<Value> {
    let mut parts = scope.split(':');
    let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
    let may = |action: &&str| known || *action == "pull" && name.starts_with("public/");
    let actions: Vec<&str> = actions.split(',').filter(may).collect();
    Some(json!({"type": kind, "name": name, "actions": actions}))
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(if *first == b'+' { b' ' } else { *first });
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// A signed JSON web token with the certificate in it.
fn token(folder: &Path, access: &[Value]) -> String {
    let pem = fs::read_to_string(folder.join("token.crt")).unwrap();
    let certificate: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = encode(json!({"typ": "JWT", "alg": "RS256", "x5c": [certificate]}));
    let claims = encode(json!({
        "iss": "tokens", "sub": "me", "aud": "registry", "exp": now + 300, "nbf": now - 5, "iat": now, "jti": "1",
        "access": access,
    }));
    let text = format!("{head}.{claims}");
    let mut signing = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", "token.key"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    signing.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let signature = signing.wait_with_output().unwrap().stdout;
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
