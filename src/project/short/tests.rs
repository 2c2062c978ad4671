use super::*;

/// `ip|published|target/protocol` for each port.
fn read(text: &str) -> Result<Vec<String>, String> {
    let line = |p: Port| format!("{}|{}|{}/{}", p.host_ip, p.published, p.target, p.protocol);
    ports(text)
        .map(|list| list.into_iter().map(line).collect())
        .map_err(|wrong| wrong.message)
}

#[test]
fn ports_in_every_form() {
    for (text, expected) in [
        ("80", &["||80/tcp"][..]),
        ("8080:80", &["|8080|80/tcp"]),
        ("8080:80/udp", &["|8080|80/udp"]),
        ("8080:80/TCP", &["|8080|80/tcp"]),
        (":80", &["||80/tcp"]),
        ("127.0.0.1:8080:80", &["127.0.0.1|8080|80/tcp"]),
        ("127.0.0.1::80", &["127.0.0.1||80/tcp"]),
        ("0.0.0.0:80:80", &["0.0.0.0|80|80/tcp"]),
        ("[::1]:8080:80", &["::1|8080|80/tcp"]),
        ("::1:8080:80", &["::1|8080|80/tcp"]),
        ("[::]:53:53/udp", &["::|53|53/udp"]),
        ("80-82", &["||80/tcp", "||81/tcp", "||82/tcp"]),
        ("9-11", &["||10/tcp", "||11/tcp", "||9/tcp"]),
        ("8000-8001:80-81", &["|8000|80/tcp", "|8001|81/tcp"]),
        ("8000-8005:80", &["|8000-8005|80/tcp"]),
        (
            "127.0.0.1:5000-5001:5000-5001/udp",
            &["127.0.0.1|5000|5000/udp", "127.0.0.1|5001|5001/udp"],
        ),
        ("0:80", &["|0|80/tcp"]),
    ] {
        let expected: Vec<String> = expected.iter().map(|s| (*s).to_owned()).collect();
        assert_eq!(read(text), Ok(expected), "{text}");
    }
}

#[test]
fn ports_that_are_none() {
    for (text, message) in [
        ("", "`` names no container port"),
        ("80:", "`80:` names no container port"),
        ("a:80", "`a` in `a:80` is not a port"),
        ("80:b", "`b` in `80:b` is not a port"),
        ("70000", "`70000` in `70000` is above 65535"),
        ("80/tpc", "`tpc` is not a protocol"),
        ("1.2.3:80:80", "`1.2.3` in `1.2.3:80:80` is not an IP address"),
        (
            "localhost:80:80",
            "`localhost` in `localhost:80:80` is not an IP address",
        ),
        ("90-80:90-80", "the range `90-80` in `90-80:90-80` runs backwards"),
        (
            "8000-8002:80-81",
            "`8000-8002:80-81` maps 3 host ports to 2 container ports",
        ),
        ("80:80-81", "`80:80-81` maps 1 host ports to 2 container ports"),
        ("-80", "`` in `-80` is not a port"),
        ("8 0", "`8 0` in `8 0` is not a port"),
        ("+80", "`+80` in `+80` is not a port"),
    ] {
        assert_eq!(read(text), Err(message.to_owned()), "{text}");
    }
}

fn flags(text: &str) -> Result<String, String> {
    mount(text).map_err(|wrong| wrong.message).map(|m| {
        let kind = if m.bind { "bind" } else { "volume" };
        let extra: Vec<String> = [m.propagation, m.selinux, m.consistency]
            .into_iter()
            .flatten()
            .chain(m.unknown)
            .collect();
        format!(
            "{kind} {}>{} ro={} nocopy={} {}",
            m.source,
            m.target,
            m.read_only,
            m.nocopy,
            extra.join(",")
        )
    })
}

#[test]
fn mounts_in_every_form() {
    for (text, expected) in [
        ("/data", "volume >/data ro=false nocopy=false "),
        ("data:/d", "volume data>/d ro=false nocopy=false "),
        ("d:/d", "volume d>/d ro=false nocopy=false "),
        ("data:/d:ro", "volume data>/d ro=true nocopy=false "),
        ("data:/d:nocopy,ro", "volume data>/d ro=true nocopy=true "),
        ("./a:/b", "bind ./a>/b ro=false nocopy=false "),
        (".:/b:rw", "bind .>/b ro=false nocopy=false "),
        ("~/a:/b", "bind ~/a>/b ro=false nocopy=false "),
        ("/a:/b:ro,z", "bind /a>/b ro=true nocopy=false z"),
        ("/a:/b:rshared", "bind /a>/b ro=false nocopy=false rshared"),
        ("/a:/b:cached", "bind /a>/b ro=false nocopy=false cached"),
        (
            "/a:/b:Z,delegated,huh",
            "bind /a>/b ro=false nocopy=false Z,delegated,huh",
        ),
    ] {
        assert_eq!(flags(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, message) in [
        ("", "a mount is empty"),
        (":/b", "`:/b` has an empty part between colons"),
        ("a:", "`a:` has an empty part between colons"),
        ("a::ro", "`a::ro` has an empty part between colons"),
        ("a:/b:ro:x", "`a:/b:ro:x` has too many colons"),
    ] {
        assert_eq!(flags(text), Err(message.to_owned()), "{text}");
    }
}

#[test]
fn container_paths_are_cleaned() {
    for (path, result) in [
        ("/a/", "/a"),
        ("/a//b/./c", "/a/b/c"),
        ("/a/../b", "/b"),
        ("/..", "/"),
        ("a/..", "."),
        ("../a", "../a"),
        ("", ""),
    ] {
        assert_eq!(clean(path), result, "{path}");
    }
}

#[test]
fn the_longest_range_is_read() {
    assert_eq!(read("0-65535").map(|list| list.len()), Ok(65_536));
}

#[test]
fn the_widest_ranges_are_quick_however_they_are_written() {
    // The number of the host side was read again for each port, so that long numbers made this take minutes.
    let zeros = "0".repeat(100_000);
    let begun = std::time::Instant::now();
    let list = ports(&format!("{zeros}0-65535:0-65535")).expect("all ports");
    assert_eq!(list.len(), 65_536);
    assert!(list.iter().all(|port| port.published == port.target.to_string()));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}
