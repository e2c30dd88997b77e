//! The table that a version outside a transaction works on, and how long that may take.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::format::{bytes, short};

/// How many bytes PostgreSQL reads in a second: on a small and busy server, and on a fast one.
const SLOW: u64 = 20_000_000;
const FAST: u64 = 100_000_000;

/// The table that a version outside a transaction works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct OutsideTable {
    /// Its name.
    pub relation: String,
    /// Its size with its indexes.
    pub bytes: u64,
    /// The same for the user: "2.2 GB".
    pub size: String,
    /// How long the statement may take, in seconds: an estimate from what it reads of the table, at 100 MB/s.
    /// Both are 0 where it reads nothing.
    pub fastest_secs: u64,
    /// The same at 20 MB/s. However long it is, other transactions that it waits for come on top.
    pub slowest_secs: u64,
    /// The same for the user: "about 24 s to 2 min".
    pub takes: String,
}

/// The same as the database reports it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SeenOutsideTable {
    pub(crate) relation: String,
    bytes: u64,
    /// How many bytes the statement reads.
    reads: u64,
}

impl From<SeenOutsideTable> for OutsideTable {
    fn from(seen: SeenOutsideTable) -> Self {
        let [fastest_secs, slowest_secs] = [FAST, SLOW].map(|speed| seen.reads.div_ceil(speed));
        let [fastest, slowest] = [fastest_secs, slowest_secs].map(time);
        Self {
            relation: seen.relation,
            bytes: seen.bytes,
            size: bytes(seen.bytes),
            fastest_secs,
            slowest_secs,
            takes: match slowest_secs {
                0 => "a moment".to_owned(),
                _ if fastest == slowest => format!("about {slowest}"),
                _ => format!("about {fastest} to {slowest}"),
            },
        }
    }
}

impl fmt::Display for OutsideTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            relation,
            size,
            takes,
            ..
        } = self;
        write!(f, "works on {} ({size}): ", short(relation))?;
        match self.slowest_secs {
            0 => write!(f, "reads none of it, so takes {takes}")?,
            _ => write!(f, "{takes}, an estimate from its size at 20 to 100 MB/s")?,
        }
        write!(f, "; longer while other transactions use it")
    }
}

fn time(secs: u64) -> String {
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs.div_ceil(60)),
        _ => format!("{} h", secs.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_an_estimate_from_what_is_read() {
        for (reads, expected) in [
            (
                0,
                "works on notes (1.0 MB): reads none of it, so takes a moment; longer while other transactions use it",
            ),
            (
                1,
                "works on notes (1.0 MB): about 1 s, an estimate from its size at 20 to 100 MB/s; longer while other transactions use it",
            ),
            (
                2_400_000_000,
                "works on notes (1.0 MB): about 24 s to 2 min, an estimate from its size at 20 to 100 MB/s; longer while other transactions use it",
            ),
            (
                1_000_000_000_000,
                "works on notes (1.0 MB): about 3 h to 14 h, an estimate from its size at 20 to 100 MB/s; longer while other transactions use it",
            ),
        ] {
            let seen = SeenOutsideTable {
                relation: "public.notes".to_owned(),
                bytes: 1024 * 1024,
                reads,
            };
            assert_eq!(OutsideTable::from(seen).to_string(), expected);
        }
    }
}
