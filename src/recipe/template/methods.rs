//! What stands behind a dot: fields and methods of containers and of the collection, gaudi's and a few of ours.

use super::{Value, Wrong, evaluate::Run};
use crate::recipe::scene::{Container, Script};

/// `value.name argument…`
pub(super) fn call(
    run: &mut Run<'_>,
    value: &Value,
    name: &str,
    arguments: Vec<Value>,
    at: usize,
) -> Result<Value, Wrong> {
    match value {
        Value::Root => {
            none(name, &arguments, at)?;
            match name {
                "Container" => Ok(Value::Container(run.view.own)),
                "Collection" => Ok(Value::Collection),
                "Port" => Ok(port_of(run.view.scene.get(run.view.own))),
                // gaudi's `--empty-cmd`; here `banyan run NAME bash` does the same.
                "EmptyCmd" => Ok(Value::Bool(false)),
                _ => Err(unknown(
                    "the template's data",
                    name,
                    &["Container", "Collection", "Port"],
                    at,
                )),
            }
        }
        Value::Container(number) => match run.view.scene.get(*number) {
            Some(container) => of_container(run, *number, container, name, &arguments, at),
            None => Err(Wrong::new(at, "this container does not exist")),
        },
        Value::Collection => of_collection(run, name, &arguments, at),
        Value::Map(map) => {
            none(name, &arguments, at)?;
            let found = map.iter().find(|(key, _)| key == name);
            Ok(found.map_or(Value::Nothing, |(_, value)| value.clone()))
        }
        Value::Nothing => Err(Wrong::new(
            at,
            format!("`.{name}` of nothing: ask with `if` or `with` whether it is there"),
        )),
        other => Err(Wrong::new(at, format!("{} has no `.{name}`", other.kind()))),
    }
}

fn unknown(what: &str, name: &str, known: &[&str], at: usize) -> Wrong {
    let simple = |text: &str| text.to_lowercase().replace(['_', '-'], "");
    let near = known.iter().find(|known| simple(known) == simple(name));
    let hint = near.map_or_else(
        || format!("known are {}", known.join(", ")),
        |near| format!("did you mean `.{near}`?"),
    );
    Wrong::new(at, format!("{what} has no `.{name}`; {hint}"))
}

fn none(name: &str, arguments: &[Value], at: usize) -> Result<(), Wrong> {
    if arguments.is_empty() {
        return Ok(());
    }
    Err(Wrong::new(at, format!("`.{name}` takes no arguments")))
}

fn argument<'v>(name: &str, arguments: &'v [Value], number: usize, at: usize) -> Result<&'v Value, Wrong> {
    let missing = || Wrong::new(at, format!("`.{name}` lacks argument {}", number + 1));
    arguments.get(number).ok_or_else(missing)
}

fn port_of(container: Option<&Container>) -> Value {
    let port = container.and_then(|container| container.port);
    port.map_or(Value::Nothing, |port| Value::Int(i64::from(port)))
}

fn texts(list: &[String]) -> Value {
    Value::List(list.iter().map(Value::text).collect())
}

fn pairs(list: &[(String, String)]) -> Value {
    Value::Map(
        list.iter()
            .map(|(key, value)| (key.clone(), Value::text(value)))
            .collect(),
    )
}

const OF_CONTAINER: &[&str] = &[
    "Name",
    "Type",
    "Image",
    "Links",
    "Ports",
    "Volumes",
    "Environments",
    "AptPackets",
    "Add",
    "Dependencies",
    "BeforeScript",
    "AfterScript",
    "HasBeforeScript",
    "HasAfterScript",
    "HasBeforeScriptFile",
    "HasAfterScriptFile",
    "GetCustomValue",
    "GetCustomValueAsString",
    "SetCustomValue",
    "GetFirstPort",
    "GetFirstLocalPort",
    "GetFirstMountedDir",
    "FirstLinked",
    "Linked",
    "DependsOf",
    "Port",
];

fn of_container(
    run: &mut Run<'_>,
    number: usize,
    container: &Container,
    name: &str,
    arguments: &[Value],
    at: usize,
) -> Result<Value, Wrong> {
    let scene = run.view.scene;
    let custom = |run: &Run<'_>, key: &str| -> Option<Value> {
        let set = run.set.get(&(number, key.to_owned()));
        set.or_else(|| container.parameter(key)).cloned()
    };
    let fallback = |number: usize| arguments.get(number).cloned().unwrap_or(Value::Nothing);
    let script = |script: &Option<Script>| match script {
        None => Value::text(""),
        Some(Script::Inline(text) | Script::File(text)) => Value::text(text),
    };
    let is_file = |script: &Option<Script>| Value::Bool(matches!(script, Some(Script::File(_))));
    let linked = |kind: Option<&str>| -> Value {
        let numbers = container.linked.iter().filter_map(|name| scene.named(name));
        let of_kind = |number: &usize| {
            kind.is_none_or(|kind| scene.get(*number).is_some_and(|other| other.kind == kind))
        };
        numbers
            .into_iter()
            .find(of_kind)
            .map_or(Value::Nothing, Value::Container)
    };
    Ok(match name {
        "GetCustomValue" | "GetCustomValueAsString" => {
            let key = argument(name, arguments, 0, at)?.to_string();
            custom(run, &key).unwrap_or_else(|| fallback(1))
        }
        "SetCustomValue" => {
            let key = argument(name, arguments, 0, at)?.to_string();
            let value = argument(name, arguments, 1, at)?.clone();
            run.set.insert((number, key), value);
            Value::text("")
        }
        "GetFirstPort" => match container.ports.first() {
            Some((published, _)) if !published.is_empty() => Value::text(published),
            _ => fallback(0),
        },
        "GetFirstLocalPort" => match port_of(Some(container)) {
            Value::Nothing => fallback(0),
            port => port,
        },
        "GetFirstMountedDir" => match container.volumes.first() {
            Some((_, target)) => Value::text(target),
            None if arguments.is_empty() => Value::text("/"),
            None => fallback(0),
        },
        "Linked" => linked(Some(&argument(name, arguments, 0, at)?.to_string())),
        "DependsOf" => Value::Bool(linked(Some(&argument(name, arguments, 0, at)?.to_string())).is_true()),
        _ => {
            if OF_CONTAINER.contains(&name) {
                none(name, arguments, at)?;
            }
            match name {
                "Name" => Value::text(&container.name),
                "Type" => Value::text(&container.kind),
                "Image" => Value::text(&container.image),
                "Links" | "Dependencies" => texts(&container.linked),
                "Ports" => {
                    let pair = |(from, to): &(String, u16)| (from.clone(), Value::text(to.to_string()));
                    Value::Map(container.ports.iter().map(pair).collect())
                }
                "Port" => port_of(Some(container)),
                "Volumes" => pairs(&container.volumes),
                "Environments" => pairs(&container.environment),
                "AptPackets" => texts(&container.packages),
                "Add" => pairs(&container.add),
                "BeforeScript" => script(&container.before),
                "AfterScript" => script(&container.after),
                "HasBeforeScript" => Value::Bool(container.before.is_some()),
                "HasAfterScript" => Value::Bool(container.after.is_some()),
                "HasBeforeScriptFile" => is_file(&container.before),
                "HasAfterScriptFile" => is_file(&container.after),
                "FirstLinked" => linked(None),
                _ => return Err(unknown("a container", name, OF_CONTAINER, at)),
            }
        }
    })
}

fn of_collection(run: &Run<'_>, name: &str, arguments: &[Value], at: usize) -> Result<Value, Wrong> {
    let scene = run.view.scene;
    Ok(match name {
        "Get" => {
            let found = match argument(name, arguments, 0, at)? {
                Value::Nothing => None,
                wanted => scene.named(&wanted.to_string()),
            };
            let fallback = || arguments.get(1).cloned().unwrap_or(Value::Nothing);
            found.map_or_else(fallback, Value::Container)
        }
        "GetType" => {
            let kind = argument(name, arguments, 0, at)?.to_string();
            scene.of_type(&kind).map_or(Value::Nothing, Value::Container)
        }
        "IsComponentDependingOf" => {
            // Whether a container of this type links to the one given.
            let Value::Container(number) = argument(name, arguments, 0, at)? else {
                return Err(Wrong::new(
                    at,
                    "the first argument of `.IsComponentDependingOf` is a container",
                ));
            };
            let kind = argument(name, arguments, 1, at)?.to_string();
            let target = scene.get(*number).map_or("", |container| container.name.as_str());
            let links =
                |other: &Container| other.kind == kind && other.linked.iter().any(|link| link == target);
            Value::Bool(scene.0.iter().any(links))
        }
        _ => {
            let known = ["Get", "GetType", "IsComponentDependingOf"];
            return Err(unknown("the collection", name, &known, at));
        }
    })
}
