//! Messages to an address of the operator: posted as JSON and signed.

use std::fmt::{self, Write};
use std::time::Duration;

use async_trait::async_trait;
use billing_core::port::messages::{Courier, CourierError, Letter};
use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};

use super::dial::{self, Dialer};
use super::line::Preamble;
use super::pool::{Pool, Target};
use super::{TransportError, host, reason, without_user};

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Which message it is: the same however often it comes.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// `t=` the second of sending, `v1=` HMAC-SHA256 of `t.body` in hexadecimal.
const SIGNATURE: HeaderName = HeaderName::from_static("tollgate-signature");

/// An address that takes messages.
pub struct Webhook {
    pool: Pool,
    address: Uri,
    host: HeaderValue,
    secret: SecretString,
}

impl fmt::Debug for Webhook {
    // The address may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.host();
        f.debug_struct("Webhook")
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

impl Webhook {
    /// Posts to an address (`http://` or `https://`) and signs with a secret.
    ///
    /// # Errors
    /// [`TransportError`].
    pub fn new(address: &str, secret: SecretString) -> Result<Self, TransportError> {
        let refused = || TransportError::BaseUrl(without_user(address).to_owned());
        let uri: Uri = address.parse().map_err(|_| refused())?;
        let tls = match (uri.scheme_str(), uri.host()) {
            (Some("http"), Some(_)) => dial::no_tls()?,
            (Some("https"), Some(_)) => dial::tls(None)?,
            _ => return Err(refused()),
        };
        if address.contains('@') {
            return Err(refused());
        }
        Ok(Self {
            pool: Pool::new(Dialer::new(uri.clone(), tls, PATIENCE)),
            host: host(&uri)?,
            address: uri,
            secret,
        })
    }

    /// The header that proves where a body comes from, and when it was sent.
    fn signature(&self, letter: &Letter) -> String {
        let sent = letter.at.unix_timestamp().to_string();
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.expose_secret().as_bytes());
        let mut signing = hmac::Context::with_key(&key);
        signing.update(sent.as_bytes());
        signing.update(b".");
        signing.update(&letter.body);
        let mut header = format!("t={sent},v1=");
        for byte in signing.sign().as_ref() {
            // Writing to a text never fails.
            let _ = write!(header, "{byte:02x}");
        }
        header
    }

    async fn post(&self, letter: &Letter) -> Result<(), CourierError> {
        let plain = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| CourierError::Away(error.to_string()))
        };
        let mut headers = HeaderMap::new();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(IDEMPOTENCY_KEY, plain(&letter.id.to_string())?);
        headers.insert(SIGNATURE, plain(&self.signature(letter))?);
        let path = self.address.path_and_query();
        let target = Target {
            preamble: Preamble::new(
                &Method::POST,
                path.map_or("/", |path| path.as_str()),
                &headers,
            ),
            method: Method::POST,
            whole: self.address.clone(),
        };
        let body = Bytes::from(letter.body.clone());
        let reply = self.pool.request(&target, &headers, &body).await;
        let reply = reply.map_err(|error| CourierError::Away(reason(&*error)))?;
        let status = reply.status();
        if status.is_success() {
            return Ok(());
        }
        Err(CourierError::Refused(status.as_u16()))
    }
}

#[async_trait]
impl Courier for Webhook {
    async fn hand_over(&self, letter: &Letter) -> Result<(), CourierError> {
        match tokio::time::timeout(PATIENCE, self.post(letter)).await {
            Ok(came_of_it) => came_of_it,
            Err(_) => Err(CourierError::Away("it does not answer in time".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use billing_core::id::MessageId;
    use time::OffsetDateTime;

    use super::*;

    fn letter() -> Letter {
        Letter {
            id: MessageId::new(1),
            body: b"{\"id\":\"msg_1\"}".to_vec(),
            at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    /// The figure is that of `printf '0.{"id":"msg_1"}' | openssl dgst -sha256 -hmac whsec_test`.
    #[test]
    fn a_body_is_signed_with_its_time() {
        let secret = SecretString::from("whsec_test".to_owned());
        let hook = Webhook::new("http://127.0.0.1:9/hook?token=t0p", secret).unwrap();
        let signature = hook.signature(&letter());
        let figure = "42868011df8f67fcc546d93c122acf99edeed99b7942e18ccb2ccfa21af28fb9";
        assert_eq!(signature, format!("t=0,v1={figure}"));
        let later = Letter {
            at: OffsetDateTime::UNIX_EPOCH + time::Duration::SECOND,
            ..letter()
        };
        assert_ne!(hook.signature(&later)[4..], signature[4..]);
        let shown = format!("{hook:?}");
        assert!(
            !shown.contains("whsec_test") && !shown.contains("t0p"),
            "{shown}"
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_secret_part() {
        for wrong in ["ftp://x/y", "hook", "http://", "https://user:pass@x/hook"] {
            let secret = SecretString::from("s".to_owned());
            let error = Webhook::new(wrong, secret).unwrap_err().to_string();
            assert!(!error.contains("pass"), "{error}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_told_from_a_refusal() {
        let secret = SecretString::from("s".to_owned());
        let hook = Webhook::new("http://127.0.0.1:1/hook", secret).unwrap();
        let error = hook.hand_over(&letter()).await.unwrap_err();
        assert!(matches!(error, CourierError::Away(_)), "{error}");
    }
}
