//! HS256 for jsonwebtoken, over `hmac` and `sha2`. Why not one of its own crypto suites:
//! `docs/adr/0003-hs256-without-a-crypto-suite.md`.

use hmac::{Hmac, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use sha2::Sha256;
use signature::{Error as SignatureError, Signer, Verifier};

/// The least length of a key: that of the hash (RFC 7518, 3.2).
pub(crate) const MIN_KEY_BYTES: usize = 32;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key: &EncodingKey| {
        Ok(Box::new(Hs256Signer(keyed(*algorithm, key.as_bytes())?)) as Box<dyn JwtSigner>)
    },
    verifier_factory: |algorithm, key: &DecodingKey| {
        Ok(Box::new(Hs256Verifier(keyed(*algorithm, key.try_get_as_bytes()?)?)) as Box<dyn JwtVerifier>)
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this provider the one of the process. Every call but the first changes nothing.
pub(crate) fn install() {
    // The error says that there is a provider already: ours, from an earlier call.
    let _ = PROVIDER.install_default();
}

struct Hs256Signer(Hmac<Sha256>);

impl Signer<Vec<u8>> for Hs256Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl JwtSigner for Hs256Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

struct Hs256Verifier(Hmac<Sha256>);

impl Verifier<Vec<u8>> for Hs256Verifier {
    /// Compares in constant time.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), SignatureError> {
        self.0.clone().chain_update(message).verify_slice(signature).map_err(SignatureError::from_source)
    }
}

impl JwtVerifier for Hs256Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

fn keyed(algorithm: Algorithm, key: &[u8]) -> Result<Hmac<Sha256>> {
    if algorithm != Algorithm::HS256 {
        return Err(ErrorKind::UnsupportedAlgorithm.into());
    }
    if key.len() < MIN_KEY_BYTES {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat.into())
}
