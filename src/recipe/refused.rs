//! Types that gaudi had and that cannot be had today, each with the reason and what comes nearest.

/// A type that is refused.
#[derive(Debug)]
pub struct Refused {
    /// The `type`.
    pub kind: &'static str,
    /// Why it cannot be had.
    pub reason: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

/// All of them.
pub const REFUSED: &[Refused] = &[
    Refused {
        kind: "bower",
        reason: "Bower is abandoned, and Debian does not carry it",
        instead: "`type: npm`: most packages of Bower are packages of npm today",
    },
    Refused {
        kind: "cassandra",
        reason: "Debian does not carry Cassandra",
        instead: "`image: cassandra`",
    },
    Refused {
        kind: "couchdb",
        reason: "Debian bookworm does not carry CouchDB",
        instead: "`image: couchdb`",
    },
    Refused {
        kind: "hhvm",
        reason: "HHVM stopped running PHP in 2018, and Debian does not carry it",
        instead: "`type: php-fpm`, which takes the same parameters",
    },
    Refused {
        kind: "jackrabbit",
        reason: "Debian does not carry Jackrabbit",
        instead: "an `image` that has it, or `type: custom` with a Dockerfile of yours",
    },
    Refused {
        kind: "mongodb",
        reason: "Debian does not carry MongoDB since its licence changed in 2018",
        instead: "`image: mongo`, or `type: postgresql` with JSON columns",
    },
];

/// Why a type is refused, when it is.
#[must_use]
pub fn refused(kind: &str) -> Option<&'static Refused> {
    REFUSED.iter().find(|refused| refused.kind == kind)
}
