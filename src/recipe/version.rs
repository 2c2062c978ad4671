//! Versions asked for, and the one that Debian carries.

use super::{
    parameter::{Parameter, Unfit, unfit},
    template::Value,
};

impl Parameter {
    /// `3`, `3.11` and `3.11.2` are met by the 3.11 that Debian carries.
    pub(super) fn version(&self, asked: &str) -> Result<Value, Unfit> {
        let fits =
            |a: &str, b: &str| a == b || a.starts_with(&format!("{b}.")) || b.starts_with(&format!("{a}."));
        if fits(asked, &self.carries) || asked.is_empty() {
            return Ok(Value::text(&self.carries));
        }
        let refused = self.refuses.iter().any(|start| fits(asked, start));
        let elsewhere = self.image.replace('*', asked);
        let elsewhere = (!elsewhere.is_empty()).then(|| format!("`image: {elsewhere}`"));
        let hint = match (refused, elsewhere) {
            (true, Some(image)) => format!("use {image} instead of `type`, or leave the version out"),
            (true, None) => "leave the version out".to_owned(),
            (false, Some(image)) => format!("leave the version out, or use {image} instead of `type`"),
            (false, None) => "leave the version out".to_owned(),
        };
        Err(Unfit {
            hint: Some(hint),
            only_warn: !refused,
            ..unfit(if refused {
                format!(
                    "asks for {asked}, which Debian bookworm does not have; its {} does not run what was written for it",
                    self.carries
                )
            } else {
                format!(
                    "asks for {asked}, which Debian bookworm does not have: it gets {}",
                    self.carries
                )
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Parameter, Value};

    #[test]
    fn versions_that_debian_lacks_are_said_to_be_missing() {
        let python = serde_yaml::from_str::<Parameter>(
            "{help: x, kind: version, carries: '3.11', refuses: ['2'], image: 'python:*'}",
        )
        .expect("a parameter");
        let ask = |version: &str| python.take(&Value::text(version), &[]);
        assert_eq!(ask("3.11.4"), Ok(Value::text("3.11")));
        assert_eq!(ask("3"), Ok(Value::text("3.11")));
        let older = ask("3.3.4").expect_err("not there");
        assert!(
            older.only_warn && older.message.contains("it gets 3.11"),
            "{older:?}"
        );
        let other = ask("2.7.6").expect_err("not there");
        assert!(!other.only_warn, "{other:?}");
        assert!(
            other
                .hint
                .is_some_and(|hint| hint.contains("`image: python:2.7.6`"))
        );
    }
}
