use std::fmt;

use serde::{Deserialize, Serialize};

/// A schema version, from 0 to 2,147,483,647 (PostgreSQL's `integer`).
///
/// Migrations are numbered from 1 without gaps. [`Version::ZERO`] is the version of a database
/// without a ctx0 schema.
///
/// ```
/// use ctx0_schema::Version;
///
/// let version = Version::new(2).expect("2 is a version");
/// assert_eq!(version.to_string(), "2");
/// assert!(Version::new(u32::MAX).is_none());
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "i64", into = "u32")]
#[cfg_attr(
    feature = "json-schema",
    derive(schemars::JsonSchema),
    schemars(with = "u32")
)]
pub struct Version(u32);

impl Version {
    /// The version of a database without a ctx0 schema.
    pub const ZERO: Self = Self(0);

    /// Returns the version with this number. `None` if it is above 2,147,483,647.
    #[must_use]
    pub const fn new(number: u32) -> Option<Self> {
        if number <= i32::MAX as u32 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// Returns the number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The version below; zero for zero.
    pub(crate) const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Version> for u32 {
    fn from(version: Version) -> Self {
        version.0
    }
}

impl TryFrom<i64> for Version {
    type Error = VersionError;

    fn try_from(number: i64) -> Result<Self, VersionError> {
        u32::try_from(number)
            .ok()
            .and_then(Self::new)
            .ok_or(VersionError { number })
    }
}

/// A number that is not a [`Version`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{number} is not a schema version: it must be from 0 to {}", i32::MAX)]
pub struct VersionError {
    number: i64,
}
