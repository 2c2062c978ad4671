//! Dockerfile instructions that recipes share. Each ends with a newline; nothing to do is an empty text.

/// Installs Debian packages on an image that may be anything with `apt-get`, and leaves no lists behind in the layer.
pub(crate) fn install_anywhere(packages: &[String]) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let words = packages.join(" ");
    format!(
        "RUN apt-get update \\\n && {} \\\n && rm -rf /var/lib/apt/lists/*\n",
        get(&words)
    )
}

/// Installs packages on `debian:bookworm`, then does `then` in the same layer. The lists of packages lie in a cache that all
/// builds share; they are fetched when they are older than an hour or of other sources, by one build at a time.
pub(crate) fn install(packages: &[String], then: Option<&str>) -> String {
    if packages.is_empty() {
        return String::new();
    }
    let then = then.map(|then| format!(" \\\n && {then}")).unwrap_or_default();
    format!(
        "RUN {LISTS} \\\n {FRESH} \\\n && {}{then}\n",
        get(&packages.join(" "))
    )
}

const LISTS: &str = "--mount=type=cache,id=apt-lists,target=/var/lib/apt/lists";

/// The stamp is called by the sources that the lists are of: a new source means new lists.
const FRESH: &str = "flock /var/lib/apt/lists sh -ec 'cd /var/lib/apt/lists; mkdir -p auxfiles; \
                     stamp=auxfiles/$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | cksum | tr -d \" \"); \
                     [ -n \"$(find $stamp -mmin -60 2>/dev/null)\" ] || { rm -f auxfiles/*; apt-get update; touch $stamp; }'";

fn get(packages: &str) -> String {
    format!("DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {packages}")
}

/// Writes a file; `mode` is octal.
pub(crate) fn copy(content: &str, path: &str, mode: Option<&str>) -> String {
    // The first delimiter that is no line of the text.
    let delimiter = (0..).map(|n| {
        if n == 0 {
            "END".to_owned()
        } else {
            format!("END{n}")
        }
    });
    let free = |word: &String| content.lines().all(|line| line != word);
    let delimiter = delimiter.take(1000).find(free).unwrap_or_default();
    let mode = mode.map(|mode| format!("--chmod={mode} ")).unwrap_or_default();
    let end = if content.ends_with('\n') { "" } else { "\n" };
    format!("COPY {mode}<<\"{delimiter}\" {path}\n{content}{end}{delimiter}\n")
}

/// `add`: files of the context, or of the one called `context`.
pub(crate) fn add(files: &[(String, String)], context: Option<&str>) -> String {
    let context = context
        .map(|context| format!("--from={context} "))
        .unwrap_or_default();
    let line = |(from, to): &(String, String)| {
        let words = [from, to].map(|word| serde_json::Value::from(word.as_str()).to_string());
        format!("COPY {context}[{}, {}]\n", words[0], words[1])
    };
    files.iter().map(line).collect()
}

/// Installs Python modules in the virtual environment `/opt/venv`. Most come ready; the compiler is installed only for those
/// that do not.
pub(crate) fn pip(modules: &[String]) -> String {
    if modules.is_empty() {
        return String::new();
    }
    let words: Vec<String> = modules.iter().map(|module| shell(module)).collect();
    let pip = format!(
        "/opt/venv/bin/pip install --no-cache-dir --disable-pip-version-check {}",
        words.join(" ")
    );
    or_compiled(&pip, "build-essential python3-dev")
}

/// Installs Ruby gems, `name` or `name:version`; the compiler is installed only for those that need it.
pub(crate) fn gems(gems: &[String]) -> String {
    if gems.is_empty() {
        return String::new();
    }
    let words: Vec<String> = gems.iter().map(|gem| shell(gem)).collect();
    let gem = format!("gem install --no-document {}", words.join(" "));
    or_compiled(&gem, "build-essential ruby-dev")
}

/// A command that fetches from elsewhere than Debian's mirror, and the same again with these packages when it fails.
fn or_compiled(command: &str, packages: &str) -> String {
    fetch(&format!(
        "{command} \\\n || {{ {FRESH} \\\n && {} \\\n && {command}; }}",
        get(packages)
    ))
}

/// Runs a command that fetches over TLS. Where this machine trusts authorities of its own (a proxy of a company), the build
/// trusts them too while it fetches: they come as the secret `authorities`, and are in no layer.
pub(crate) fn fetch(command: &str) -> String {
    let variables = [
        "SSL_CERT_FILE",
        "PIP_CERT",
        "NODE_EXTRA_CA_CERTS",
        "GIT_SSL_CAINFO",
    ];
    let variables: Vec<String> = variables.iter().map(|name| format!("{name}=$ca")).collect();
    format!(
        "RUN --mount=type=secret,id=authorities {LISTS} \\\n ca=/run/secrets/authorities; [ ! -s $ca ] || export {}; \\\n {command}\n",
        variables.join(" ")
    )
}

/// A text as one word for the shell.
pub(crate) fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/=@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
