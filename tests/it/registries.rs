//! Project files and a real registry: `push`, `pull`, `up` from it, and images pinned to digests.

use crate::support::{Root, can_run_containers, registry::Registry};

#[test]
fn a_pushed_image_is_pulled_by_its_digest() {
    if !can_run_containers() {
        return;
    }
    let Some(registry) = Registry::start() else { return };
    let root = Root::new();
    let name = format!("{}/team/tool:1", registry.address);
    let compose = format!(
        "services:\n  tool:\n    image: {name}\n    command: [echo, pulled]\n  built:\n    image: {}/team/built\n    build: .\n",
        registry.address
    );
    let project = root.project("pushing", &compose);
    std::fs::write(project.folder.join("Dockerfile"), "FROM busybox\nENV A=1\n").unwrap();
    project.ok(&["build"]);
    let ran = project.run(&["push"]);
    assert_eq!(ran.code, 1, "{}", ran.all());
    assert!(
        ran.stderr.contains("image `") && ran.stderr.contains("team/tool:1` of tool is not pushed"),
        "{}",
        ran.all()
    );
    assert!(ran.stdout.contains("team/built@sha256:"), "{}", ran.all());

    assert_eq!(project.run(&["config", "--resolve-image-digests"]).code, 1);
    let tagged = root.banyan().args(["image", "tag", "busybox", &name]).status();
    assert!(tagged.unwrap().success());
    let pushed = project.ok(&["push", "tool"]);
    let (_, digest) = pushed.trim().rsplit_once('@').unwrap();
    let pinned = format!("{name}@{digest}");

    let lock = project.ok(&["config", "--lock-image-digests"]);
    assert!(lock.contains(&format!("image: {pinned}")), "{lock}");
    assert!(lock.contains("team/built:latest@sha256:"), "{lock}");
    std::fs::write(project.folder.join("lock.yaml"), &lock).unwrap();
    let config = project.ok(&["config", "--resolve-image-digests", "--format", "json"]);
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["services"]["tool"]["image"], pinned.as_str());

    // Elsewhere, the lock alone says which bytes.
    let other = Root::new();
    let elsewhere = other.project("pulling", &compose);
    std::fs::copy(
        project.folder.join("lock.yaml"),
        elsewhere.folder.join("lock.yaml"),
    )
    .unwrap();
    elsewhere.ok(&["-f", "lock.yaml", "up", "-d", "--no-build", "tool"]);
    assert!(
        elsewhere
            .ok(&["logs", "-f", "--no-log-prefix"])
            .contains("pulled")
    );
    elsewhere.ok(&["down"]);
    elsewhere.ok(&["pull", "tool"]);

    // With the registry gone, what was pulled is known; what was only made here is not.
    drop(registry);
    let config = elsewhere.ok(&["config", "--resolve-image-digests", "tool"]);
    assert!(config.contains(&pinned), "{config}");
    let ran = elsewhere.run(&["push", "--ignore-push-failures", "-q"]);
    assert_eq!(ran.code, 0, "{}", ran.all());
    assert_eq!(elsewhere.run(&["push", "nobody"]).code, 1);
}
