//! Where the hosted service says which version it has, and what that means here.

use serde::{Deserialize, Serialize};
use url::Url;

use super::{ConfigError, url::is_loopback};

/// What the version of the hosted service means for this database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
pub enum HostedPolicy {
    /// Nothing: it is reported only.
    #[default]
    Free,
    /// A version is offered and applied only once the hosted service has it. Where that is not known,
    /// none is.
    Follow,
}

/// A checked configuration of the hosted service.
#[derive(Clone, Debug)]
pub(crate) struct Hosted {
    /// Of its manifest.
    pub(crate) url: Url,
    pub(crate) policy: HostedPolicy,
    /// The SHA-256 that its manifest must have, in small hexadecimal digits.
    pub(crate) sha256: Option<String>,
}

impl Hosted {
    pub(super) fn new(
        url: &str,
        policy: HostedPolicy,
        sha256: Option<String>,
    ) -> Result<Self, ConfigError> {
        let url = Url::parse(url.trim()).map_err(|_| ConfigError::HostedManifest)?;
        let safe = url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url));
        // It is read without any secret, and gets none by its address either.
        if !safe || !url.username().is_empty() || url.password().is_some() {
            return Err(ConfigError::HostedManifest);
        }
        let sha256 = sha256.map(|text| text.trim().to_ascii_lowercase());
        let is_sha256 =
            |text: &String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !sha256.iter().all(is_sha256) {
            return Err(ConfigError::HostedChecksum);
        }
        Ok(Self {
            url,
            policy,
            sha256,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_over_https_or_on_this_computer_and_without_a_password() {
        for (url, accepted) in [
            ("https://ctx0.example/manifest.json", true),
            ("http://127.0.0.1:9/manifest.json", true),
            ("http://ctx0.example/manifest.json", false),
            ("https://me:hush@ctx0.example/manifest.json", false),
            ("ctx0.example/manifest.json", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            assert_eq!(
                Hosted::new(url, HostedPolicy::Free, None).is_ok(),
                accepted,
                "{url}"
            );
        }
    }

    #[test]
    fn a_checksum_has_64_hexadecimal_digits() {
        let with = |sha256: String| {
            Hosted::new("https://ctx0.example", HostedPolicy::Follow, Some(sha256))
        };
        assert_eq!(
            with(" AB".to_owned() + &"0".repeat(62))
                .unwrap()
                .sha256
                .unwrap(),
            "ab".to_owned() + &"0".repeat(62)
        );
        for text in [String::new(), "0".repeat(63), "g".repeat(64)] {
            assert!(matches!(with(text), Err(ConfigError::HostedChecksum)));
        }
    }
}
