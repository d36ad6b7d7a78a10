//! The calls of a demo's past: through the gate, and answered by the simulated upstream.

use std::sync::Arc;
use std::time::Instant;

use actix_web::web::Bytes;
use billing_core::id::CallId;
use gateway_core::endpoint::Endpoint;
use gateway_core::route::scramble;
use serde_json::json;
use tokio::sync::oneshot;

use super::customers::Customer;
use crate::cli::CliError;
use crate::gate::Upstreams;
use crate::gate::admit::Incoming;
use crate::gate::deliver::Delivery;
use crate::secrets;
use crate::wiring::House;

/// Models and how many tokens their answers have at most; the first are called most often.
const MODELS: [(&str, u64); 4] = [
    ("sim/lorem", 400),
    ("sim/lorem", 120),
    ("sim/echo", 60),
    ("sim/lorem", 1_200),
];

/// Who calls, with the connections of one worker.
pub(super) struct Callers {
    upstreams: Arc<Upstreams>,
    /// Every demo draws the same.
    random: u64,
}

impl Callers {
    pub(super) fn of(house: &House) -> Result<Self, CliError> {
        Ok(Self {
            upstreams: Arc::new(house.upstreams()?),
            random: 20_260_822,
        })
    }

    /// Makes the calls that fall into one of a day's hours, all at once.
    pub(super) async fn call(
        &mut self,
        house: &House,
        customers: &[Customer],
        day: u16,
    ) -> Result<(), CliError> {
        let mut calls = Vec::new();
        for customer in customers {
            for _ in 0..self.up_to(customer.calls_on(day)) {
                let key = self.up_to(customer.keys.len().saturating_sub(1));
                let Some(secret) = customer.keys.get(key) else {
                    continue;
                };
                calls.push(one(
                    house,
                    Arc::clone(&self.upstreams),
                    secret.clone(),
                    self.body(),
                ));
            }
        }
        for called in futures_util::future::join_all(calls).await {
            called?;
        }
        Ok(())
    }

    fn body(&mut self) -> Bytes {
        let (model, most) = MODELS
            .get(self.up_to(MODELS.len().saturating_sub(1)))
            .copied()
            .unwrap_or(("sim/lorem", 100));
        let most_words = usize::try_from(most).unwrap_or(100);
        let (words, tokens) = (self.up_to(500), self.up_to(most_words));
        let seed = self.up_to(1_000_000);
        let model = format!(
            "{model}?tokens={}&first_ms=0&chunk_ms=0&seed={seed}",
            tokens.max(1)
        );
        let content = "tell me more ".repeat(words.div_ceil(3).max(1));
        let body = json!({
            "model": model, "max_tokens": most,
            "messages": [{ "role": "user", "content": content }],
        });
        Bytes::from(body.to_string())
    }

    /// Any number up to one.
    fn up_to(&mut self, most: usize) -> usize {
        self.random = scramble(self.random);
        let span = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        usize::try_from((self.random >> 11) % span).unwrap_or(0)
    }
}

/// One call, to its end. What funds do not allow is refused, as it would be.
async fn one(
    house: &House,
    upstreams: Arc<Upstreams>,
    secret: String,
    body: Bytes,
) -> Result<(), CliError> {
    let gate = &house.gate;
    let caller = house.callers.find(secrets::hash(&secret)).await?;
    let (Some(caller), Some(place)) = (caller, gate.places.take()) else {
        return Err(CliError::Found("the demo's caller is not known".to_owned()));
    };
    let incoming = Incoming {
        id: CallId::new(gate.ids.next()),
        endpoint: Endpoint::ChatCompletions,
        body,
        idempotency_key: None,
        started: Instant::now(),
        started_at: gate.clock.now(),
        place,
    };
    let Ok(call) = gate.admit(caller, incoming).await else {
        return Ok(());
    };
    let (tell, delivery) = oneshot::channel();
    let gate = Arc::clone(gate);
    let carried = gate.carry(upstreams, call, tell);
    let ((), delivery) = tokio::join!(carried, delivery);
    match delivery {
        Ok(Delivery::Whole { .. }) => Ok(()),
        Ok(Delivery::Stream(_) | Delivery::Failed(_)) | Err(_) => Err(CliError::Found(
            "a call of the demo's past was not answered".to_owned(),
        )),
    }
}
