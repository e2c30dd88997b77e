use std::{collections::HashSet, fmt, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;

/// The key of the service role: a legacy JWT or a secret key (`sb_secret_…`).
///
/// It is never printed: `Debug` says `[redacted]`.
#[derive(Clone)]
pub struct ServiceKey {
    text: String,
    kind: KeyKind,
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// A JWT of the role `service_role`.
    Legacy { expires: Option<Timestamp> },
    /// `sb_secret_…`.
    Secret,
}

impl ServiceKey {
    /// Checks a key as far as that goes without asking the server.
    ///
    /// # Errors
    /// [`KeyError`], which says which key is needed and where it is found.
    pub fn new(text: &str) -> Result<Self, KeyError> {
        Self::checked_at(text, SystemTime::now())
    }

    fn checked_at(text: &str, now: SystemTime) -> Result<Self, KeyError> {
        if text.is_empty() {
            return Err(KeyError::Empty);
        }
        if has_name_or_quotes(text) {
            return Err(KeyError::NameOrQuotes);
        }
        if text.contains(['\n', '\r']) {
            return Err(KeyError::LineBreak);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Character);
        }
        let kind = if text
            .strip_prefix("sb_secret_")
            .is_some_and(|rest| !rest.is_empty())
        {
            KeyKind::Secret
        } else if text.starts_with("sb_publishable_") {
            return Err(KeyError::OtherRole {
                role: "publishable".to_owned(),
            });
        } else if text.starts_with("sbp_") {
            return Err(KeyError::AccessToken);
        } else {
            let expires = check_jwt(text, now)?;
            KeyKind::Legacy { expires }
        };
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }

    /// The value of the header `apikey`.
    pub(crate) fn apikey(&self) -> &str {
        &self.text
    }

    /// The value of the header `Authorization`, for the legacy keys only: the gateway
    /// turns a secret key into a token itself and refuses it as one.
    pub(crate) fn authorization(&self) -> Option<String> {
        match self.kind {
            KeyKind::Legacy { .. } => Some(format!("Bearer {}", self.text)),
            KeyKind::Secret => None,
        }
    }

    pub(crate) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The text without the key and without long pieces of it, should a server have repeated them.
    pub(crate) fn redact(&self, text: &str) -> String {
        redact(&self.text, text)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why a text is not the key of the service role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Nothing there.
    #[error("the service key is empty: {WHERE}")]
    Empty,
    /// It was pasted with its name or in quotes.
    #[error(
        "the service key has a name or quotes around it: leave only the key, without NAME= and without quotes"
    )]
    NameOrQuotes,
    /// It was pasted with a line break.
    #[error("the service key contains a line break: {WHERE}, and paste it in one line")]
    LineBreak,
    /// A blank or another character that no key has.
    #[error(
        "the service key contains a space or another invalid character: {WHERE}, and paste it whole"
    )]
    Character,
    /// Neither a JWT nor `sb_secret_…`.
    #[error("this is not a key of a Supabase project: {WHERE}")]
    NotAKey,
    /// A personal access token of the Management API.
    #[error("this is a personal access token (sbp_…), not a key of the project: {WHERE}")]
    AccessToken,
    /// The key of another role.
    #[error("this is the {role} key, which may not change the schema: {WHERE}")]
    #[non_exhaustive]
    OtherRole {
        /// Whose key it is.
        role: String,
    },
    /// Its time is over.
    #[error("the service key expired {}: {WHERE}, or correct this computer's clock", ago(*days))]
    #[non_exhaustive]
    Expired {
        /// How many whole days ago.
        days: u64,
    },
}

/// Where the right key is found.
const WHERE: &str = "use the service_role key or a secret key (sb_secret_…), found in the dashboard under \
                     Project Settings → API Keys, or as SERVICE_ROLE_KEY in the .env of a self-hosted installation";

fn ago(days: u64) -> String {
    match days {
        0 => "less than a day ago".to_owned(),
        1 => "1 day ago".to_owned(),
        _ => format!("{days} days ago"),
    }
}

/// Whether it is a line of an `.env` file or a text in quotes, which no key is.
fn has_name_or_quotes(text: &str) -> bool {
    let quotes = ['"', '\'', '`'];
    let after_name = text.split_once(['=', ':']).is_some_and(|(_, rest)| {
        let rest = rest.trim_start();
        rest.starts_with("eyJ") || rest.starts_with("sb_")
    });
    text.starts_with(quotes) || text.ends_with(quotes) || after_name
}

/// The shortest piece of a secret that is taken out of a text. It is at least twice a block, so that each piece has a
/// whole block of the text in it.
const PIECE: usize = 16;
const BLOCK: usize = 8;

/// A text without a secret and its pieces: pages may cut it. The secret is ASCII, so all cuts are between characters.
pub(super) fn redact(secret: &str, text: &str) -> String {
    let text = text.replace(secret, "[redacted]");
    let (secret, bytes) = (secret.as_bytes(), text.as_bytes());
    let blocks: HashSet<_> = secret.windows(BLOCK).collect();
    let (mut redacted, mut done, mut at) = (String::new(), 0, 0);
    while let Some(block) = bytes.get(at..at + BLOCK) {
        let piece = blocks
            .contains(block)
            .then(|| longest_piece(secret, bytes, at, done));
        match piece {
            Some((start, end)) if end - start >= PIECE => {
                redacted += &text[done..start];
                redacted += "[redacted]";
                done = end;
                at = end.next_multiple_of(BLOCK);
            }
            _ => at += BLOCK,
        }
    }
    redacted + &text[done..]
}

/// Where the longest piece of a secret is that has this block of a text in it and begins at or after `from`.
fn longest_piece(secret: &[u8], text: &[u8], block: usize, from: usize) -> (usize, usize) {
    let same = |a: &u8, b: &u8| a == b;
    let pieces = (0..=secret.len() - BLOCK)
        .filter(|at| secret[*at..].starts_with(&text[block..block + BLOCK]))
        .map(|at| {
            let before = text[from..block]
                .iter()
                .rev()
                .zip(secret[..at].iter().rev());
            let before = before.take_while(|(a, b)| same(a, b)).count();
            let after = text[block..].iter().zip(&secret[at..]);
            let after = after.take_while(|(a, b)| same(a, b)).count();
            (block - before, block + after)
        });
    pieces
        .max_by_key(|(start, end)| end - start)
        .unwrap_or((block, block))
}

#[derive(Deserialize)]
struct Claims {
    role: Option<String>,
    exp: Option<f64>,
}

/// Looks into the token without checking its signature, which only the server can. Returns when it
/// expires.
fn check_jwt(text: &str, now: SystemTime) -> Result<Option<Timestamp>, KeyError> {
    let parts: Vec<_> = text.split('.').collect();
    let [header, payload, _] = parts[..] else {
        return Err(KeyError::NotAKey);
    };
    let decoded = |part: &str| {
        let part = part.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(part).map_err(|_| KeyError::NotAKey)
    };
    let _: serde::de::IgnoredAny =
        serde_json::from_slice(&decoded(header)?).map_err(|_| KeyError::NotAKey)?;
    let payload = decoded(payload)?;
    let claims: Claims = serde_json::from_slice(&payload).map_err(|_| KeyError::NotAKey)?;
    match claims.role {
        Some(role) if role == "service_role" => {}
        Some(role) => return Err(KeyError::OtherRole { role: shown(&role) }),
        None => return Err(KeyError::NotAKey),
    }
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    match claims.exp {
        Some(exp) if exp <= now => Err(KeyError::Expired {
            days: ((now - exp) / 86_400.0) as u64,
        }),
        exp => Ok(exp.and_then(|exp| Timestamp::from_second(exp as i64).ok())),
    }
}

/// A role's name as it may be printed: it comes out of a text that anyone may have made.
fn shown(role: &str) -> String {
    role.chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(32)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn jwt(claims: &str) -> String {
        format!(
            "eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl",
            URL_SAFE_NO_PAD.encode(claims)
        )
    }

    fn problem(text: &str) -> Option<KeyError> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        ServiceKey::checked_at(text, at).err()
    }

    #[test]
    fn the_keys_of_the_service_role_are_taken() {
        assert_eq!(problem("sb_secret_N7UND0UgjKTVK-Uodkm0Hg_xSvEMPvz"), None);
        assert_eq!(
            problem(&jwt(
                r#"{"role":"service_role","iss":"supabase","exp":1900000000}"#
            )),
            None
        );
        assert_eq!(problem(&jwt(r#"{"role":"service_role"}"#)), None);
    }

    #[test]
    fn other_keys_are_refused_by_what_they_are() {
        let role = |role: &str| {
            Some(KeyError::OtherRole {
                role: role.to_owned(),
            })
        };
        assert_eq!(
            problem("sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH"),
            role("publishable")
        );
        assert_eq!(problem(&jwt(r#"{"role":"anon"}"#)), role("anon"));
        assert_eq!(
            problem(&jwt(r#"{"role":"authenticated"}"#)),
            role("authenticated")
        );
        assert_eq!(problem("sbp_0102030405"), Some(KeyError::AccessToken));
        assert_eq!(problem(""), Some(KeyError::Empty));
        assert_eq!(problem("sb_secret_a\nb"), Some(KeyError::LineBreak));
        assert_eq!(problem("sb_secret_a\r\n"), Some(KeyError::LineBreak));
        assert_eq!(problem("sb_secret_a b"), Some(KeyError::Character));
        assert_eq!(problem("sb_secret_ä"), Some(KeyError::Character));
        let token = jwt(r#"{"role":"service_role"}"#);
        for text in [
            &format!("SERVICE_ROLE_KEY={token}"),
            &format!("export SERVICE_ROLE_KEY={token}\n"),
            &format!("SERVICE_ROLE_KEY: {token}"),
            &format!("\"{token}\""),
            &format!("'{token}'"),
            &format!("KEY=\"{token}\""),
            "SERVICE_ROLE_KEY=sb_secret_a",
            "\"sb_secret_a\"",
        ] {
            assert_eq!(problem(text), Some(KeyError::NameOrQuotes), "{text}");
        }
        assert_eq!(problem(&format!("x{token}")), Some(KeyError::NotAKey));
        for text in [
            "hello",
            "a.b.c",
            "a.b",
            &jwt("[]"),
            &jwt("{}"),
            &jwt("{"),
            "..",
            "sb_secret_",
            "super-secret-jwt-token",
        ] {
            assert_eq!(problem(text), Some(KeyError::NotAKey), "{text}");
        }
    }

    #[test]
    fn an_expired_key_is_refused() {
        let expired = jwt(r#"{"role":"service_role","exp":1700000000}"#);
        assert_eq!(problem(&expired), Some(KeyError::Expired { days: 1_157 }));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = ServiceKey::new("sb_secret_hush").unwrap();
        assert_eq!(format!("{key:?}"), "[redacted]");
        assert_eq!(key.redact("no sb_secret_hush here"), "no [redacted] here");
    }

    #[test]
    fn a_long_piece_of_a_key_is_not_printed_either() {
        let text = jwt(r#"{"role":"service_role","iss":"supabase"}"#);
        let key = ServiceKey::new(&text).unwrap();
        for (before, after) in [
            ("", ""),
            ("é", "é"),
            ("apikey: ", "…"),
            ("1234567", "1234567"),
        ] {
            for (start, end) in [(0, 60), (1, 17), (20, 50), (text.len() - 16, text.len())] {
                let piece = &text[start..end];
                let shown = key.redact(&format!("{before}{piece}{after}{piece}{piece}"));
                assert_eq!(
                    shown,
                    format!("{before}[redacted]{after}[redacted][redacted]"),
                    "{piece}"
                );
            }
            let short = format!("{before}{}{after}", &text[2..17]);
            assert_eq!(key.redact(&short), short);
        }
        let page = "nothing of it in here, whatever it is called. ".repeat(100);
        assert_eq!(key.redact(&page), page);
        assert_eq!(key.redact(""), "");
    }

    #[test]
    fn only_a_legacy_key_goes_into_authorization() {
        assert_eq!(
            ServiceKey::new("sb_secret_hush").unwrap().authorization(),
            None
        );
        let legacy = jwt(r#"{"role":"service_role"}"#);
        assert_eq!(
            ServiceKey::new(&legacy).unwrap().authorization(),
            Some(format!("Bearer {legacy}"))
        );
    }
}
