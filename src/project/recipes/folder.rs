//! `type: custom`: a folder of the user's, whose files are templates; with a `recipe.yaml` it is a recipe.
//!
//! What rendering changes must reach the build without a folder of ours in between, so that `config` shows everything:
//! the Dockerfile is written out in the project, and where other files change, a first stage holds the folder with their
//! rendered text on top, and the Dockerfile's `COPY` and `ADD` read from that stage.

use super::{
    super::{
        diagnostic::Report,
        files::Files,
        node::{Entry, Map, Node},
    },
    scripts,
    service::Cast,
    sort::Sort,
    template_mistake,
};
use crate::recipe::{self, Recipe, View};
use std::path::{Path, PathBuf};

/// The stage that holds rendered files.
const STAGE: &str = "rendered-context";

/// A folder with a Dockerfile.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// The Dockerfile's name in it.
    dockerfile: String,
    /// Name in the folder and content of all texts.
    texts: Vec<(String, String)>,
}

/// Reads the folder that `template` names, or that the file lies in that it names.
pub(super) fn read(name: &str, template: &Node, disk: &Files, report: &mut Report) -> Sort {
    let at = template.span;
    let given = PathBuf::from(template.as_str().unwrap_or_default());
    let (path, dockerfile) = if disk.is_file(&given) {
        let file = given
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (given.parent().unwrap_or(Path::new("/")).to_owned(), file)
    } else {
        (given, "Dockerfile".to_owned())
    };
    let texts = match disk.texts(&path) {
        Ok(texts) => texts,
        Err(error) => {
            report
                .error(at, format!("cannot read the template of `{name}`"))
                .because(format!(
                    "{}: {}",
                    path.display(),
                    super::super::files::short(&error)
                ));
            return Sort::Wrong;
        }
    };
    if texts.iter().any(|(file, _)| file == "recipe.yaml") {
        return match Recipe::from_files(&path.display().to_string(), texts) {
            Ok(recipe) => Sort::Recipe(Box::new(recipe)),
            Err(error) => {
                report
                    .error(at, format!("the template of `{name}` is no recipe"))
                    .because(error);
                Sort::Wrong
            }
        };
    }
    if !texts.iter().any(|(file, _)| *file == dockerfile) {
        report
            .error(at, format!("the template of `{name}` has no Dockerfile"))
            .because(format!("there is no {}", path.join(&dockerfile).display()));
        return Sort::Wrong;
    }
    Sort::Folder(Folder {
        path,
        dockerfile,
        texts,
    })
}

/// The service that builds the folder.
pub(super) fn service(cast: &Cast<'_>, folder: &Folder, report: &mut Report) -> Option<Node> {
    let text = |name: &str| {
        let found = folder.texts.iter().find(|(file, _)| file == name);
        found.map(|(_, text)| text.clone())
    };
    let view = View {
        scene: cast.scene,
        own: cast.own,
        files: &text,
    };
    let mut dockerfile = String::new();
    let mut changed = Vec::new();
    for (name, content) in &folder.texts {
        if !recipe::is_template(content) && *name != folder.dockerfile {
            continue;
        }
        let file = folder.path.join(name).display().to_string();
        let rendered = match recipe::render(&file, content, view) {
            Ok(rendered) => rendered,
            Err(error) => {
                let name = error.file.rsplit('/').next().unwrap_or_default();
                template_mistake(&error, text(name).as_deref(), cast.at, report);
                return None;
            }
        };
        if *name == folder.dockerfile {
            dockerfile = rendered;
        } else if rendered != *content {
            changed.push((name.as_str(), rendered));
        }
    }
    let source = text(&folder.dockerfile).unwrap_or_default();
    if !changed.is_empty() {
        dockerfile = stage(folder, &changed) + &from_stage(&dockerfile);
    }
    let container = cast.container();
    let mentions = |words: &[&str]| words.iter().any(|word| source.contains(word));
    if !container.packages.is_empty() && !mentions(&["updateApt", "packages", "AptPackets"]) {
        dockerfile += &recipe::install_anywhere(&container.packages);
    }
    let added = container.added();
    if let Some((_, files)) = added.as_ref().filter(|_| !mentions(&["addUserFiles"])) {
        dockerfile += &recipe::add(files, Some(recipe::ADDED));
    }
    let mut map = Map::new();
    let mut build = if dockerfile == source {
        cast.map([
            ("context", cast.text(folder.path.display().to_string())),
            ("dockerfile", cast.text(folder.dockerfile.clone())),
        ])
    } else {
        cast.map([
            ("context", cast.text(folder.path.display().to_string())),
            ("dockerfile_inline", cast.text(dockerfile)),
        ])
    };
    if let (Some((path, _)), Some(build)) = (added, build.as_map_mut()) {
        let contexts = cast.map([(recipe::ADDED, cast.text(path.display().to_string()))]);
        build.insert("additional_contexts".into(), Entry::new(cast.at, contexts));
    }
    map.insert("build".into(), Entry::new(cast.at, build));
    if mentions(&["beforeAfterScripts", "BeforeScript", "AfterScript"]) {
        scripts::for_template(cast, &mut map);
    } else {
        scripts::as_hooks(cast, &mut map);
    }
    Some(Node::map(map, cast.at))
}

/// A stage with the folder, and the rendered files on top.
fn stage(folder: &Folder, changed: &[(&str, String)]) -> String {
    let mut text = format!("FROM scratch AS {STAGE}\nCOPY . /\n");
    for (name, rendered) in changed {
        let mode = if is_program(&folder.path.join(name)) {
            Some("755")
        } else {
            None
        };
        text += &recipe::copy(rendered, &format!("/{name}"), mode);
    }
    text
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs_err::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o111 != 0)
}

/// `COPY` and `ADD` of the context read from the stage. What `ADD` fetches or unpacks stays an `ADD`.
fn from_stage(dockerfile: &str) -> String {
    let mut out = String::new();
    let mut heredoc: Vec<String> = Vec::new();
    for line in dockerfile.lines() {
        if let Some(end) = heredoc.first() {
            if line.trim_start_matches('\t') == end {
                heredoc.remove(0);
            }
            out += line;
            out.push('\n');
            continue;
        }
        heredoc = delimiters(line);
        let trimmed = line.trim_start();
        let (word, rest) = trimmed.split_once([' ', '\t']).unwrap_or((trimmed, ""));
        let copies = word.eq_ignore_ascii_case("copy") || word.eq_ignore_ascii_case("add");
        let elsewhere =
            rest.contains("--from=") || rest.contains("<<") || rest.contains("://") || is_archive(rest);
        if copies && !elsewhere {
            out += &format!("COPY --from={STAGE} {}\n", rest.trim_start());
        } else {
            out += line;
            out.push('\n');
        }
    }
    out
}

fn is_archive(words: &str) -> bool {
    let ends = [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2"];
    words
        .split_whitespace()
        .any(|word| ends.iter().any(|end| word.ends_with(end)))
}

/// The delimiters of here-documents that a line opens.
fn delimiters(line: &str) -> Vec<String> {
    let word = |rest: &str| -> String {
        let rest = rest.trim_start_matches(['-', '"', '\'']);
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    line.split("<<")
        .skip(1)
        .map(word)
        .filter(|word| !word.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::from_stage;

    #[test]
    fn copies_of_the_context_read_from_the_stage_and_nothing_else_changes() {
        let text = "FROM a\nCOPY x /x\nadd setup.sh /root/\nADD data.tar.gz /\nADD http://h/f /f\nCOPY --from=b /y /y\n\
                    RUN <<EOF\nCOPY no /no\nEOF\nCOPY <<A /a\nCOPY no /no\nA\n  COPY --chmod=755 z /z\n";
        let expected = "FROM a\nCOPY --from=rendered-context x /x\nCOPY --from=rendered-context setup.sh /root/\n\
                        ADD data.tar.gz /\nADD http://h/f /f\nCOPY --from=b /y /y\n\
                        RUN <<EOF\nCOPY no /no\nEOF\nCOPY <<A /a\nCOPY no /no\nA\nCOPY --from=rendered-context --chmod=755 z /z\n";
        assert_eq!(from_stage(text), expected);
    }
}
