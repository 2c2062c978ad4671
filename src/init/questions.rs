//! What a folder does not tell for certain: at most three questions.

use super::{App, Base, Draft, Store, stores};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The web server of PHP.
    Server,
    /// The command that starts the application.
    Start,
    /// The database.
    Database,
    /// The port of this machine.
    Port,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What it is about.
    pub subject: Subject,
    /// Its text.
    pub text: &'static str,
    /// The answer when nothing is said.
    pub default: String,
}

pub(super) fn all(draft: &Draft) -> Vec<Question> {
    let mut all = Vec::new();
    let mut ask = |subject, text, default: &str| {
        all.push(Question {
            subject,
            text,
            default: default.to_owned(),
        });
    };
    match &draft.app.base {
        Base::Php { server, .. } => ask(Subject::Server, "Web server: apache or nginx", server),
        Base::Type(_) | Base::Image(_) => {
            ask(
                Subject::Start,
                "Command that starts it",
                draft.app.start.as_deref().unwrap_or(""),
            );
        }
        Base::Files { .. } | Base::Dockerfile(_) => {}
    }
    if !matches!(draft.app.base, Base::Files { .. }) {
        let database = draft
            .stores
            .iter()
            .find(|store| store.name == "db")
            .map_or("none", |store| store.kind);
        ask(Subject::Database, "Database: mysql, postgresql or none", database);
    }
    if draft.app.port.is_some() {
        ask(
            Subject::Port,
            "Port of this machine",
            &draft.published.to_string(),
        );
    }
    all
}

impl Draft {
    /// Takes an answer; an empty one is the default.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn answer(&mut self, question: &Question, answer: &str) -> Result<(), String> {
        let answer = answer.trim();
        if answer.is_empty() || answer == question.default {
            return Ok(());
        }
        match question.subject {
            Subject::Server => {
                let known = ["apache", "nginx"].into_iter().find(|known| *known == answer);
                let Base::Php { server, .. } = &mut self.app.base else {
                    return Ok(());
                };
                *server = known.ok_or("`apache` or `nginx`")?;
            }
            Subject::Start => {
                // Where another program listens is not known.
                let App { start, sure, .. } = &mut self.app;
                (*start, *sure) = (Some(answer.to_owned()), false);
            }
            Subject::Database => {
                let known = ["mysql", "postgresql"].into_iter().find(|known| *known == answer);
                if known.is_none() && answer != "none" {
                    return Err("`mysql`, `postgresql` or `none`".into());
                }
                self.stores.retain(|store| store.name != "db");
                let store: Option<Store> = known.map(stores::of_kind);
                self.stores.splice(0..0, store);
            }
            Subject::Port => {
                let port = answer.parse().ok().filter(|port| *port != 0);
                self.published = port.ok_or("a number from 1 to 65535")?;
            }
        }
        Ok(())
    }
}
