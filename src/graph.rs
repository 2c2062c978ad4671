//! The order of services: who waits for whom.
//!
//! An edge goes from a service to what it depends on. Orders are deterministic: where nothing else decides, names do.

use crate::model::{Project, ServiceName};
use petgraph::{algo::kosaraju_scc, graphmap::DiGraphMap};
use std::collections::{BTreeMap, BTreeSet};

/// A graph of names.
#[derive(Debug, Clone, Default)]
pub struct Graph<'a> {
    edges: DiGraphMap<&'a str, ()>,
}

impl<'a> Graph<'a> {
    /// The graph of `nodes` with edges from each name to the names it depends on. Edges to unknown names are left out.
    pub fn new<D>(nodes: impl IntoIterator<Item = (&'a str, D)>) -> Self
    where
        D: IntoIterator<Item = &'a str>,
    {
        let nodes: BTreeMap<&str, Vec<&str>> = nodes
            .into_iter()
            .map(|(name, others)| (name, others.into_iter().collect()))
            .collect();
        let mut edges = DiGraphMap::new();
        for name in nodes.keys() {
            edges.add_node(*name);
        }
        for (name, others) in &nodes {
            for other in others.iter().filter(|other| nodes.contains_key(*other)) {
                edges.add_edge(*name, *other, ());
            }
        }
        Self { edges }
    }

    /// The services of a project that take part.
    #[must_use]
    pub fn of(project: &'a Project) -> Self {
        Self::new(
            project
                .services
                .iter()
                .map(|(name, service)| (name.as_str(), service.depends_on.keys().map(ServiceName::as_str))),
        )
    }

    /// What `name` depends on directly.
    pub fn dependencies(&self, name: &'a str) -> BTreeSet<&'a str> {
        self.edges.neighbors(name).collect()
    }

    /// What depends on `name` directly.
    pub fn dependents(&self, name: &'a str) -> BTreeSet<&'a str> {
        self.edges
            .neighbors_directed(name, petgraph::Direction::Incoming)
            .collect()
    }

    /// All names, dependencies before dependents.
    ///
    /// # Errors
    /// One cycle of each group of names that wait for each other, closed: the first name is also the last.
    pub fn order(&self) -> Result<Vec<&'a str>, Vec<Vec<&'a str>>> {
        let cycles = self.cycles();
        if !cycles.is_empty() {
            return Err(cycles);
        }
        let mut waiting: BTreeMap<&str, usize> = self
            .edges
            .nodes()
            .map(|name| (name, self.edges.neighbors(name).count()))
            .collect();
        let mut ready: BTreeSet<&str> = waiting
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(name, _)| *name)
            .collect();
        let mut order = Vec::with_capacity(waiting.len());
        while let Some(name) = ready.pop_first() {
            order.push(name);
            for dependent in self.dependents(name) {
                if let Some(count) = waiting.get_mut(dependent) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(dependent);
                    }
                }
            }
        }
        Ok(order)
    }

    /// The same, dependents before dependencies: the order of stopping.
    ///
    /// # Errors
    /// As for [`Graph::order`].
    pub fn reverse_order(&self) -> Result<Vec<&'a str>, Vec<Vec<&'a str>>> {
        let mut order = self.order()?;
        order.reverse();
        Ok(order)
    }

    /// One closed cycle of each group of names that wait for each other, starting at its first name.
    #[must_use]
    pub fn cycles(&self) -> Vec<Vec<&'a str>> {
        let mut cycles: Vec<Vec<&str>> = kosaraju_scc(&self.edges)
            .into_iter()
            .filter(|group| group.len() > 1 || group.iter().any(|name| self.edges.contains_edge(name, name)))
            .map(|group| self.cycle_in(&group.into_iter().collect()))
            .collect();
        cycles.sort();
        cycles
    }

    /// A shortest cycle through the first name of a strongly connected group.
    fn cycle_in(&self, group: &BTreeSet<&'a str>) -> Vec<&'a str> {
        let Some(start) = group.first().copied() else {
            return vec![];
        };
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(name) = queue.pop_front() {
            for next in self.dependencies(name) {
                if next == start {
                    let mut path = vec![start];
                    let mut at = name;
                    while at != start {
                        path.push(at);
                        let Some(before) = from.get(at) else { break };
                        at = before;
                    }
                    path.push(start);
                    path.reverse();
                    return path;
                }
                if group.contains(next) && !from.contains_key(next) {
                    from.insert(next, name);
                    queue.push_back(next);
                }
            }
        }
        vec![start]
    }
}

#[cfg(test)]
mod tests {
    use super::Graph;

    fn graph<'a>(lines: &[(&'a str, &'a str)]) -> Graph<'a> {
        Graph::new(
            lines
                .iter()
                .map(|(name, others)| (*name, others.split_whitespace())),
        )
    }

    #[test]
    fn dependencies_come_first_and_names_decide_the_rest() {
        let graph = graph(&[
            ("web", "php db"),
            ("php", "db"),
            ("db", ""),
            ("admin", "db"),
            ("cache", ""),
        ]);
        assert_eq!(graph.order(), Ok(vec!["cache", "db", "admin", "php", "web"]));
        assert_eq!(
            graph.reverse_order(),
            Ok(vec!["web", "php", "admin", "db", "cache"])
        );
        assert_eq!(
            graph.dependents("db").into_iter().collect::<Vec<_>>(),
            ["admin", "php", "web"]
        );
    }

    #[test]
    fn cycles_are_named_in_full() {
        let graph = graph(&[
            ("a", "b"),
            ("b", "c"),
            ("c", "a"),
            ("d", "a"),
            ("x", "y"),
            ("y", "x z"),
            ("z", "z"),
        ]);
        assert_eq!(
            graph.order(),
            Err(vec![
                vec!["a", "b", "c", "a"],
                vec!["x", "y", "x"],
                vec!["z", "z"]
            ])
        );
    }

    #[test]
    fn edges_to_nowhere_are_left_out_and_deep_chains_are_no_problem() {
        assert_eq!(graph(&[("a", "gone")]).order(), Ok(vec!["a"]));
        let names: Vec<String> = (0..20_000).map(|n| format!("s{n:05}")).collect();
        let chain = Graph::new(
            names
                .iter()
                .enumerate()
                .map(|(i, name)| (name.as_str(), names.get(i + 1).map(String::as_str))),
        );
        assert_eq!(chain.order().map(|order| order.len()), Ok(20_000));
    }
}
