//! PHP: `composer.json`, or files that end in `.php`.

use super::{App, Base, Draft, Folder};

/// Extensions that the type does not bring, and their Debian packages.
const EXTENSIONS: &[(&str, &str)] = &[
    ("amqp", "php-amqp"),
    ("apcu", "php-apcu"),
    ("bcmath", "php-bcmath"),
    ("bz2", "php-bz2"),
    ("gmp", "php-gmp"),
    ("igbinary", "php-igbinary"),
    ("imagick", "php-imagick"),
    ("imap", "php-imap"),
    ("ldap", "php-ldap"),
    ("memcached", "php-memcached"),
    ("mongodb", "php-mongodb"),
    ("redis", "php-redis"),
    ("soap", "php-soap"),
    ("tidy", "php-tidy"),
    ("uuid", "php-uuid"),
    ("xdebug", "php-xdebug"),
    ("xsl", "php-xml"),
    ("yaml", "php-yaml"),
];

/// Where front controllers lie, the usual first.
const ROOTS: &[&str] = &["public", "web", "htdocs", "www", "public_html", "html"];

pub(super) fn find(folder: &Folder, draft: &mut Draft) -> bool {
    let composer = folder.has("composer.json");
    let mut roots = ROOTS
        .iter()
        .filter(|root| folder.has(&format!("{root}/index.php")));
    let root = if folder.has("index.php") {
        ""
    } else {
        roots.next().copied().unwrap_or_default()
    };
    let index = if root.is_empty() {
        "index.php".to_owned()
    } else {
        format!("{root}/index.php")
    };
    // Of a folder that is somebody else's (a theme with package.json), single scripts do not tell.
    let told = folder.has(&index) || composer;
    if !told {
        return false;
    }
    let from = if composer { "composer.json" } else { &index };
    // .htaccess is Apache's; without one, nginx hands every unknown path to index.php.
    let htaccess = if root.is_empty() {
        ".htaccess".to_owned()
    } else {
        format!("{root}/.htaccess")
    };
    let (server, because) = if folder.has(&htaccess) {
        ("apache", format!("because of {htaccess}"))
    } else if folder.has("wp-config-sample.php") || folder.has("wp-config.php") {
        ("apache", "as WordPress expects".to_owned())
    } else if composer && folder.has(&index) && !folder.text(&index).is_empty() && !root.is_empty() {
        ("nginx", format!("with {index} for every path"))
    } else {
        ("apache", "which also understands .htaccess".to_owned())
    };
    draft.why.push(format!("{from}: PHP, behind {server} {because}"));
    if !root.is_empty() {
        draft
            .why
            .push(format!("{index}: {root} is the folder that is served"));
    }
    draft.app = App {
        base: Base::Php {
            server,
            root: root.to_owned(),
        },
        port: Some(80),
        sure: true,
        ..App::default()
    };
    let json: serde_json::Value = serde_json::from_str(folder.text("composer.json")).unwrap_or_default();
    let required = |name: &str| json["require"][name].as_str();
    for (extension, package) in EXTENSIONS {
        let said = required(&format!("ext-{extension}")).is_some();
        if said || uses(folder, extension) {
            draft.app.packages.push(package);
        }
    }
    if required("php").is_some_and(|version| super::newer(version, (8, 2)).is_some()) {
        draft.notes.push(format!(
            "composer.json asks for PHP {}, Debian brings 8.2",
            required("php").unwrap_or_default()
        ));
    }
    if composer {
        draft
            .why
            .push("composer.json: `composer install` at the first start, `banyan run composer …`".into());
        let install = App::as_owner("composer install --no-interaction");
        draft
            .app
            .before
            .push(format!("[ -e vendor/autoload.php ] || {install}"));
        draft.tools.push("composer");
    }
    if folder.has("package.json") {
        draft.why.push("package.json: `banyan run npm …`".into());
        draft.tools.push("npm");
    }
    true
}

/// Classes of extensions, as their users write them.
fn uses(folder: &Folder, extension: &str) -> bool {
    let class = match extension {
        "redis" => "new Redis(",
        "memcached" => "new Memcached(",
        _ => return false,
    };
    folder
        .ending(".php")
        .any(|(_, text)| text.contains(class) || text.contains(&class.replace(' ', " \\")))
}
