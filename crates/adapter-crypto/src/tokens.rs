//! Access tokens that name a user, and refresh tokens that name nothing.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::ports::{AccessToken, Cause, InvalidToken, Tokens};
use domain::{Holder, RefreshDigest, RefreshSecret, SignedUp, Timestamp, User, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::hs256;

/// Who issues our tokens (`iss`).
const ISSUER: &str = "boxoffice";

/// The longest token that is looked at. Ours have some 300 bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The random bytes of a refresh token.
const REFRESH_BYTES: usize = 32;

/// JSON web tokens signed with HMAC-SHA-256 (RFC 7519, RFC 7518 3.2).
///
/// | claim | on the wire | checked |
/// |---|---|---|
/// | `userId` | number, 1 to 2^53 − 1 | required |
/// | `sub` | the same as text | equal to `userId` if there is one |
/// | `iss` | `boxoffice` | required |
/// | `exp` | seconds since 1970 | required; the token ends at that instant, without leeway |
/// | `nbf` | never written | if there is one, the token begins at that instant |
/// | `accountCreatedAt` | RFC 3339, to the microsecond | if there is one, the token is for the account of that time only |
/// | `iat` | seconds since 1970 | without `accountCreatedAt`, the token is for an account made by that second |
/// | `email`, `role` | as at the time of issue | for clients: not read here |
///
/// Every other claim is ignored.
pub struct Hs256Tokens {
    signing: EncodingKey,
    /// The keys whose signatures are accepted, the present one first.
    accepted: Vec<DecodingKey>,
    validation: Validation,
    ttl_secs: u32,
}

impl Hs256Tokens {
    /// Signs with `secret`, for `ttl_secs`; accepts what `previous` signed as well.
    pub fn new(secret: &SecretString, previous: Option<&SecretString>, ttl_secs: u32) -> Result<Self, SecretTooShort> {
        hs256::install();
        let accepted = [Some(secret), previous].into_iter().flatten().map(decoding_key).collect::<Result<_, _>>()?;
        let mut validation = Validation::new(Algorithm::HS256);
        // The claims are checked in `Wire::holder`, against the clock of the caller.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self {
            signing: EncodingKey::from_secret(secret.expose_secret().as_bytes()),
            accepted,
            validation,
            ttl_secs,
        })
    }
}

impl Tokens for Hs256Tokens {
    fn issue(&self, user: &User, now: Timestamp) -> Result<AccessToken, Cause> {
        let iat = now.unix_secs();
        let issued = Issued {
            user_id: user.id.get(),
            sub: user.id.to_string(),
            email: user.email.as_str(),
            role: user.role.as_str(),
            iss: ISSUER,
            account_created_at: user.created_at.to_string(),
            iat,
            exp: iat + i64::from(self.ttl_secs),
        };
        let text = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &issued, &self.signing).map_err(Cause::new)?;
        Ok(AccessToken { text, ttl_secs: self.ttl_secs })
    }

    fn verify(&self, token: &str, now: Timestamp) -> Result<Holder, InvalidToken> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(InvalidToken);
        }
        self.accepted
            .iter()
            .find_map(|key| jsonwebtoken::decode::<Wire>(token, key, &self.validation).ok())
            // A header that must be understood (RFC 7515, 4.1.11) is one we do not understand.
            .filter(|signed| signed.header.crit.is_none())
            .and_then(|signed| signed.claims.holder(now))
            .ok_or(InvalidToken)
    }

    fn mint_refresh(&self) -> Result<RefreshSecret, Cause> {
        let mut bytes = [0; REFRESH_BYTES];
        getrandom::fill(&mut bytes).map_err(Cause::new)?;
        Ok(RefreshSecret::new(BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// SHA-256 needs no salt and no slowness here: what it hides are 256 random bits.
    fn digest_refresh(&self, secret: &str) -> RefreshDigest {
        RefreshDigest::new(Sha256::digest(secret).into())
    }
}

/// A signing secret that can be guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a signing secret must have at least {min} bytes, this one has {bytes}", min = hs256::MIN_KEY_BYTES)]
pub struct SecretTooShort {
    /// How many it has.
    pub bytes: usize,
}

fn decoding_key(secret: &SecretString) -> Result<DecodingKey, SecretTooShort> {
    let bytes = secret.expose_secret().as_bytes();
    if bytes.len() < hs256::MIN_KEY_BYTES {
        return Err(SecretTooShort { bytes: bytes.len() });
    }
    Ok(DecodingKey::from_secret(bytes))
}

/// What we write.
#[derive(Serialize)]
struct Issued<'a> {
    #[serde(rename = "userId")]
    user_id: u64,
    sub: String,
    email: &'a str,
    role: &'a str,
    iss: &'a str,
    #[serde(rename = "accountCreatedAt")]
    account_created_at: String,
    iat: i64,
    exp: i64,
}

/// What we read.
#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "userId")]
    user_id: u64,
    sub: Option<String>,
    iss: String,
    #[serde(rename = "accountCreatedAt")]
    account_created_at: Option<String>,
    iat: Option<f64>,
    exp: f64,
    nbf: Option<f64>,
}

impl Wire {
    /// The account, if the claims hold at `now`.
    fn holder(self, now: Timestamp) -> Option<Holder> {
        let user = UserId::new(self.user_id)?;
        let now = Duration::from_micros(u64::try_from(now.as_datetime().timestamp_micros()).ok()?);
        let valid = self.iss == ISSUER
            && self.sub.is_none_or(|sub| sub == user.to_string())
            && now < numeric_date(self.exp)?
            && self.nbf.map_or(Some(true), |nbf| Some(numeric_date(nbf)? <= now))?;
        let signed_up = match (self.account_created_at, self.iat) {
            (Some(instant), _) => SignedUp::At(Timestamp::parse(&instant).ok()?),
            // Earlier versions of the program wrote no more than that.
            (None, Some(iat)) => SignedUp::By { unix_secs: i64::try_from(numeric_date(iat)?.as_secs()).ok()? },
            (None, None) => SignedUp::Sometime,
        };
        valid.then_some(Holder { user, signed_up })
    }
}

/// A `NumericDate` (RFC 7519, 2): seconds since 1970, whole or not.
fn numeric_date(secs: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(secs).ok()
}

#[cfg(test)]
mod tests {
    use domain::sample::{self, at};
    use hmac::{Hmac, Mac};
    use sha2::{Sha384, Sha512};

    use super::*;

    const SECRET: &str = "a secret of thirty-two bytes....";
    const OTHER: &str = "quite another, with 32 bytes too";
    const NOW: &str = "2030-01-01T00:00:00Z";
    const NOW_SECS: i64 = 1_893_456_000;
    const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

    fn tokens() -> Hs256Tokens {
        Hs256Tokens::new(&SECRET.into(), None, 3600).unwrap()
    }

    fn now() -> Timestamp {
        at(NOW)
    }

    fn ada() -> User {
        User { role: domain::Role::Admin, created_at: now(), ..sample::user(17) }
    }

    fn part(json: &str) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }

    fn signed(header: &str, payload: &str, secret: &str) -> String {
        let message = format!("{}.{}", part(header), part(payload));
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&message).finalize();
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(mac.into_bytes()))
    }

    fn verdict(payload: &str) -> Result<u64, InvalidToken> {
        tokens().verify(&signed(HS256, payload, SECRET), now()).map(|holder| holder.user.get())
    }

    #[test]
    fn a_token_names_the_user_it_was_issued_to() {
        let token = tokens().issue(&ada(), now()).unwrap();
        assert_eq!(token.ttl_secs, 3600);
        let holder = Holder { user: ada().id, signed_up: SignedUp::At(ada().created_at) };
        assert_eq!(tokens().verify(&token.text, now()), Ok(holder));
    }

    #[test]
    fn the_claims_on_the_wire_are_those_that_clients_know() {
        let token = tokens().issue(&ada(), now()).unwrap().text;
        let parts: Vec<_> = token.split('.').take(2).map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(String::from_utf8_lossy(&parts[0]), r#"{"typ":"JWT","alg":"HS256"}"#);
        assert_eq!(
            String::from_utf8_lossy(&parts[1]),
            r#"{"userId":17,"sub":"17","email":"ada@example.com","role":"admin","iss":"boxoffice","accountCreatedAt":"2030-01-01T00:00:00Z","iat":1893456000,"exp":1893459600}"#
        );
    }

    #[test]
    fn a_token_says_when_its_account_was_made() {
        let signed_up = |claims: &str| {
            let exp = NOW_SECS + 1;
            let payload = format!(r#"{{"userId":17,"iss":"boxoffice","exp":{exp}{claims}}}"#);
            tokens().verify(&signed(HS256, &payload, SECRET), now()).map(|holder| holder.signed_up)
        };
        let made = at("2029-12-31T23:59:59.000001Z");
        assert_eq!(signed_up(r#","accountCreatedAt":"2029-12-31T23:59:59.000001Z","iat":7"#), Ok(SignedUp::At(made)));
        // As earlier versions of the program wrote it, and as others may.
        assert_eq!(signed_up(r#","iat":1893456000"#), Ok(SignedUp::By { unix_secs: 1_893_456_000 }));
        assert_eq!(signed_up(""), Ok(SignedUp::Sometime));
        for odd in [r#","accountCreatedAt":"x""#, r#","accountCreatedAt":7"#, r#","iat":-1"#] {
            assert_eq!(signed_up(odd), Err(InvalidToken), "{odd}");
        }
    }

    #[test]
    fn a_token_ends_to_the_second() {
        let token = tokens().issue(&ada(), now()).unwrap().text;
        assert!(tokens().verify(&token, at("2030-01-01T00:59:59.999999Z")).is_ok());
        assert!(tokens().verify(&token, at("2030-01-01T01:00:00Z")).is_err());
    }

    #[test]
    fn user_issuer_and_expiry_are_required() {
        let exp = NOW_SECS + 1;
        assert_eq!(verdict(&format!(r#"{{"userId":17,"iss":"boxoffice","exp":{exp}}}"#)), Ok(17));
        for payload in [
            format!(r#"{{"userId":17,"exp":{exp}}}"#),
            r#"{"userId":17,"iss":"boxoffice"}"#.to_owned(),
            format!(r#"{{"iss":"boxoffice","exp":{exp}}}"#),
            format!(r#"{{"userId":17,"iss":"elsewhere","exp":{exp}}}"#),
            format!(r#"{{"userId":17,"iss":["boxoffice"],"exp":{exp}}}"#),
            format!(r#"{{"userId":null,"iss":"boxoffice","exp":{exp}}}"#),
            r#"{"userId":17,"iss":"boxoffice","exp":null}"#.to_owned(),
            format!(r#"{{"userId":17,"iss":"boxoffice","exp":"{exp}"}}"#),
            format!(r#"{{"userId":17,"iss":"boxoffice","exp":{NOW_SECS}}}"#),
            r#"{"userId":17,"iss":"boxoffice","exp":-1}"#.to_owned(),
            r#"{"userId":17,"iss":"boxoffice","exp":1e400}"#.to_owned(),
            "[]".to_owned(),
            String::new(),
        ] {
            assert_eq!(verdict(&payload), Err(InvalidToken), "{payload}");
        }
    }

    #[test]
    fn only_an_id_is_a_user() {
        let with = |user: &str| verdict(&format!(r#"{{"userId":{user},"iss":"boxoffice","exp":2000000000}}"#));
        assert_eq!(with("9007199254740991"), Ok(9_007_199_254_740_991));
        for user in
            ["\"17\"", "0", "-1", "17.5", "9007199254740992", "18446744073709551616", "1e30", "true", "[17]", "{}"]
        {
            assert_eq!(with(user), Err(InvalidToken), "{user}");
        }
    }

    #[test]
    fn a_subject_is_missing_or_the_user_id() {
        let with = |sub: &str| verdict(&format!(r#"{{"userId":17,"sub":{sub},"iss":"boxoffice","exp":2000000000}}"#));
        assert_eq!(with("\"17\""), Ok(17));
        assert_eq!(with("null"), Ok(17));
        for sub in ["\"18\"", "\"017\"", "\"\"", "17"] {
            assert_eq!(with(sub), Err(InvalidToken), "{sub}");
        }
    }

    #[test]
    fn a_token_that_is_not_valid_yet_is_not_valid() {
        let with = |nbf: i64| verdict(&format!(r#"{{"userId":17,"iss":"boxoffice","exp":2000000000,"nbf":{nbf}}}"#));
        assert_eq!(with(NOW_SECS), Ok(17));
        assert_eq!(with(NOW_SECS + 1), Err(InvalidToken));
        assert_eq!(with(-1), Err(InvalidToken));
    }

    #[test]
    fn ignored_claims_may_have_any_value() {
        let token = signed(
            HS256,
            r#"{"userId":17,"iss":"boxoffice","exp":2000000000.5,"role":"owner","email":"nowhere","aud":["x"],"é":{}}"#,
            SECRET,
        );
        assert_eq!(tokens().verify(&token, now()).map(|holder| holder.user), Ok(ada().id));
    }

    #[test]
    fn a_claim_that_is_there_twice_is_none() {
        assert!(verdict(r#"{"userId":17,"userId":1,"iss":"boxoffice","exp":2000000000}"#).is_err());
    }

    #[test]
    fn only_hs256_is_accepted() {
        let payload = r#"{"userId":17,"iss":"boxoffice","exp":2000000000}"#;
        for alg in ["none", "None", "HS384", "HS512", "RS256", "ES256", "EdDSA", "hs256", ""] {
            let header = format!(r#"{{"alg":"{alg}","typ":"JWT"}}"#);
            let message = format!("{}.{}", part(&header), part(payload));
            let key = SECRET.as_bytes();
            let signatures = [
                String::new(),
                signed(&header, payload, SECRET).rsplit('.').next().unwrap().to_owned(),
                BASE64_URL_SAFE_NO_PAD.encode(
                    Hmac::<Sha384>::new_from_slice(key).unwrap().chain_update(&message).finalize().into_bytes(),
                ),
                BASE64_URL_SAFE_NO_PAD.encode(
                    Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(&message).finalize().into_bytes(),
                ),
            ];
            for signature in signatures {
                assert!(tokens().verify(&format!("{message}.{signature}"), now()).is_err(), "{alg} {signature}");
            }
        }
        assert!(tokens().verify(&signed(r#"{"typ":"JWT"}"#, payload, SECRET), now()).is_err());
        let critical = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
        assert!(tokens().verify(&signed(critical, payload, SECRET), now()).is_err());
    }

    #[test]
    fn a_previous_secret_is_accepted_but_never_signed_with() {
        let old = tokens();
        let rotated = Hs256Tokens::new(&OTHER.into(), Some(&SECRET.into()), 3600).unwrap();
        let from_before = old.issue(&ada(), now()).unwrap().text;
        assert!(rotated.verify(&from_before, now()).is_ok());
        let fresh = rotated.issue(&ada(), now()).unwrap().text;
        assert!(old.verify(&fresh, now()).is_err());
        let forgotten = Hs256Tokens::new(&OTHER.into(), None, 3600).unwrap();
        assert!(forgotten.verify(&fresh, now()).is_ok());
        assert!(forgotten.verify(&from_before, now()).is_err());
    }

    #[test]
    fn a_tampered_token_is_refused() {
        let token = tokens().issue(&ada(), now()).unwrap().text;
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[1] = part(r#"{"userId":1,"iss":"boxoffice","exp":2000000000}"#);
        assert!(tokens().verify(&parts.join("."), now()).is_err());
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(tokens().verify(&changed, now()).is_err(), "changed at {at}");
        }
    }

    #[test]
    fn text_that_is_no_token_is_refused() {
        let token = tokens().issue(&ada(), now()).unwrap().text;
        for garbage in [
            "",
            ".",
            "..",
            "...",
            "garbage",
            "a.b.c",
            "é.ü.漢",
            "\0.\0.\0",
            &format!(" {token}"),
            &format!("{token} "),
            &format!("{token}="),
            &format!("{token}.x"),
            &token[..token.len() - 1],
            &"x".repeat(100_000),
            &format!("{}.{}.{}", "a".repeat(3000), "b".repeat(3000), "c".repeat(3000)),
        ] {
            assert!(tokens().verify(garbage, now()).is_err(), "{garbage:.40}");
        }
    }

    #[test]
    fn a_short_secret_is_refused_with_its_length() {
        let refused = Hs256Tokens::new(&"31 bytes are one byte too few..".into(), None, 1).err();
        assert_eq!(refused.unwrap().to_string(), "a signing secret must have at least 32 bytes, this one has 31");
        assert!(Hs256Tokens::new(&SECRET.into(), Some(&"short".into()), 1).is_err());
    }

    #[test]
    fn a_refresh_token_is_256_random_bits_kept_as_their_digest() {
        let (one, other) = (tokens().mint_refresh().unwrap(), tokens().mint_refresh().unwrap());
        assert_ne!(one, other);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(one.expose()).unwrap().len(), 32);
        assert_eq!(tokens().digest_refresh(one.expose()), tokens().digest_refresh(one.expose()));
        // FIPS 180-2, B.1.
        assert_eq!(tokens().digest_refresh("abc").as_bytes()[..4], [0xba, 0x78, 0x16, 0xbf]);
    }
}
