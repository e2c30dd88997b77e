//! Where the database is and how to talk to it.

mod hosted;
mod key;
mod sql_api;
mod trust;
mod url;

use std::{
    fs,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use ::url::Url;

use crate::app_version::{AppVersion, AppVersionError};

pub use self::hosted::HostedPolicy;
pub use self::key::{KeyError, ServiceKey};
pub(crate) use self::{hosted::Hosted, key::KeyKind};
use self::{
    sql_api::{AccessToken, MANAGEMENT_API, editor_url, management_api, project},
    url::rest_url,
};
pub(crate) use self::{
    sql_api::{LOCAL_CLI, SqlApi},
    trust::Trust,
    url::{hosted_project, is_loopback},
};

/// The environment variable that [`Config::from_env`] reads the project's URL from.
pub const ENV_URL: &str = "SUPABASE_URL";

/// The environment variable that [`Config::from_env`] reads the service key from.
pub const ENV_KEY: &str = "SUPABASE_SERVICE_ROLE_KEY";

/// The environment variable that [`Config::from_env`] reads a host from to which plain http is
/// allowed: see [`ConfigBuilder::allow_plain_http_to`].
pub const ENV_PLAIN_HTTP: &str = "CTX0_ALLOW_PLAIN_HTTP_TO";

/// The environment variable that [`Config::from_env`] reads the path of a PEM file from, with
/// the certificate of a private authority: see [`ConfigBuilder::ca_file`].
pub const ENV_CA_FILE: &str = "CTX0_CA_FILE";

/// The environment variable that [`Config::from_env`] reads a personal access token from, with which
/// a hosted project is set up: see [`ConfigBuilder::access_token`].
pub const ENV_ACCESS_TOKEN: &str = "SUPABASE_ACCESS_TOKEN";

/// The longest name that is recorded as having applied a version, in bytes.
const MAX_APPLIED_BY: usize = 200;

/// The longest delay between two copies of a request, however often it was repeated.
pub(crate) const LONGEST_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The delays that are neither a storm of requests nor a standstill.
const RETRY_DELAYS: RangeInclusive<Duration> = Duration::from_millis(1)..=LONGEST_RETRY_DELAY;

/// A checked configuration: where the project is, and how to talk to it.
///
/// ```
/// use std::time::Duration;
/// use ctx0_schema::Config;
///
/// let config = Config::builder("https://abcdefghijklmnopqrst.supabase.co", "sb_secret_N7UND0")
///     .apply_deadline(Duration::from_secs(5 * 60))
///     .applied_by("ctx0-desktop 1.4")
///     .build()?;
/// # Ok::<(), ctx0_schema::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) rest_url: Url,
    pub(crate) key: ServiceKey,
    pub(crate) user_agent: String,
    pub(crate) applied_by: String,
    pub(crate) app_version: Option<AppVersion>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_delay: Duration,
    pub(crate) retry_deadline: Duration,
    pub(crate) apply_deadline: Duration,
    pub(crate) ca_pem: Option<Vec<u8>>,
    /// The authorities that were read for it, or for others with which it shares them.
    pub(crate) trust: Trust,
    /// The hosted service to compare with.
    pub(crate) hosted: Option<Hosted>,
    /// What runs SQL over HTTP besides PostgREST, if anything does.
    pub(crate) sql_api: Option<SqlApi>,
    /// The page on which SQL is pasted, where it is known.
    pub(crate) editor_url: Option<String>,
}

impl Config {
    /// A configuration with the defaults for everything else.
    ///
    /// # Errors
    /// As [`ConfigBuilder::build`].
    pub fn new(url: impl Into<String>, key: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(url, key).build()
    }

    /// Reads the environment: [`ENV_URL`] and [`ENV_KEY`], and where they are set
    /// [`ENV_PLAIN_HTTP`], [`ENV_CA_FILE`] and [`ENV_ACCESS_TOKEN`].
    ///
    /// # Errors
    /// As [`ConfigBuilder::from_env`] and [`ConfigBuilder::build`].
    pub fn from_env() -> Result<Self, ConfigError> {
        ConfigBuilder::from_env()?.build()
    }

    /// Starts a configuration from a project's URL and its service key.
    ///
    /// The URL may be in any form that people paste: with or without `https://`, a
    /// trailing slash, `/rest/v1` or a path in front of that.
    pub fn builder(url: impl Into<String>, key: impl Into<String>) -> ConfigBuilder {
        ConfigBuilder {
            url: url.into(),
            key: SecretText(key.into()),
            plain_http_host: None,
            ca_file: None,
            access_token: None,
            project_ref: None,
            management_api: MANAGEMENT_API.to_owned(),
            hosted_manifest: None,
            hosted_policy: HostedPolicy::Free,
            hosted_checksum: None,
            user_agent: concat!("ctx0-schema/", env!("CARGO_PKG_VERSION")).to_owned(),
            applied_by: "bot0-daemon".to_owned(),
            app_version: None,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(35),
            retry_delay: Duration::from_millis(200),
            retry_deadline: Duration::from_secs(30),
            apply_deadline: Duration::from_secs(20 * 60),
        }
    }

    /// The base of every request, such as `https://abc.supabase.co/rest/v1`.
    #[must_use]
    pub fn rest_url(&self) -> &Url {
        &self.rest_url
    }
}

/// A variable of the environment. An empty one counts as unset.
pub(crate) fn environment(name: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var_os(name) {
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => match value.into_string() {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(ConfigError::NotUtf8 { name }),
        },
        None => Ok(None),
    }
}

/// Builds a [`Config`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until `build` is called"]
pub struct ConfigBuilder {
    url: String,
    key: SecretText,
    plain_http_host: Option<String>,
    ca_file: Option<PathBuf>,
    access_token: Option<SecretText>,
    project_ref: Option<String>,
    management_api: String,
    hosted_manifest: Option<String>,
    hosted_policy: HostedPolicy,
    hosted_checksum: Option<String>,
    user_agent: String,
    applied_by: String,
    app_version: Option<String>,
    connect_timeout: Duration,
    request_timeout: Duration,
    retry_delay: Duration,
    retry_deadline: Duration,
    apply_deadline: Duration,
}

impl ConfigBuilder {
    /// Starts a configuration from the environment, as [`Config::from_env`] does.
    ///
    /// # Errors
    /// [`ConfigError::Unset`] where [`ENV_URL`] or [`ENV_KEY`] is unset or empty, and
    /// [`ConfigError::NotUtf8`].
    pub fn from_env() -> Result<Self, ConfigError> {
        let needed = |name| environment(name)?.ok_or(ConfigError::Unset { name });
        let mut builder = Config::builder(needed(ENV_URL)?, needed(ENV_KEY)?);
        builder.plain_http_host = environment(ENV_PLAIN_HTTP)?;
        builder.ca_file = environment(ENV_CA_FILE)?.map(PathBuf::from);
        builder.access_token = environment(ENV_ACCESS_TOKEN)?.map(SecretText);
        Ok(builder)
    }

    /// Allows `http://` to this one host. It is neither encrypted nor authenticated: anyone on
    /// the way can read the key. Loopback is always allowed. Capitals, a scheme and a port do not matter.
    pub fn allow_plain_http_to(mut self, host: impl Into<String>) -> Self {
        self.plain_http_host = Some(host.into());
        self
    }

    /// Trusts the certificate authorities in a PEM file as well as those of the operating system,
    /// for an installation with a private authority.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca_file = Some(path.as_ref().to_owned());
        self
    }

    /// A personal access token (`sbp_…`), made in the dashboard under Account → Access Tokens. Only
    /// [`install`](crate::SchemaVersionManager::install) and
    /// [`uninstall`](crate::SchemaVersionManager::uninstall) use it, on hosted projects.
    pub fn access_token(mut self, token: impl Into<String>) -> Self {
        self.access_token = Some(SecretText(token.into()));
        self
    }

    /// The reference of a hosted project, such as `abcdefghijklmnopqrst`, where its URL is a domain of
    /// your own. Default: from a URL of `supabase.co`.
    pub fn project_ref(mut self, reference: impl Into<String>) -> Self {
        self.project_ref = Some(reference.into());
        self
    }

    /// The address of the Management API. Default: `https://api.supabase.com`.
    pub fn management_api(mut self, url: impl Into<String>) -> Self {
        self.management_api = url.into();
        self
    }

    /// The address of the `manifest.json` of the hosted service, to compare this database with. Default:
    /// none. See [the guide](crate::guide::operating#the-hosted-service).
    ///
    /// Each check then reads it as well, without the key of the project or any other secret. Whatever it
    /// contains, only versions of this build are applied.
    pub fn hosted_manifest(mut self, url: impl Into<String>) -> Self {
        self.hosted_manifest = Some(url.into());
        self
    }

    /// What the version of the hosted service means here. Default: [`HostedPolicy::Free`].
    pub fn hosted_policy(mut self, policy: HostedPolicy) -> Self {
        self.hosted_policy = policy;
        self
    }

    /// The SHA-256 of the hosted service's manifest, as `sha256sum` prints it. A manifest with another one
    /// is not used. Default: none.
    pub fn hosted_checksum(mut self, sha256: impl Into<String>) -> Self {
        self.hosted_checksum = Some(sha256.into());
        self
    }

    /// The `User-Agent` of every request. Default: `ctx0-schema/` and the version.
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.user_agent = text.into();
        self
    }

    /// Who is recorded in the ledger as having applied a version: up to 200 bytes without control
    /// characters. Default: `bot0-daemon`.
    pub fn applied_by(mut self, name: impl Into<String>) -> Self {
        self.applied_by = name.into();
        self
    }

    /// The version of your app, such as `env!("CARGO_PKG_VERSION")` or the one in `package.json`; not
    /// that of this crate. Default: not known.
    ///
    /// It decides whether the app can go on when another computer has applied versions that this build
    /// does not know: if it is at least their `minAppVersion`. Where it is not known, only versions that
    /// were declared `"breaking": false` let the app go on.
    pub fn app_version(mut self, version: impl Into<String>) -> Self {
        self.app_version = Some(version.into());
        self
    }

    /// How long connecting may take. Default: 10 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long one request may take before its response counts as lost. Default: 35 s, more than the
    /// 30 s after which Envoy gives up. A migration may take far longer: the crate keeps asking
    /// until it knows the outcome.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// The delay before a request is repeated for the first time: 1 ms to 5 s, 200 ms by default.
    /// It doubles with every repetition, up to 5 s, with up to 50 % jitter.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// How long a request is repeated in all while nothing of it has run, for example because the
    /// server cannot be reached. Default: 30 s.
    pub fn retry_deadline(mut self, limit: Duration) -> Self {
        self.retry_deadline = limit;
        self
    }

    /// How long to wait for a running migration, this daemon's or another's. Default: 20 min.
    pub fn apply_deadline(mut self, limit: Duration) -> Self {
        self.apply_deadline = limit;
        self
    }

    /// Checks everything. Sends nothing.
    ///
    /// # Errors
    /// [`ConfigError`], which says what is wrong and where to find the right value.
    pub fn build(self) -> Result<Config, ConfigError> {
        let rest_url = rest_url(&self.url, self.plain_http_host.as_deref())?;
        let key = ServiceKey::new(&self.key.0)?;
        let printable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !printable(&self.user_agent) {
            return Err(ConfigError::UserAgent);
        }
        let recordable = !self.applied_by.trim().is_empty()
            && self.applied_by.len() <= MAX_APPLIED_BY
            && !self.applied_by.contains(char::is_control);
        if !recordable {
            return Err(ConfigError::AppliedBy);
        }
        let app_version = self.app_version.map(AppVersion::try_from).transpose()?;
        in_range("retry_delay", self.retry_delay, RETRY_DELAYS)?;
        let hosted = match self.hosted_manifest {
            Some(url) => Some(Hosted::new(&url, self.hosted_policy, self.hosted_checksum)?),
            None if self.hosted_policy == HostedPolicy::Follow
                || self.hosted_checksum.is_some() =>
            {
                return Err(ConfigError::HostedManifest);
            }
            None => None,
        };
        let ca_pem = self.ca_file.map(read_ca).transpose()?;
        let project = project(&rest_url, self.project_ref)?;
        let token = self.access_token.map(|text| AccessToken::new(&text.0));
        let management_api = management_api(&self.management_api)?;
        let sql_api = SqlApi::of(
            &rest_url,
            project.as_deref(),
            token.transpose()?,
            &management_api,
        );
        Ok(Config {
            editor_url: editor_url(&rest_url, project.as_deref()),
            sql_api,
            rest_url,
            key,
            user_agent: self.user_agent,
            applied_by: self.applied_by,
            app_version,
            connect_timeout: self.connect_timeout,
            request_timeout: self.request_timeout,
            retry_delay: self.retry_delay,
            retry_deadline: self.retry_deadline,
            apply_deadline: self.apply_deadline,
            ca_pem,
            trust: Trust::default(),
            hosted,
        })
    }
}

/// Why a configuration was refused. Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// An environment variable is unset or empty.
    #[error(
        "the environment variable {name} is not set: set it to the value from the Supabase dashboard or your .env"
    )]
    #[non_exhaustive]
    Unset {
        /// Its name.
        name: &'static str,
    },
    /// An environment variable is not UTF-8.
    #[error(
        "the environment variable {name} is not UTF-8: set it again, from the Supabase dashboard or your .env"
    )]
    #[non_exhaustive]
    NotUtf8 {
        /// Its name.
        name: &'static str,
    },
    /// A page of the dashboard, of one project.
    #[error("this is a page of the Supabase dashboard: use the project's URL, {url}")]
    #[non_exhaustive]
    Dashboard {
        /// The URL of that project.
        url: String,
    },
    /// Another address than the project's, or one with a slip in it.
    #[error("{reason}: use the project's URL, {url}")]
    #[non_exhaustive]
    OtherAddress {
        /// What it is.
        reason: &'static str,
        /// The URL of the project.
        url: String,
    },
    /// The URL cannot be one of a Supabase project.
    #[error("{reason}: use the project's URL, such as https://abcdefghijklmnopqrst.supabase.co")]
    #[non_exhaustive]
    Url {
        /// What is wrong with it.
        reason: String,
    },
    /// Plain http to a host that is neither loopback nor allowed by name.
    #[error(
        "http://{host} would send the service key unencrypted: use https, or, on a network that you trust, \
         set CTX0_ALLOW_PLAIN_HTTP_TO={host}"
    )]
    #[non_exhaustive]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// The key is not a service key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The file with certificate authorities cannot be read.
    #[error("the CA file {} cannot be read: check the path and its permissions", path.display())]
    #[non_exhaustive]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no certificate.
    #[error("the CA file {} holds no certificate: it must be PEM, with BEGIN CERTIFICATE in it", path.display())]
    #[non_exhaustive]
    CaFileEmpty {
        /// The file.
        path: PathBuf,
    },
    /// The user agent cannot be a header.
    #[error(
        "the User-Agent cannot be sent as a header: use one or more characters of printable ASCII"
    )]
    UserAgent,
    /// Who applies cannot be recorded.
    #[error(
        "the name to record as having applied a version is empty, longer than {MAX_APPLIED_BY} bytes or contains \
         control characters: use a short name, such as bot0-daemon"
    )]
    AppliedBy,
    /// The version of the app cannot be read.
    #[error(transparent)]
    AppVersion(#[from] AppVersionError),
    /// The personal access token cannot be one.
    #[error(
        "this is not a personal access token (sbp_…): make one in the dashboard under Account → Access Tokens, and \
         paste it whole"
    )]
    AccessToken,
    /// The reference of the project cannot be one.
    #[error(
        "this is not the reference of a project: use the 20 letters in the address of its dashboard, such as \
         abcdefghijklmnopqrst"
    )]
    ProjectRef,
    /// The address of the Management API cannot be used.
    #[error(
        "this cannot be the address of the Management API: use https://api.supabase.com, or another https:// address \
         without a password in it"
    )]
    ManagementApi,
    /// The address of the hosted service's manifest cannot be used, or is missing.
    #[error(
        "this cannot be the address of the hosted service's manifest: use an https:// address without a password in \
         it, or leave out the policy and the checksum as well"
    )]
    HostedManifest,
    /// The checksum of the hosted service's manifest cannot be one.
    #[error(
        "this is not the checksum of the hosted service's manifest: use the 64 hexadecimal digits that sha256sum prints"
    )]
    HostedChecksum,
    /// A setting is out of its range.
    #[error("{setting} is out of range ({value:?}): use {shortest:?} to {longest:?}")]
    #[non_exhaustive]
    OutOfRange {
        /// The setting, by the name of its method.
        setting: &'static str,
        /// The value that was refused.
        value: Duration,
        /// The shortest value that is accepted.
        shortest: Duration,
        /// The longest value that is accepted.
        longest: Duration,
    },
    /// The HTTP client could not be made.
    #[error(
        "the HTTP client could not be set up: check the CA file and the proxy variables of the environment"
    )]
    #[non_exhaustive]
    Client {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Refuses a setting that is out of its range.
pub(crate) fn in_range(
    setting: &'static str,
    value: Duration,
    range: RangeInclusive<Duration>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    let (shortest, longest) = range.into_inner();
    Err(ConfigError::OutOfRange {
        setting,
        value,
        shortest,
        longest,
    })
}

/// A text that is not printed.
#[derive(Clone)]
struct SecretText(String);

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

fn read_ca(path: PathBuf) -> Result<Vec<u8>, ConfigError> {
    let pem = match fs::read(&path) {
        Ok(pem) => pem,
        Err(source) => return Err(ConfigError::CaFile { path, source }),
    };
    let marker = b"-----BEGIN CERTIFICATE-----";
    if pem.windows(marker.len()).any(|window| window == marker) {
        Ok(pem)
    } else {
        Err(ConfigError::CaFileEmpty { path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_applies_can_be_recorded() {
        let build = |name: &str| {
            Config::builder("http://127.0.0.1", "sb_secret_test")
                .applied_by(name)
                .build()
        };
        for name in ["bot0-daemon", "Zoë's ctx0 1.4", &"a".repeat(200)] {
            assert!(build(name).is_ok(), "{name}");
        }
        for name in ["", " ", "\0", "a\nb", "\u{7f}", "\u{85}", &"a".repeat(201)] {
            assert!(
                matches!(build(name), Err(ConfigError::AppliedBy)),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_retry_delay_that_is_a_storm_or_a_standstill_is_refused() {
        for (delay, accepted) in [
            (Duration::ZERO, false),
            (Duration::from_millis(1), true),
            (LONGEST_RETRY_DELAY, true),
            (Duration::MAX, false),
        ] {
            let config = Config::builder("http://127.0.0.1", "sb_secret_test").retry_delay(delay);
            assert_eq!(config.build().is_ok(), accepted, "{delay:?}");
        }
    }
}
