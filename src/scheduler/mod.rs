//! Order and parallelism: runs a plan's graph, each step the moment everything before it is done.
//!
//! What a step does is handed in as a function; this module knows graphs and failure only.

use petgraph::{Direction, graph::DiGraph, graph::NodeIndex, visit::EdgeRef};
use std::{collections::VecDeque, future::Future};
use tokio::{sync::watch, task::JoinSet};

/// What became of a walk.
#[derive(Debug)]
pub struct Walked<E> {
    /// Steps done, in the order in which they finished.
    pub done: Vec<NodeIndex<u32>>,
    /// Steps that failed, in that order. When not empty, steps after them were not begun.
    pub failed: Vec<(NodeIndex<u32>, E)>,
    /// Whether it ended early because `stop` said so.
    pub stopped: bool,
}

/// Runs every step of `graph` by `run`, at most `limit` at a time (0: no limit).
///
/// After the first failure, or when `stop` turns true, no further step is begun; those under way are awaited (they see
/// `halt` turn true and may give up waiting), so that the caller knows exactly what was done.
pub async fn walk<S, E, F, Fut>(
    graph: &DiGraph<S, ()>,
    limit: usize,
    mut stop: watch::Receiver<bool>,
    mut run: F,
) -> Walked<E>
where
    F: FnMut(NodeIndex<u32>, watch::Receiver<bool>) -> Fut,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: Send + 'static,
{
    let (halt, halted) = watch::channel(false);
    let mut missing: Vec<usize> = graph
        .node_indices()
        .map(|id| graph.edges_directed(id, Direction::Incoming).count())
        .collect();
    let mut ready: VecDeque<_> = graph
        .node_indices()
        .filter(|id| missing[id.index()] == 0)
        .collect();
    let mut running = JoinSet::new();
    let mut unstoppable = false;
    let mut walked = Walked {
        done: Vec::new(),
        failed: Vec::new(),
        stopped: *stop.borrow(),
    };
    loop {
        while walked.failed.is_empty() && !walked.stopped && (limit == 0 || running.len() < limit) {
            let Some(id) = ready.pop_front() else { break };
            let step = run(id, halted.clone());
            running.spawn(async move { (id, step.await) });
        }
        let next = tokio::select! {
            finished = running.join_next() => Some(finished),
            // A dropped sender means that nobody can stop us any more, which is not a stop.
            stopped = told_to_stop(&mut stop), if !walked.stopped && !unstoppable => {
                unstoppable = !stopped;
                walked.stopped = stopped;
                if stopped {
                    halt.send_replace(true);
                }
                None
            }
        };
        let Some(finished) = next else { continue };
        let Some(finished) = finished else { break };
        match finished {
            Ok((id, Ok(()))) => {
                walked.done.push(id);
                for edge in graph.edges_directed(id, Direction::Outgoing) {
                    let next = edge.target();
                    missing[next.index()] -= 1;
                    if missing[next.index()] == 0 {
                        ready.push_back(next);
                    }
                }
            }
            Ok((id, Err(error))) => {
                walked.failed.push((id, error));
                halt.send_replace(true);
            }
            // Steps are never aborted, so this is a panic: ours to pass on.
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    walked
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) -> bool {
    stop.wait_for(|stop| *stop).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    fn diamond() -> DiGraph<&'static str, ()> {
        let mut graph = DiGraph::new();
        let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| graph.add_node(name));
        graph.extend_with_edges([(a, b), (a, c), (b, d), (c, d)]);
        graph
    }

    async fn check(limit: usize, failing: Option<&'static str>) -> (Vec<&'static str>, Walked<String>) {
        let graph = diamond();
        let begun = Arc::new(Mutex::new(Vec::new()));
        let (_stop, stopped) = watch::channel(false);
        let walked = walk(&graph, limit, stopped, |id, _halt| {
            let name = graph[id];
            begun.lock().unwrap().push(name);
            async move {
                tokio::time::sleep(Duration::from_millis(if name == "b" { 20 } else { 1 })).await;
                if failing == Some(name) {
                    Err(format!("{name} failed"))
                } else {
                    Ok(())
                }
            }
        })
        .await;
        let begun = begun.lock().unwrap().clone();
        (begun, walked)
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_begins_when_everything_before_it_is_done() {
        for limit in [0, 1, 2] {
            let (begun, walked) = check(limit, None).await;
            assert_eq!(begun.first(), Some(&"a"));
            assert_eq!(begun.last(), Some(&"d"));
            assert_eq!((begun.len(), walked.done.len(), walked.failed.len()), (4, 4, 0));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_failure_nothing_new_begins_and_what_runs_is_awaited() {
        let (mut begun, walked) = check(0, Some("c")).await;
        begun.sort_unstable();
        assert_eq!(begun, ["a", "b", "c"]);
        assert_eq!(walked.done.len(), 2);
        assert_eq!(walked.failed[0].1, "c failed");
    }

    #[tokio::test(start_paused = true)]
    async fn stop_ends_the_walk_and_tells_the_steps() {
        let graph = diamond();
        let (stop, stopped) = watch::channel(false);
        let walk = walk(&graph, 0, stopped, |_, mut halt| async move {
            halt.wait_for(|halt| *halt).await.map_err(|_| "gone")?;
            Err("interrupted")
        });
        let (walked, ()) = tokio::join!(walk, async {
            stop.send_replace(true);
        });
        assert!(walked.stopped);
        assert_eq!(walked.failed.len(), 1);
    }
}
