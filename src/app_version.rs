//! The version of an app, by which it is known whether the app can work with a newer schema.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The version of an app, as in its `package.json` or `Cargo.toml`: by
/// [Semantic Versioning](https://semver.org), so `1.4.0-beta.1` is older than `1.4.0`.
///
/// `1.4` is read as `1.4.0`. Build metadata (`+…`) has no say in which one is newer, and is dropped.
///
/// ```
/// use ctx0_schema::AppVersion;
///
/// let [older, newer]: [AppVersion; 2] = ["1.9".parse()?, "1.10.0".parse()?];
/// assert!(older < newer);
/// assert_eq!(older.to_string(), "1.9.0");
/// # Ok::<(), ctx0_schema::AppVersionError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(
    feature = "json-schema",
    derive(schemars::JsonSchema),
    schemars(with = "String")
)]
pub struct AppVersion(semver::Version);

impl FromStr for AppVersion {
    type Err = AppVersionError;

    fn from_str(text: &str) -> Result<Self, AppVersionError> {
        let text = text.trim();
        let (numbers, rest) = text.split_at(text.find(['-', '+']).unwrap_or(text.len()));
        let zeros = ".0".repeat(2_usize.saturating_sub(numbers.matches('.').count()));
        let mut version =
            semver::Version::parse(&format!("{numbers}{zeros}{rest}")).map_err(|_| {
                AppVersionError {
                    text: text.chars().take(40).collect(),
                }
            })?;
        version.build = semver::BuildMetadata::EMPTY;
        Ok(Self(version))
    }
}

impl fmt::Display for AppVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for AppVersion {
    type Error = AppVersionError;

    fn try_from(text: String) -> Result<Self, AppVersionError> {
        text.parse()
    }
}

impl From<AppVersion> for String {
    fn from(version: AppVersion) -> Self {
        version.to_string()
    }
}

/// A text that is not an [`AppVersion`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not the version of an app: write it with three numbers, such as 1.4.0 or 2.0.0-beta.1"
)]
pub struct AppVersionError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_ordered_as_semantic_versioning_orders_them() {
        let rising = [
            "0",
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.2",
            "1.0.0-beta",
            "1",
            "1.0.1",
            "1.2",
            "1.10",
            "2.0.0-rc.1",
            "2026.11.26",
        ];
        let parsed = rising.map(|text| text.parse::<AppVersion>().unwrap());
        assert!(parsed.is_sorted_by(|a, b| a < b), "{parsed:?}");
    }

    #[test]
    fn one_version_is_equal_however_it_is_written() {
        let plain: AppVersion = "1.4.0".parse().unwrap();
        for text in ["1.4", "1.4.0+build.7", " 1.4.0\n", "1.4+7"] {
            assert_eq!(text.parse::<AppVersion>().unwrap(), plain, "{text}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "latest",
            "1.",
            "1.4.0.2",
            "1.04",
            "-1",
            "1,4",
            "v1.4",
            "99999999999999999999",
        ] {
            let refused = text.parse::<AppVersion>().unwrap_err();
            assert!(refused.to_string().contains("such as 1.4.0"), "{refused}");
        }
    }
}
