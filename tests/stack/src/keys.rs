//! The keys of the stack: legacy keys are JWTs signed with the local CLI's
//! secret, new ones are opaque words that only the gateway understands.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};

/// What `supabase start` signs its keys with; every installation of the local
/// CLI has the same, so it protects nothing and may stand here.
pub const JWT_SECRET: &str = "super-secret-jwt-token-with-at-least-32-characters-long";

/// The new kind of service key. It goes into `apikey` alone and the gateway
/// puts the service role's JWT in its place.
pub const SECRET_KEY: &str = "sb_secret_ctx0_stack_not_a_secret";

const TEN_YEARS: i64 = 10 * 365 * 24 * 60 * 60;

/// A legacy key for `role`, valid for ten years.
pub(crate) fn key(role: &str) -> String {
    sign(role, TEN_YEARS)
}

/// A key for `role` that expired an hour ago, well past the 30 s of clock skew
/// that PostgREST forgives.
pub(crate) fn expired_key(role: &str) -> String {
    sign(role, -3600)
}

/// Whether the stack signed this key, whatever it says and however old it is:
/// a gateway compares keys and leaves their claims to PostgREST.
pub(crate) fn is_ours(key: &str) -> bool {
    claims(key).is_some()
}

/// Whether the stack signed this key for the service role.
pub(crate) fn is_service(key: &str) -> bool {
    claims(key).is_some_and(|claims| claims["role"] == "service_role")
}

fn claims(key: &str) -> Option<Value> {
    let mut validation = Validation::default();
    validation.validate_exp = false;
    validation.required_spec_claims.clear();
    let secret = DecodingKey::from_secret(JWT_SECRET.as_bytes());
    let token = jsonwebtoken::decode::<Value>(key, &secret, &validation).ok()?;
    Some(token.claims)
}

fn sign(role: &str, lifetime: i64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs().cast_signed());
    let claims = json!({
        "iss": "supabase",
        "role": role,
        "iat": now.min(now + lifetime),
        "exp": now + lifetime,
    });
    let secret = EncodingKey::from_secret(JWT_SECRET.as_bytes());
    // Serialising four plain claims and taking an HMAC has no way to fail.
    jsonwebtoken::encode(&Header::default(), &claims, &secret).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_knows_its_own_keys_even_when_expired() {
        assert!(is_ours(&key("service_role")));
        assert!(is_ours(&expired_key("service_role")));
    }

    #[test]
    fn a_key_signed_elsewhere_is_not_ours() {
        let elsewhere = jsonwebtoken::encode(
            &Header::default(),
            &json!({"role": "service_role"}),
            &EncodingKey::from_secret(b"another secret"),
        );
        assert!(!is_ours(&elsewhere.unwrap()));
        assert!(!is_ours("nonsense"));
    }
}
