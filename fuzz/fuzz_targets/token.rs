//! An access token: any text, and any header and claims with a signature that holds.

#![no_main]

use std::sync::LazyLock;

use adapter_crypto::Hs256Tokens;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use domain::Timestamp;
use domain::ports::Tokens;
use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

const SECRET: &str = "a secret of the fuzzer, 32 bytes or more";

static TOKENS: LazyLock<Hs256Tokens> =
    LazyLock::new(|| Hs256Tokens::new(&SECRET.into(), None, 60).expect("the secret is long enough"));

static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::parse("2030-01-01T00:00:00Z").expect("an instant"));

fuzz_target!(|text: &str| {
    assert!(TOKENS.verify(text, *NOW).is_err(), "nobody guesses a signature");

    let (header, claims) = text.split_once('.').unwrap_or((r#"{"alg":"HS256","typ":"JWT"}"#, text));
    let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    let token = format!("{signed}.{}", BASE64.encode(mac.finalize().into_bytes()));
    if TOKENS.verify(&token, *NOW).is_ok() {
        assert!(header.contains("HS256") && claims.contains("userId") && claims.contains("exp"), "{header} {claims}");
    }
});
