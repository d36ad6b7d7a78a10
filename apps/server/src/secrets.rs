//! Secrets: how they are made, and what is kept of them.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use billing_core::port::directory::SecretHash;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Characters of a secret; 62 of them, so 43 characters hold 256 bits.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const LENGTH: usize = 43;
/// What every API key begins with.
pub(crate) const KEY_PREFIX: &str = "sk-tg-";
/// How much of a key is kept to recognize it by.
const VISIBLE: usize = KEY_PREFIX.len() + 6;

/// A secret could not be made or checked.
#[derive(Debug, Error)]
pub(crate) enum SecretError {
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    NoEntropy,
    /// The password could not be hashed, or the stored hash not be read.
    #[error("the password cannot be hashed")]
    Hash,
}

/// A new API key. It is shown once and never kept.
pub(crate) fn new_api_key() -> Result<String, SecretError> {
    Ok(format!("{KEY_PREFIX}{}", random_text()?))
}

/// A new session secret.
pub(crate) fn new_session() -> Result<String, SecretError> {
    random_text()
}

/// A new password, for accounts that are made by machine.
pub(crate) fn new_password() -> Result<String, SecretError> {
    Ok(random_text()?.chars().take(20).collect())
}

/// The part of a key that lists may show.
pub(crate) fn visible_prefix(key: &str) -> String {
    key.chars().take(VISIBLE).collect()
}

/// What is kept of a key or session secret. They are random, so a plain hash is enough.
pub(crate) fn hash(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret.as_bytes()).into())
}

/// The argon2id hash of a password. Takes some ten milliseconds: not for an async thread.
pub(crate) fn hash_password(password: &str) -> Result<String, SecretError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|h| h.to_string()).map_err(|_| SecretError::Hash)
}

/// Whether a password is the one that was hashed. As slow as hashing.
pub(crate) fn is_password(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| {
        Argon2::default()
            .verify_password(password.as_bytes(), &hash)
            .is_ok()
    })
}

fn random_text() -> Result<String, SecretError> {
    // 6 bits a character, those past 61 thrown away: every character is equally likely.
    let mut text = String::with_capacity(LENGTH);
    while text.len() < LENGTH {
        let mut bytes = [0_u8; 64];
        getrandom::fill(&mut bytes).map_err(|_| SecretError::NoEntropy)?;
        let drawn = bytes
            .iter()
            .filter_map(|b| ALPHABET.get(usize::from(b >> 2)));
        text.extend(drawn.take(LENGTH - text.len()).map(|b| char::from(*b)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_and_differ() {
        let (a, b) = (new_api_key().unwrap(), new_api_key().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), KEY_PREFIX.len() + LENGTH);
        assert!(a.starts_with(&visible_prefix(&a)) && visible_prefix(&a).len() == VISIBLE);
    }

    #[test]
    fn a_password_is_known_by_its_hash() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(is_password("correct horse", &hash));
        assert!(!is_password("wrong horse", &hash) && !is_password("", "no hash"));
    }
}
