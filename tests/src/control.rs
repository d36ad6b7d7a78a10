//! An operator at the control API.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::Failure;
use crate::figure::{nanos, text};
use crate::gate::{Credentials, Gate};

/// An operator who is signed in.
#[derive(Debug, Clone)]
pub struct Control {
    client: Client,
    origin: String,
}

/// A key, as it is shown once.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// The secret.
    pub secret: String,
}

impl Control {
    /// Signs in at a gate with the operator's password.
    ///
    /// # Errors
    /// It was refused.
    pub async fn sign_in(gate: &Gate) -> Result<Self, Failure> {
        Self::sign_in_at(gate.origin(), gate.credentials()).await
    }

    /// Signs in at an address with the operator's password.
    ///
    /// # Errors
    /// It was refused.
    pub async fn sign_in_at(origin: &str, credentials: &Credentials) -> Result<Self, Failure> {
        let client = Client::builder()
            .no_proxy()
            .cookie_store(true)
            .timeout(Duration::from_mins(1))
            // The server closes what was idle for five seconds, and no request must meet that.
            .pool_idle_timeout(Duration::from_secs(2))
            .build()?;
        let control = Self {
            client,
            origin: origin.to_owned(),
        };
        let (email, password) = (&credentials.operator_email, &credentials.operator_password);
        control
            .send(
                "session",
                None,
                &json!({ "email": email, "password": password }),
            )
            .await?;
        Ok(control)
    }

    /// Creates an account in US dollars.
    ///
    /// # Errors
    /// It was refused.
    pub async fn create_account(&self, name: &str) -> Result<String, Failure> {
        let made = self
            .send(
                "accounts",
                None,
                &json!({ "name": name, "currency": "USD" }),
            )
            .await?;
        id_of(&made)
    }

    /// Creates a key of an account; `fields` beside its name.
    ///
    /// # Errors
    /// It was refused.
    pub async fn create_key(
        &self,
        account: &str,
        name: &str,
        fields: Value,
    ) -> Result<Key, Failure> {
        let mut body = fields;
        body["name"] = json!(name);
        let made = self
            .send(&format!("accounts/{account}/keys"), None, &body)
            .await?;
        let secret = made["secret"]
            .as_str()
            .ok_or("a new key without its secret")?;
        // The key stands beside its secret, or around it.
        let id = id_of(&made).or_else(|_| id_of(&made["key"]))?;
        Ok(Key {
            id,
            secret: secret.to_owned(),
        })
    }

    /// Creates an account with so much money and a key.
    ///
    /// # Errors
    /// It was refused.
    pub async fn funded(&self, name: &str, nanos: i128) -> Result<(String, Key), Failure> {
        let account = self.create_account(name).await?;
        if nanos > 0 {
            self.top_up(&account, nanos, &format!("funds-of-{name}"))
                .await?;
        }
        let key = self.create_key(&account, name, json!({})).await?;
        Ok((account, key))
    }

    /// Adds funds; once, however often it is said under one idempotency key.
    ///
    /// # Errors
    /// It was refused, or no answer came.
    pub async fn top_up(&self, account: &str, nanos: i128, key: &str) -> Result<(), Failure> {
        let amount = json!({ "amount": text(nanos), "currency": "USD" });
        let body = json!({ "amount": amount, "kind": "paid", "note": "acceptance" });
        self.send(&format!("accounts/{account}/top-ups"), Some(key), &body)
            .await
            .map(drop)
    }

    /// The wallet's balance in nanos.
    ///
    /// # Errors
    /// It was refused, or holds no balance.
    pub async fn balance(&self, account: &str) -> Result<i128, Failure> {
        let wallet = self.get(&format!("accounts/{account}/wallet")).await?;
        nanos(&wallet["balance"])
    }

    /// Every call of an account, newest first.
    ///
    /// # Errors
    /// It was refused.
    pub async fn calls(&self, account: &str) -> Result<Vec<Value>, Failure> {
        self.all(&format!("accounts/{account}/calls")).await
    }

    /// The newest calls of an account.
    ///
    /// # Errors
    /// It was refused.
    pub async fn newest_calls(&self, account: &str, limit: u32) -> Result<Vec<Value>, Failure> {
        let mut page = self
            .get(&format!("accounts/{account}/calls?limit={limit}"))
            .await?;
        list_of(page["data"].take())
    }

    /// One call of an account; `None` when it is not on record.
    ///
    /// # Errors
    /// It was refused.
    pub async fn call(&self, account: &str, id: &str) -> Result<Option<Value>, Failure> {
        let path = format!("accounts/{account}/calls/{id}");
        let (status, body) = self.ask(Method::GET, &path, None, None).await?;
        match status {
            200 => Ok(Some(body)),
            404 => Ok(None),
            _ => Err(format!("GET {path}: {status} {body}").into()),
        }
    }

    /// The usage of an account in the last weeks, grouped.
    ///
    /// # Errors
    /// It was refused.
    pub async fn usage(&self, account: &str, group: &str) -> Result<Vec<Value>, Failure> {
        let path = format!("accounts/{account}/usage?group_by={group}");
        let mut usage = self.get(&path).await?;
        list_of(usage["data"].take())
    }

    /// Every transaction of an account's journal, newest first.
    ///
    /// # Errors
    /// It was refused.
    pub async fn ledger(&self, account: &str) -> Result<Vec<Value>, Failure> {
        self.all(&format!("accounts/{account}/ledger")).await
    }

    /// Every page of a list.
    async fn all(&self, path: &str) -> Result<Vec<Value>, Failure> {
        let mut list = Vec::new();
        let mut cursor = String::new();
        loop {
            let mut page = self.get(&format!("{path}?limit=100{cursor}")).await?;
            list.extend(list_of(page["data"].take())?);
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(list),
            }
        }
    }

    /// Reads a resource below `/api/v1/`.
    ///
    /// # Errors
    /// It was refused.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        match self.ask(Method::GET, path, None, None).await? {
            (200, body) => Ok(body),
            (status, body) => Err(format!("GET {path}: {status} {body}").into()),
        }
    }

    /// Reads a file below `/api/v1/`.
    ///
    /// # Errors
    /// It was refused.
    pub async fn file(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let asked = self.client.get(format!("{}/api/v1/{path}", self.origin));
        let answer = asked.send().await?.error_for_status()?;
        Ok(answer.bytes().await?.to_vec())
    }

    /// Posts a body below `/api/v1/`.
    ///
    /// # Errors
    /// It was refused.
    pub async fn send(
        &self,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Result<Value, Failure> {
        match self.ask(Method::POST, path, key, Some(body)).await? {
            (200..=299, body) => Ok(body),
            (status, said) => Err(format!("POST {path} {body}: {status} {said}").into()),
        }
    }

    /// Sends a request below `/api/v1/`, and gives status and body of whatever is said.
    ///
    /// # Errors
    /// No answer came.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Failure> {
        let mut request = self
            .client
            .request(method, format!("{}/api/v1/{path}", self.origin));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await?;
        let status = response.status().as_u16();
        let text = response.text().await?;
        Ok((
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        ))
    }
}

/// An id that stands in a resource.
///
/// # Errors
/// There is none.
pub fn id_of(resource: &Value) -> Result<String, Failure> {
    let id = resource["id"]
        .as_str()
        .ok_or_else(|| format!("no id in {resource}"))?;
    Ok(id.to_owned())
}

fn list_of(value: Value) -> Result<Vec<Value>, Failure> {
    if let Value::Array(list) = value {
        Ok(list)
    } else {
        Err(format!("no list: {value}").into())
    }
}
