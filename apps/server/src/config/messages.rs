//! Where messages go.

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::channel::CredentialSource;

/// Where messages go; nowhere unless said, so that they can only be read.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct MessagesSettings {
    /// The address that each is posted to (`https://…`).
    pub(crate) url: Option<String>,
    /// What they are signed with, as `env:NAME` or `file:/path`; never written here.
    pub(crate) secret: Option<CredentialSource>,
}

impl MessagesSettings {
    /// The address and the secret, read now; `None` where nothing is sent.
    pub(crate) fn receiver(&self) -> Result<Option<(&str, SecretString)>, String> {
        match (&self.url, &self.secret) {
            (None, None) => Ok(None),
            (Some(url), Some(source)) => {
                let secret = source
                    .read()
                    .map_err(|why| format!("messages.secret: {why}"))?;
                Ok(Some((url, secret)))
            }
            (Some(_), None) => Err("messages.url needs messages.secret, which its receiver \
                                    verifies them with: env:NAME or file:/path"
                .to_owned()),
            (None, Some(_)) => Err("messages.secret is for messages.url; give that".to_owned()),
        }
    }

    /// What is wrong with it, without reading the secret.
    pub(super) fn fault(&self) -> Option<String> {
        let url = self.url.as_deref();
        let is_http = |url: &str| url.starts_with("http://") || url.starts_with("https://");
        if url.is_some_and(|url| !is_http(url)) {
            return Some("messages.url must be an http:// or https:// address".to_owned());
        }
        match (url, &self.secret) {
            (Some(_), Some(_)) | (None, None) => None,
            (Some(_), None) | (None, Some(_)) => self.receiver().err(),
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn read(text: &str) -> MessagesSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn both_are_given_or_none() {
        assert_eq!(read("").fault(), None);
        assert!(read("").receiver().unwrap().is_none());
        for (text, named) in [
            ("url = \"https://x/y\"", "needs messages.secret"),
            ("secret = \"env:X\"", "is for messages.url"),
            (
                "url = \"ftp://x\"\nsecret = \"env:X\"",
                "http:// or https://",
            ),
        ] {
            let fault = read(text).fault().unwrap();
            assert!(fault.contains(named), "{text}: {fault}");
        }
        assert!(toml::from_str::<MessagesSettings>("secret = \"whsec_plain\"").is_err());
    }

    #[test]
    fn the_secret_is_read_from_where_it_is() {
        let file = std::env::temp_dir().join(format!("messages-secret-{}", std::process::id()));
        std::fs::write(&file, "whsec_1\n").unwrap();
        let text = format!(
            "url = \"https://x/y\"\nsecret = \"file:{}\"",
            file.display()
        );
        let settings = read(&text);
        let (url, secret) = settings.receiver().unwrap().unwrap();
        assert_eq!((url, secret.expose_secret()), ("https://x/y", "whsec_1"));
        std::fs::remove_file(&file).unwrap();
        let gone = settings.receiver().map(|_| ()).unwrap_err();
        assert!(gone.contains("messages.secret: cannot read"), "{gone}");
    }
}
