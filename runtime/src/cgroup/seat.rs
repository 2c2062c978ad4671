//! A launcher's place: found out once, and what the user should know of it.

use super::{Cgroup, Layout, Wish, place::Place, systemd::SystemdError};
use std::sync::OnceLock;

/// A launcher's place, found when it is first needed.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    /// Name and description of the scope to settle in, if its process wants one.
    wanted: Option<(String, String)>,
    place: OnceLock<Place>,
    notice: OnceLock<String>,
}

impl Seat {
    /// Of a process that settles in the scope `banyan-<name>.scope`.
    pub(crate) fn in_scope(name: &str, description: &str) -> Self {
        Self {
            wanted: Some((name.to_owned(), description.to_owned())),
            ..Self::default()
        }
    }

    /// The place. The first call settles there, and may take as long as systemd does; `moved` is called when this process
    /// has been moved for it.
    pub(crate) fn place(&self, layout: &Layout, moved: impl FnOnce()) -> &Place {
        self.place.get_or_init(|| {
            let here = Place::here(layout);
            let Some((name, description)) = self.wanted.as_ref().filter(|_| here == Place::Each) else {
                return here;
            };
            match Place::settle(layout, name, description) {
                Ok(place) => {
                    moved();
                    place
                }
                Err(error) => {
                    self.note(&error);
                    // Not asked again for each container: what does not answer would hold each of them up.
                    Place::Root
                }
            }
        })
    }

    /// A container's cgroup; see [`Place::cgroup`].
    pub(crate) fn cgroup<E>(
        &self,
        layout: &Layout,
        wish: Wish<'_>,
        shim: impl FnOnce() -> Result<i32, E>,
    ) -> Result<Cgroup, E> {
        let (cgroup, failed) = self.place(layout, || ()).cgroup(layout, wish, shim)?;
        if let Some(error) = failed {
            self.note(&error);
        }
        Ok(cgroup)
    }

    /// What the user should know: that systemd made no scope, and why.
    pub(crate) fn notice(&self) -> Option<&str> {
        self.notice.get().map(String::as_str)
    }

    fn note(&self, error: &SystemdError) {
        let mut text = format!("cgroups are made at the root of the tree, without systemd: {error}");
        if let Some(cause) = std::error::Error::source(error) {
            text += &format!(": {cause}");
        }
        if let Some(hint) = error.hint() {
            text += &format!(" ({hint})");
        }
        // The first one tells enough.
        let _ = self.notice.set(text);
    }
}
