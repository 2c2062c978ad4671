use super::{
    super::scene::{Container, Scene, Script},
    Value, View, render,
};

/// `app` (php-fpm, port 9000) behind `front` (apache), with a database that `app` links to.
fn scene() -> Scene {
    let front = Container {
        name: "front".into(),
        kind: "apache".into(),
        linked: vec!["app".into()],
        ports: vec![("8080".into(), 80)],
        port: Some(80),
        volumes: vec![("/p".into(), "/var/www".into())],
        packages: vec!["vim".into(), "git".into()],
        add: vec![("a b".into(), "/c".into())],
        before: Some(Script::Inline("echo 1".into())),
        custom: vec![
            ("fastCgi".into(), Value::text("app")),
            (
                "modules".into(),
                Value::List(vec![Value::text("rewrite"), Value::text("ssl")]),
            ),
            ("timeout".into(), Value::Int(30)),
        ],
        ..Container::default()
    };
    let app = Container {
        name: "app".into(),
        kind: "php-fpm".into(),
        linked: vec!["my-db".into()],
        port: Some(9000),
        custom: vec![("memoryLimit".into(), Value::text("128M"))],
        ..Container::default()
    };
    let db = Container {
        name: "my-db".into(),
        kind: "mysql".into(),
        port: Some(3306),
        ..Container::default()
    };
    Scene(vec![front, app, db])
}

fn rendered(text: &str) -> Result<String, String> {
    let scene = scene();
    let files = |name: &str| match name {
        "part.conf" => Some("port=[[ .Port ]]\n".to_owned()),
        "wrong.conf" => Some("one\n  [[ .Nothing ]]\n".to_owned()),
        _ => None,
    };
    let view = View {
        scene: &scene,
        own: 0,
        files: &files,
    };
    render("Dockerfile", text, view).map_err(|error| error.to_string())
}

#[track_caller]
fn is(text: &str, expected: &str) {
    assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
}

#[track_caller]
fn fails(text: &str, expected: &str) {
    assert_eq!(rendered(text), Err(expected.to_owned()), "{text}");
}

#[test]
fn what_a_container_is_asked_for_is_written() {
    is("plain $x ${y} [z]", "plain $x ${y} [z]");
    is(
        "[[ .Container.Name ]]:[[.Container.GetFirstLocalPort]]",
        "front:80",
    );
    is(
        "[[ .Container.GetFirstPort ]] [[ .Container.GetFirstMountedDir ]]",
        "8080 /var/www",
    );
    is(
        "[[ .Container.GetCustomValue \"timeout\" ]] [[ .Container.GetCustomValue \"x\" \"d\" ]]",
        "30 d",
    );
    is("[[ .Container.FirstLinked.Name | ToUpper ]]_PORT", "APP_PORT");
    is("[[ (.Collection.GetType \"mysql\").Name | ToVariable ]]", "MY_DB");
    is(
        "[[ (.Collection.Get \"app\").GetCustomValue \"memoryLimit\" \"64M\" ]]",
        "128M",
    );
    is(
        "[[ if .Container.DependsOf \"php-fpm\" ]]yes[[ else ]]no[[ end ]]",
        "yes",
    );
    is(
        "[[ .Collection.IsComponentDependingOf (.Collection.Get \"app\") \"apache\" ]]",
        "true",
    );
    is(
        "[[ .Container.HasBeforeScript ]] [[ .Container.HasAfterScript ]]",
        "true false",
    );
    is(
        "[[ .Container.SetCustomValue \"v\" \"1\" ]][[ .Container.GetCustomValue \"v\" ]]",
        "1",
    );
}

#[test]
fn blocks_variables_and_pipelines_work_as_in_go() {
    is(
        "[[ range .Container.GetCustomValue \"modules\" ]]<[[ . ]]>[[ end ]]",
        "<rewrite><ssl>",
    );
    is(
        "[[ range $i, $m := .Container.GetCustomValue \"modules\" ]][[ $i ]]=[[ $m ]] [[ end ]]",
        "0=rewrite 1=ssl ",
    );
    is(
        "[[ range .Container.GetCustomValue \"none\" ]]x[[ else ]]empty[[ end ]]",
        "empty",
    );
    is(
        "[[ range $from, $to := .Container.Add ]]ADD [[$from]] [[$to]][[ end ]]",
        "ADD a b /c",
    );
    is(
        "[[ range .Container.Links ]][[ ($.Collection.Get .).GetFirstLocalPort ]][[ end ]]",
        "9000",
    );
    is(
        "[[ $x := \"a\" ]][[ if true ]][[ $x = \"b\" ]][[ end ]][[ $x ]]",
        "b",
    );
    is(
        "[[ $x := \"a\" ]][[ if true ]][[ $x := \"b\" ]][[ end ]][[ $x ]]",
        "a",
    );
    is(
        "[[ with .Collection.Get \"app\" ]][[ .Name ]][[ end ]][[ with .Collection.Get \"no\" ]]x[[ else ]]-[[ end ]]",
        "app-",
    );
    is(
        "[[ if eq 1 2 ]]a[[ else if eq \"x\" \"y\" \"x\" ]]b[[ else ]]c[[ end ]]",
        "b",
    );
    is(
        "[[ $a := .Collection.Get \"no\" ]][[ if and $a (eq $a.Type \"x\") ]]1[[ else ]]2[[ end ]]",
        "2",
    );
    is(
        "[[ if or (not true) (lt 1 2) ]]1[[ end ]][[ if and (ge 2 2) (ne \"a\" \"b\") ]]2[[ end ]]",
        "12",
    );
    is(
        "[[ .Container.GetCustomValue \"timeout\" | printf \"%s|%q\" \"a\" ]]",
        "a|\"30\"",
    );
    is(
        "[[ len \"abc\" ]] [[ index (.Container.GetCustomValue \"modules\") 1 ]] [[ join (.Container.GetCustomValue \"modules\") \",\" ]]",
        "3 ssl rewrite,ssl",
    );
    is("a [[- /* not shown */ -]] b\n[[- \"c\" -]]\n d", "abcd");
}

#[test]
fn instructions_are_written_for_dockerfiles() {
    is(
        "[[ updateApt ]]",
        "RUN apt-get update \\\n && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends vim git \\\n && rm -rf /var/lib/apt/lists/*\n",
    );
    is(
        "[[ addUserFiles ]]",
        "COPY --from=added-files [\"a b\", \"/c\"]\n",
    );
    is(
        "[[ beforeAfterScripts ]]",
        "COPY --chmod=755 <<\"END\" /root/before-setup.sh\necho 1\nEND\n",
    );
    is(
        "[[ copy \"part.conf\" \"/etc/x\" \"644\" ]]",
        "COPY --chmod=644 <<\"END\" /etc/x\nport=80\nEND\n",
    );
}

#[test]
fn mistakes_have_their_line_and_column() {
    fails("a\n  [[ if .Port ]]b", "Dockerfile:2:3: this `if` has no `end`");
    fails("[[ end ]]", "Dockerfile:1:1: there is no block open here");
    fails(
        "[[ .Container.name ]]",
        "Dockerfile:1:14: a container has no `.name`; did you mean `.Name`?",
    );
    fails("é [[ $x ]]", "Dockerfile:1:6: there is no variable `$x`");
    fails(
        "[[ (.Collection.Get \"no\").Name ]]",
        "Dockerfile:1:26: `.Name` of nothing: ask with `if` or `with` whether it is there",
    );
    fails(
        "[[ .Container.GetCustomValue \"no\" ]]",
        "Dockerfile:1:4: there is nothing to print here: give a default, or ask with `if` first",
    );
    fails(
        "[[ frobnicate ]]",
        "Dockerfile:1:4: there is no function `frobnicate`",
    );
    fails(
        "[[ \"x ]]",
        "Dockerfile:1:4: this text does not end: a `\"` is missing",
    );
    fails("[[ .Port", "Dockerfile:1:1: this `[[` has no `]]`");
    fails(
        "[[ template \"x\" ]]",
        "Dockerfile:1:4: `template` is not part of this template language",
    );
    fails(
        "\n[[ copy \"no\" \"/x\" ]]",
        "Dockerfile:2:4: there is no file `no` beside this template",
    );
    fails(
        "[[ copy \"wrong.conf\" \"/x\" ]]",
        "wrong.conf:2:6: the template's data has no `.Nothing`; known are Container, Collection, Port",
    );
}

#[test]
fn no_text_makes_the_interpreter_panic_or_run_for_ever() {
    let pieces = [
        "[[", "]]", "if", "range", "end", "else", "$x", ":=", "(", ")", "|", ".", ".A", "\"", "1", " ", "-",
        "/*", "é", "with",
    ];
    let mut state: u32 = 12345;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..state % 12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text += pieces[(state >> 16) as usize % pieces.len()];
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let _ = rendered(&text);
    }
    let deep = "[[ if true ]]".repeat(200);
    assert!(rendered(&deep).is_err_and(|error| error.contains("more than 50 levels")));
}
