//! `banyan wait`: until containers have ended.

use super::{CommandError, Exit, Global, Outcome, context, drive, print, ps};
use crate::{
    api::wire::{ContainerInfo, Down, Request},
    plan::Phase,
    state::Roots,
};
use banyan_runtime::container::{ContainerDir, Found};
use clap::Args;
use std::{collections::BTreeSet, sync::mpsc, thread, time::Duration};

/// Flags of `wait`.
#[derive(Debug, Clone, Args)]
pub struct Wait {
    /// The services
    #[arg(required = true)]
    services: Vec<String>,
    /// Take the project down when the first of their containers ends
    #[arg(long)]
    down_project: bool,
}

/// Waits, and gives the status of the container that ended last (or first, with `--down-project`).
///
/// # Errors
/// When none of them runs.
pub(super) fn run(global: &Global, args: &Wait) -> Outcome {
    let name = context::project_name(global)?;
    let roots = context::roots(global);
    let running: Vec<_> = ps::list(global, &name)?
        .into_iter()
        .filter(|c| {
            args.services
                .iter()
                .any(|service| service == c.slot.service.as_str())
        })
        .filter(|c| matches!(c.phase, Phase::Running | Phase::Paused))
        .collect();
    if running.is_empty() {
        let what = format!("no container of {} runs", args.services.join(", "));
        return Err(CommandError::new(Exit::Failed, what).hint("`banyan ps -a` shows what has ended"));
    }
    let (send, ended) = mpsc::channel();
    for container in running {
        let (roots, send) = (roots.clone(), send.clone());
        thread::spawn(move || {
            let status = status_of(&roots, &container);
            // Whoever waited for the first only has gone.
            let _ = send.send((container, status));
        });
    }
    drop(send);
    let mut last = 0;
    for (container, status) in ended {
        print(&format!(
            "container \"{}\" exited with status code {status}\n",
            container.id
        ));
        last = status;
        if args.down_project {
            let down = Down {
                project: None,
                services: BTreeSet::new(),
                volumes: false,
                remove_orphans: false,
                timeout: None,
                rmi: None,
                dry_run: false,
            };
            drive::drive(
                global,
                &context::client(global, &name),
                &Request::Down(down),
                |_| {},
            )?;
            break;
        }
    }
    Ok(Exit::Status(last))
}

/// Blocks until it has ended. A shim that is killed and replaced meanwhile is no end.
fn status_of(roots: &Roots, container: &ContainerInfo) -> u8 {
    let dir = ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id));
    let code = |code: i32| u8::try_from(code).unwrap_or(u8::MAX);
    loop {
        match banyan_runtime::container::open(&dir) {
            Ok(Found::Running(mut running)) => {
                if let Ok(Some(exit)) = running.wait(None) {
                    return code(exit.code());
                }
            }
            Ok(Found::Stopped(exit)) => return code(exit.code()),
            // Removed at once, or its status was lost with its shim: docker says 137 then.
            Ok(Found::Never | Found::Lost) => return 137,
            _ => {}
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}
