use super::*;
use crate::model::{Dependency, Dialect, ImageSource, ProjectName};

/// Services `db`, `web` (depends on a healthy db), `job` (depends on web), each with one replica.
fn project() -> Project {
    let service = |name: &str| {
        let image = ImageSource {
            name: name.into(),
            named: true,
            build: None,
        };
        Service::new(ServiceName::new(name).unwrap(), image)
    };
    let (db, mut web, mut job) = (service("db"), service("web"), service("job"));
    let edge = |condition| Dependency {
        condition,
        restart: false,
        required: true,
    };
    web.depends_on
        .insert(db.name.clone(), edge(Condition::ServiceHealthy));
    job.depends_on
        .insert(web.name.clone(), edge(Condition::ServiceStarted));
    Project {
        name: ProjectName::new("p").unwrap(),
        dialect: Dialect::Compose,
        directory: "/p".into(),
        files: vec![],
        services: [db, web, job].into_iter().map(|s| (s.name.clone(), s)).collect(),
        disabled: BTreeMap::new(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        secrets: BTreeMap::new(),
        configs: BTreeMap::new(),
    }
}

fn running(service: &str, number: u32) -> ObservedContainer {
    ObservedContainer {
        id: format!("{service}{number}"),
        name: format!("p-{service}-{number}"),
        slot: Slot {
            service: ServiceName::new(service).unwrap(),
            number,
        },
        phase: Phase::Running,
        config_hash: "h".into(),
        image: "i".into(),
        networks: BTreeMap::new(),
    }
}

/// Plans with every hash `h` and image `i` after `change` had its way, and gives the plan's text.
fn check(change: impl FnOnce(&mut Project, &mut Observed, &mut Desired<'_>)) -> Vec<String> {
    let mut project = project();
    let order: Vec<_> = ["db", "web", "job"]
        .map(|name| ServiceName::new(name).unwrap())
        .into();
    let hashes = order.iter().map(|name| (name.clone(), "h".into())).collect();
    let mut observed = Observed {
        images: order
            .iter()
            .map(|name| (name.clone(), ImageState::Present("i".into())))
            .collect(),
        ..Observed::default()
    };
    let (networks, up) = (BTreeMap::new(), BTreeSet::new());
    let base = project.clone();
    let mut desired = Desired {
        project: &base,
        services: order.iter().cloned().collect(),
        named: BTreeSet::new(),
        recreate: Recreate::Diverged,
        recreate_dependencies: Recreate::Diverged,
        no_start: false,
        remove_orphans: false,
        hashes: &hashes,
        network_hashes: &networks,
        networks_up: &up,
    };
    change(&mut project, &mut observed, &mut desired);
    let desired = Desired {
        project: &project,
        ..desired
    };
    let plan = reconcile(&desired, &observed, &order);
    plan.describe()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn position(plan: &[String], start: &str) -> usize {
    plan.iter()
        .position(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no `{start}` in {plan:#?}"))
}

#[test]
fn a_fresh_project_is_created_and_started_in_order_of_dependency() {
    let plan = check(|_, _, _| {});
    let steps = [
        "create db-1",
        "start db-1",
        "await db healthy",
        "start web-1",
        "start job-1",
    ];
    let places: Vec<_> = steps.iter().map(|step| position(&plan, step)).collect();
    assert!(places.is_sorted(), "{plan:#?}");
    assert_eq!(plan.len(), 7);
}

#[test]
fn nothing_is_done_when_nothing_changed() {
    let plan = check(|_, observed, _| {
        observed.containers = ["db", "web", "job"].map(|name| running(name, 1)).into();
    });
    assert!(plan.iter().all(|line| line.starts_with("keep")), "{plan:#?}");
}

#[test]
fn a_changed_hash_recreates_only_its_service() {
    let plan = check(|_, observed, _| {
        observed.containers = ["db", "web", "job"].map(|name| running(name, 1)).into();
        observed.containers[1].config_hash = "old".into();
    });
    let steps = [
        "create web-1 its configuration changed",
        "stop web-1",
        "remove web-1",
        "start web-1",
    ];
    let places: Vec<_> = steps.iter().map(|step| position(&plan, step)).collect();
    assert!(places.is_sorted(), "{plan:#?}");
    assert!(
        !plan.iter().any(|line| line.starts_with("create db")),
        "{plan:#?}"
    );
}

#[test]
fn a_changed_image_recreates_and_an_unknown_one_keeps_if_it_turns_out_the_same() {
    let plan = check(|_, observed, _| {
        observed.containers = vec![running("db", 1)];
        observed
            .images
            .insert(ServiceName::new("db").unwrap(), ImageState::Present("new".into()));
    });
    position(&plan, "create db-1 image `db` changed");
    let plan = check(|_, observed, _| {
        observed.containers = vec![running("db", 1)];
        let state = ImageState::Obtain {
            today: Some("i".into()),
            why: "pull always".into(),
        };
        observed.images.insert(ServiceName::new("db").unwrap(), state);
    });
    assert!(position(&plan, "image db") < position(&plan, "create db-1 its image may change: pull always"));
}

#[test]
fn replicas_beyond_the_wanted_number_go() {
    let plan = check(|_, observed, _| observed.containers = vec![running("db", 1), running("db", 2)]);
    assert!(position(&plan, "stop db-2 only 1 wanted") < position(&plan, "remove db-2"));
}

#[test]
fn orphans_go_only_when_asked() {
    let seen = |_: &mut Project, observed: &mut Observed, _: &mut Desired<'_>| {
        observed.containers = vec![running("gone", 1)];
    };
    assert!(!check(seen).iter().any(|line| line.contains("gone")));
    let plan = check(|project, observed, desired| {
        seen(project, observed, desired);
        desired.remove_orphans = true;
    });
    position(&plan, "remove gone-1 its service is not in the project");
}

#[test]
fn sharing_a_namespace_recreates_with_the_parent() {
    let plan = check(|project, observed, _| {
        observed.containers = vec![running("db", 1), running("web", 1)];
        observed.containers[0].config_hash = "old".into();
        let web = project.services.get_mut("web").unwrap();
        web.network_mode = NetworkMode::Service(ServiceName::new("db").unwrap());
    });
    position(
        &plan,
        "create web-1 `db`, whose namespace it shares, is recreated",
    );
}

#[test]
fn a_finished_job_is_not_run_again() {
    let finished = |project: &mut Project, observed: &mut Observed, _: &mut Desired<'_>| {
        observed.containers = vec![ObservedContainer {
            phase: Phase::Exited(0),
            ..running("db", 1)
        }];
        let edge = Dependency {
            condition: Condition::ServiceCompletedSuccessfully,
            restart: false,
            required: true,
        };
        project
            .services
            .get_mut("web")
            .unwrap()
            .depends_on
            .insert(ServiceName::new("db").unwrap(), edge);
    };
    position(&check(finished), "keep db-1 done, and nothing changed");
}

#[test]
fn force_concerns_the_named_services() {
    let plan = check(|_, observed, desired| {
        observed.containers = vec![running("db", 1), running("web", 1)];
        desired.recreate = Recreate::Force;
        desired.named.insert(ServiceName::new("web").unwrap());
    });
    position(&plan, "create web-1 recreation is forced");
    position(&plan, "keep db-1");
}

#[test]
fn a_dependent_that_asks_for_it_is_restarted_around_the_recreation_of_its_dependency() {
    let restarts = |project: &mut Project, observed: &mut Observed, _: &mut Desired<'_>| {
        observed.containers = ["db", "web", "job"].map(|name| running(name, 1)).into();
        observed.containers[0].config_hash = "old".into();
        let web = project.services.get_mut("web").unwrap();
        web.depends_on.values_mut().for_each(|edge| edge.restart = true);
    };
    let plan = check(restarts);
    let steps = [
        "create db-1",
        "stop web-1 `db`, which it depends on, is recreated",
        "stop db-1",
        "start db-1",
        "await db healthy",
        "start web-1",
    ];
    let places: Vec<_> = steps.iter().map(|step| position(&plan, step)).collect();
    assert!(places.is_sorted(), "{plan:#?}");
    position(&plan, "keep job-1");
    // Down the chain, when every edge asks for it.
    let plan = check(|project, observed, desired| {
        restarts(project, observed, desired);
        let job = project.services.get_mut("job").unwrap();
        job.depends_on.values_mut().for_each(|edge| edge.restart = true);
    });
    let steps = [
        "stop job-1",
        "stop web-1",
        "stop db-1",
        "start web-1",
        "start job-1",
    ];
    let places: Vec<_> = steps.iter().map(|step| position(&plan, step)).collect();
    assert!(places.is_sorted(), "{plan:#?}");
}
