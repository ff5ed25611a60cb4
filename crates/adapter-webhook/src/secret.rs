//! New signing secrets.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::WebhookSecret;
use domain::ports::Cause;

/// How random a secret is. Standard Webhooks asks for 24 to 64 bytes.
const SECRET_BYTES: usize = 32;

/// A secret of 32 random bytes: `whsec_` and their Base64.
pub fn new_secret() -> Result<WebhookSecret, Cause> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(Cause::new)?;
    Ok(WebhookSecret::new(format!("whsec_{}", BASE64_STANDARD.encode(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_32_random_bytes_in_base64() {
        let secret = new_secret().unwrap();
        let encoded = secret.expose().strip_prefix("whsec_").unwrap();
        assert_eq!(BASE64_STANDARD.decode(encoded).unwrap().len(), 32);
        assert_ne!(secret, new_secret().unwrap());
    }
}
