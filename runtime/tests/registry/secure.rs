//! TLS with an authority of one's own, and tokens.

use super::{
    server::{skip, start, store_with_image},
    tokens::{guarded, openssl},
};
use banyan_runtime::{
    image::{Platform, Reference, Silent, Store},
    registry::{Credentials, RegistryError, credentials::Login, pull::pull, push::push},
};
use std::{fs, path::Path};

/// Makes `ca.crt`, and `server.crt` with `server.key` that it signed for `localhost`.
fn certificates(folder: &Path) -> bool {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    fs::write(
        folder.join("names"),
        "subjectAltName=DNS:localhost,IP:127.0.0.1\n",
    )
    .unwrap();
    [
        format!("req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=test-authority -days 2 -addext basicConstraints=critical,CA:TRUE"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names".to_owned(),
    ]
    .iter()
    .all(|words| openssl(folder, words))
}

#[test]
fn tls_is_spoken_with_an_authority_of_ones_own_and_refused_without() {
    let temp = tempfile::tempdir().unwrap();
    if !certificates(temp.path()) {
        return skip("openssl is not installed");
    }
    let tls = format!(
        ", tls: {{certificate: {0}/server.crt, key: {0}/server.key}}",
        temp.path().display()
    );
    let Some(server) = start(temp.path(), "", &tls) else {
        return;
    };
    let host = format!("localhost:{}", server.port);
    let name: Reference = format!("{host}/app:1").parse().unwrap();
    let (store, id) = store_with_image(&temp.path().join("one"), &name);
    let logins = temp.path().join("docker/config.json");
    let trusted = logins.with_file_name("certs.d").join(&host);
    let credentials = Credentials::load(&logins).unwrap();
    // Without an authority we speak plain HTTP on loopback, which such a server refuses.
    assert!(push(&store, &name, &credentials, &Silent).is_err());
    // With another authority its certificate is refused, and nothing is sent.
    fs::create_dir_all(&trusted).unwrap();
    assert!(openssl(
        temp.path(),
        "req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -subj /CN=other -days 2"
    ));
    fs::copy(temp.path().join("other.crt"), trusted.join("ca.crt")).unwrap();
    let error = push(&store, &name, &credentials, &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Unreachable { .. }), "{error:?}");
    assert!(format!("{error:?}").contains("UnknownIssuer"), "{error:?}");
    fs::copy(temp.path().join("ca.crt"), trusted.join("ca.crt")).unwrap();
    let digest = push(&store, &name, &credentials, &Silent).unwrap();
    let other = Store::open(&temp.path().join("two")).unwrap();
    let pulled = pull(
        &other,
        &name.with_digest(digest),
        &Platform::host(),
        &credentials,
        &Silent,
    );
    assert_eq!(pulled.unwrap().id, id);
}

#[test]
fn tokens_are_fetched_as_the_registry_asks() {
    let temp = tempfile::tempdir().unwrap();
    let Some(guarded) = guarded(temp.path()) else {
        return;
    };
    let host = format!("localhost:{}", guarded.server.port);
    let name = |path: &str| format!("{host}/{path}").parse::<Reference>().unwrap();
    let (store, id) = store_with_image(&temp.path().join("one"), &name("public/app:1"));
    let nobody = Credentials::none();
    let mut me = Credentials::load(&temp.path().join("docker/config.json")).unwrap();
    let login = |password: &str| Login {
        user: "me".into(),
        password: password.into(),
    };
    // A stranger's token does not open it for writing; a wrong password gets none at all.
    let error = push(&store, &name("public/app:1"), &nobody, &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    me.store(&host, &login("wrong")).unwrap();
    let error = push(&store, &name("public/app:1"), &me, &Silent).unwrap_err();
    assert!(
        matches!(error, RegistryError::Denied { status: 401, .. }),
        "{error:?}"
    );
    me.store(&host, &login("secret")).unwrap();
    push(&store, &name("public/app:1"), &me, &Silent).unwrap();

    let other = Store::open(&temp.path().join("two")).unwrap();
    let pulled = pull(&other, &name("public/app:1"), &Platform::host(), &nobody, &Silent);
    assert_eq!(pulled.unwrap().id, id);
    // Mounting from another repository asks for both in one token.
    store.tag(id, &name("private/app:1")).unwrap();
    guarded.scopes.lock().unwrap().clear();
    push(&store, &name("private/app:1"), &me, &Silent).unwrap();
    let scopes = guarded.scopes.lock().unwrap().clone();
    let both = ["repository:private/app:pull,push", "repository:public/app:pull"];
    assert!(scopes.iter().any(|asked| *asked == both), "{scopes:?}");
    assert!(
        scopes.len() <= 3,
        "a token is used for everything it covers: {scopes:?}"
    );
    let error = pull(
        &other,
        &name("private/app:1"),
        &Platform::host(),
        &nobody,
        &Silent,
    )
    .unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    pull(&other, &name("private/app:1"), &Platform::host(), &me, &Silent).unwrap();
}
