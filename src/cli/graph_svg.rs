//! The dependency graph as a picture: services from left to right in starting order, with the states they are in.

use super::ps;
use crate::{
    api::wire::ContainerInfo,
    graph::Graph,
    model::{Condition, Project},
    plan::Phase,
    supervisor::health::Status,
};
use std::{collections::BTreeMap, fmt::Write as _};

const WIDTH: usize = 190;
const HEIGHT: usize = 56;
const GAP: usize = 110;
const ROW: usize = 84;
const MARGIN: usize = 24;

/// How a service is, as one word and a colour that reads on white.
fn state(containers: &[&ContainerInfo]) -> (String, &'static str) {
    let (green, amber, red, grey) = ("#2e7d32", "#b26a00", "#c62828", "#757575");
    let Some(first) = containers.first() else {
        return ("not created".into(), grey);
    };
    let up = containers.iter().filter(|c| c.phase == Phase::Running).count();
    let unhealthy = |c: &&&ContainerInfo| c.health.as_ref().is_some_and(|h| h.status == Status::Unhealthy);
    let starting = |c: &&&ContainerInfo| c.health.as_ref().is_some_and(|h| h.status == Status::Starting);
    let count = containers.len();
    let times = |word: &str| {
        if count == 1 {
            word.to_owned()
        } else {
            format!("{word} {up}/{count}")
        }
    };
    if containers.iter().any(|c| unhealthy(&c)) {
        return (times("unhealthy"), red);
    }
    if up == count {
        return if containers.iter().any(|c| starting(&c)) {
            (times("starting"), amber)
        } else if first.health.is_some() {
            (times("healthy"), green)
        } else {
            (times("running"), green)
        };
    }
    match first.phase {
        _ if first.restarting => (times("restarting"), amber),
        Phase::Exited(0) => ("done".into(), grey),
        Phase::Exited(code) => (format!("exited ({code})"), red),
        Phase::Paused => (times("paused"), amber),
        _ => (times(ps::state(first)), grey),
    }
}

/// Draws it. Nothing in it is loaded from elsewhere, so it opens anywhere.
pub(super) fn draw(project: &Project, containers: &[ContainerInfo]) -> String {
    let order = Graph::of(project).order().unwrap_or_default();
    let mut level: BTreeMap<&str, usize> = BTreeMap::new();
    let mut place: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut filled: Vec<usize> = Vec::new();
    for name in &order {
        let Some(service) = project.services.get(*name) else {
            continue;
        };
        let after = service
            .depends_on
            .keys()
            .filter_map(|other| level.get(other.as_str()));
        let column = after.max().map_or(0, |deepest| deepest + 1);
        level.insert(name, column);
        if filled.len() <= column {
            filled.resize(column + 1, 0);
        }
        let row = filled[column];
        filled[column] += 1;
        place.insert(name, (MARGIN + column * (WIDTH + GAP), MARGIN + 30 + row * ROW));
    }
    let width = 2 * MARGIN + filled.len().max(1) * (WIDTH + GAP) - GAP;
    let height = 2 * MARGIN + 30 + filled.iter().max().copied().unwrap_or(1) * ROW;
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"system-ui, sans-serif\">\n\
         <title>{name}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{MARGIN}\" y=\"{title}\" font-size=\"15\" font-weight=\"600\" fill=\"#222\">{name}</text>\n",
        name = escape(project.name.as_str()),
        title = MARGIN + 4,
    );
    for name in &order {
        let (Some(service), Some(to)) = (project.services.get(*name), place.get(name)) else {
            continue;
        };
        for (other, edge) in &service.depends_on {
            if let Some(from) = place.get(other.as_str()) {
                arrow(&mut out, *from, *to, edge.condition);
            }
        }
    }
    for (name, (x, y)) in &place {
        let of: Vec<&ContainerInfo> = containers
            .iter()
            .filter(|c| c.slot.service.as_str() == *name && !c.one_off)
            .collect();
        let (word, colour) = state(&of);
        let _ = writeln!(
            out,
            "<g><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"8\" fill=\"#fafafa\" \
             stroke=\"{colour}\" stroke-width=\"1.5\"/>\
             <circle cx=\"{dot}\" cy=\"{middle}\" r=\"5\" fill=\"{colour}\"/>\
             <text x=\"{text}\" y=\"{upper}\" font-size=\"14\" font-weight=\"600\" fill=\"#222\">{name}</text>\
             <text x=\"{text}\" y=\"{lower}\" font-size=\"12\" fill=\"#555\">{word}</text></g>",
            dot = x + 16,
            middle = y + HEIGHT / 2,
            text = x + 32,
            upper = y + 24,
            lower = y + 42,
            name = escape(name),
            word = escape(&word),
        );
    }
    out += "</svg>\n";
    out
}

fn arrow(out: &mut String, from: (usize, usize), to: (usize, usize), condition: Condition) {
    let (x1, y1) = (from.0 + WIDTH, from.1 + HEIGHT / 2);
    let (x2, y2) = (to.0 - 7, to.1 + HEIGHT / 2);
    let half = GAP / 2;
    // What must be reached, but the usual.
    let (word, dash) = match condition {
        Condition::ServiceStarted => ("", ""),
        Condition::ServiceHealthy => ("healthy", ""),
        Condition::ServiceCompletedSuccessfully => ("completed", " stroke-dasharray=\"5 4\""),
    };
    let _ = writeln!(
        out,
        "<path d=\"M{x1} {y1} C{c1} {y1} {c2} {y2} {x2} {y2}\" fill=\"none\" stroke=\"#9e9e9e\" \
         stroke-width=\"1.5\"{dash}/>\
         <path d=\"M{x2} {top} l8 4 l-8 4 z\" fill=\"#9e9e9e\"/>",
        c1 = x1 + half,
        c2 = x2.saturating_sub(half),
        top = y2 - 4,
    );
    if !word.is_empty() {
        let (x, y) = (x1.midpoint(x2), y1.midpoint(y2) - 5);
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" text-anchor=\"middle\" fill=\"#777\" stroke=\"#ffffff\" \
             stroke-width=\"4\" paint-order=\"stroke\">{word}</text>"
        );
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
