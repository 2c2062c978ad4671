use super::*;
use std::net::IpAddr;

fn network(name: &str, subnet: Option<&str>) -> Network {
    let pool = |subnet: &str| crate::model::IpamPool {
        subnet: Some(subnet.into()),
        ip_range: None,
        gateway: None,
        aux_addresses: BTreeMap::new(),
    };
    Network {
        name: name.into(),
        external: false,
        driver: "bridge".into(),
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        ipam: subnet.map(pool).into_iter().collect(),
        labels: BTreeMap::new(),
    }
}

fn networks() -> (tempfile::TempDir, SharedNetworks) {
    let dir = tempfile::tempdir().unwrap();
    let roots = Roots {
        state: dir.path().to_owned(),
        run: dir.path().join("run"),
    };
    for project in ["shop", "blog"] {
        let folder = roots.projects().join(project);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("project.json"), "{}").unwrap();
    }
    (dir, SharedNetworks::new(&roots))
}

fn make(networks: &SharedNetworks, name: &str, subnet: Option<&str>) -> Result<String, String> {
    let made = networks.create(network(name, subnet), &[], "0".repeat(64), 0);
    let shown = made.map(|d| d.network.ipam[0].subnet.clone().unwrap_or_default());
    shown.map_err(|error| error.to_string())
}

#[test]
fn definitions_choose_addresses_that_nobody_else_has() {
    let (_dir, networks) = networks();
    assert_eq!(make(&networks, "edge", None).unwrap(), "10.64.0.0/16");
    assert_eq!(make(&networks, "data", None).unwrap(), "10.65.0.0/16");
    assert_eq!(
        make(&networks, "own", Some("10.9.8.7/24")).unwrap(),
        "10.9.8.0/24"
    );
    for (name, subnet, expected) in [
        ("edge", None, "there is a network `edge` already"),
        ("host", None, "`host` is the name of a kind of network"),
        (
            "more",
            Some("10.9.0.0/16"),
            "network `more` overlaps network `own`, which has `10.9.8.0/24`",
        ),
    ] {
        assert_eq!(make(&networks, name, subnet).unwrap_err(), expected);
    }
    for bad in ["", "../x", ".x", "a/b", "a b"] {
        assert!(
            make(&networks, bad, None)
                .unwrap_err()
                .contains("is not a network name"),
            "{bad}"
        );
    }
    let names: Vec<_> = networks
        .list()
        .unwrap()
        .into_iter()
        .map(|d| d.network.name)
        .collect();
    assert_eq!(names, ["data", "edge", "own"]);
    networks.remove("edge").unwrap();
    assert_eq!(
        networks.remove("edge").unwrap_err().to_string(),
        "there is no network `edge`"
    );
}

fn lease(networks: &SharedNetworks, project: &str, place: &str, fixed: &[IpAddr]) -> String {
    let wanted = Lease {
        project,
        place,
        fixed,
        aside: &["10.64.0.3".parse().unwrap()],
    };
    match networks.lock("edge").unwrap().lease(&wanted) {
        Ok(given) => given
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn addresses_are_of_one_project_only_and_come_back() {
    let (_dir, networks) = networks();
    make(&networks, "edge", None).unwrap();
    assert_eq!(lease(&networks, "shop", "web-1", &[]), "10.64.0.2");
    assert_eq!(
        lease(&networks, "shop", "web-1", &[]),
        "10.64.0.2",
        "a place keeps it"
    );
    assert_eq!(
        lease(&networks, "blog", "web-1", &[]),
        "10.64.0.4",
        "what is set aside is free"
    );
    let fixed = ["10.64.0.4".parse().unwrap()];
    assert_eq!(
        lease(&networks, "shop", "db-1", &fixed),
        "network `edge`: the address `10.64.0.4` is taken by `web-1` of project `blog`"
    );
    assert_eq!(
        networks.remove("edge").unwrap_err().to_string(),
        "network `edge` is in use by project `blog` (web-1), project `shop` (web-1)"
    );
    networks
        .lock("edge")
        .unwrap()
        .release("blog", Some("web-1"))
        .unwrap();
    assert_eq!(lease(&networks, "shop", "db-1", &fixed), "10.64.0.4");
    networks.lock("edge").unwrap().release("shop", None).unwrap();
    networks.remove("edge").unwrap();
}

#[test]
fn what_a_project_that_is_gone_had_is_free() {
    let (dir, networks) = networks();
    make(&networks, "edge", None).unwrap();
    assert_eq!(lease(&networks, "blog", "web-1", &[]), "10.64.0.2");
    assert_eq!(networks.joined_by("blog"), ["edge"]);
    std::fs::remove_dir_all(dir.path().join("projects/blog")).unwrap();
    assert_eq!(lease(&networks, "shop", "web-1", &[]), "10.64.0.2");
}

#[test]
fn members_count_while_something_of_them_lives_and_every_change_has_a_new_version() {
    let (_dir, networks) = networks();
    make(&networks, "edge", None).unwrap();
    let own = i32::try_from(std::process::id()).unwrap();
    let engine = banyan_runtime::container::Identified::of(own).unwrap();
    let member = |project: &str, start| Member {
        project: project.into(),
        engine: banyan_runtime::container::Identified { start, ..engine },
        hall: 3,
        port: 0,
        containers: BTreeMap::new(),
    };
    let locked = networks.lock("edge").unwrap();
    assert_eq!(networks.version("edge"), None);
    // A number that was reused is not the process.
    let gone = member("blog", engine.start + 1);
    locked.write_member(&Member { port: 5311, ..gone }).unwrap();
    let port = locked.name_port("shop").unwrap();
    assert_eq!(port, 5311, "the dead have no port");
    locked
        .write_member(&Member {
            port,
            ..member("shop", engine.start)
        })
        .unwrap();
    assert_eq!(locked.name_port("shop").unwrap(), 5311);
    assert_eq!(locked.name_port("blog").unwrap(), 5312);
    assert_eq!(networks.version("edge"), Some(2));
    assert!(locked.hall().unwrap().is_none());
    assert_eq!(locked.users().unwrap(), ["project `shop`"]);
    assert!(locked.remove_member("shop").unwrap(), "only the dead are left");
    assert_eq!(networks.version("edge"), None);
    assert!(networks.members("edge").is_empty());
}
