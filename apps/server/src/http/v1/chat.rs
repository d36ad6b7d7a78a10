//! `POST /v1/chat/completions` and `POST /v1/embeddings`: the metered calls.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::ConnectionType;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError};
use billing_core::id::CallId;
use billing_core::rate_limit::{RateLeft, RateUnit};
use futures_util::stream;
use gateway_core::endpoint::Endpoint;
use tokio::sync::oneshot;

use super::body;
use super::error::V1Error;
use crate::gate::admit::Incoming;
use crate::gate::deliver::Delivery;
use crate::gate::{Callers, Gate, Upstreams};
use crate::http::caller::identify;
use crate::http::request_id::X_REQUEST_ID;
use crate::metrics;

const X_TOLLGATE_COST: HeaderName = HeaderName::from_static("x-tollgate-cost");
const X_GENERATION_ID: HeaderName = HeaderName::from_static("x-generation-id");
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// What a client may send as `Idempotency-Key`, in bytes.
const LONGEST_IDEMPOTENCY_KEY: usize = 255;

/// Creates a chat completion, streamed or in one piece.
///
/// The body is OpenAI's, passed on as it is: with `stream` true the answer comes as events. The
/// answer is the upstream's, with `usage.cost` and `usage.cost_nanos` added; it ends when its charge
/// is durable.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    operation_id = "create_chat_completion",
    tag = "inference",
    request_body(content = Object, description = "OpenAI's chat completion request",
        example = json!({"model": "sim/echo", "messages": [{"role": "user", "content": "hi"}]})),
    params(("Idempotency-Key" = Option<String>, Header,
        description = "One charge per key: a second call with it is refused")),
    responses(
        (status = 200, description = "The completion, or its stream of events", body = Object),
        (status = 400, description = "The body is not a request"),
        (status = 401, description = "No valid key"),
        (status = 402, description = "A budget has too little; not to be retried"),
        (status = 403, description = "The key may not use the model, or the account is stopped"),
        (status = 404, description = "No such model"),
        (status = 409, description = "The Idempotency-Key is or was in use"),
        (status = 413, description = "The body is too large"),
        (status = 429, description = "The funds are held by running calls; retry"),
        (status = 502, description = "No upstream could answer; nothing was charged"),
        (status = 503, description = "Cannot be paid for or priced now"),
        (status = 504, description = "No upstream answered in time; nothing was charged"),
    ),
    security(("api_key" = []))
)]
pub(crate) async fn chat_completions(
    request: HttpRequest,
    payload: Payload,
    gate: Data<Gate>,
    callers: Data<Callers>,
    upstreams: Data<Upstreams>,
) -> HttpResponse {
    metered(
        Endpoint::ChatCompletions,
        request,
        payload,
        (gate, callers, upstreams),
    )
    .await
}

/// Creates embeddings.
#[utoipa::path(
    post,
    path = "/v1/embeddings",
    operation_id = "create_embeddings",
    tag = "inference",
    request_body(content = Object, description = "OpenAI's embeddings request",
        example = json!({"model": "sim/embedding", "input": "hi"})),
    params(("Idempotency-Key" = Option<String>, Header,
        description = "One charge per key: a second call with it is refused")),
    responses(
        (status = 200, description = "The embeddings", body = Object),
        (status = 400, description = "The body is not a request"),
        (status = 401, description = "No valid key"),
        (status = 402, description = "A budget has too little; not to be retried"),
        (status = 403, description = "The key may not use the model, or the account is stopped"),
        (status = 404, description = "No such model"),
        (status = 409, description = "The Idempotency-Key is or was in use"),
        (status = 413, description = "The body is too large"),
        (status = 429, description = "The funds are held by running calls; retry"),
        (status = 502, description = "No upstream could answer; nothing was charged"),
        (status = 503, description = "Cannot be paid for or priced now"),
        (status = 504, description = "No upstream answered in time; nothing was charged"),
    ),
    security(("api_key" = []))
)]
pub(crate) async fn embeddings(
    request: HttpRequest,
    payload: Payload,
    gate: Data<Gate>,
    callers: Data<Callers>,
    upstreams: Data<Upstreams>,
) -> HttpResponse {
    metered(
        Endpoint::Embeddings,
        request,
        payload,
        (gate, callers, upstreams),
    )
    .await
}

type Shared = (Data<Gate>, Data<Callers>, Data<Upstreams>);

/// Serves a metered call and puts its id on whatever the answer is.
async fn metered(
    endpoint: Endpoint,
    request: HttpRequest,
    payload: Payload,
    shared: Shared,
) -> HttpResponse {
    let id = CallId::new(shared.0.ids.next());
    let gate = Data::clone(&shared.0);
    let mut response = match serve(endpoint, id, &request, payload, shared).await {
        Ok(response) => response,
        Err(error) => {
            metrics::add(error.counted(), 1);
            error.error_response()
        }
    };
    if gate.leaving.is_cancelled() {
        // Its next call goes elsewhere.
        response
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
        let headers = response.headers_mut();
        headers.insert(X_REQUEST_ID, value.clone());
        headers.insert(X_GENERATION_ID, value);
    }
    response
}

async fn serve(
    endpoint: Endpoint,
    id: CallId,
    request: &HttpRequest,
    payload: Payload,
    (gate, callers, upstreams): Shared,
) -> Result<HttpResponse, V1Error> {
    let (started, started_at) = (Instant::now(), gate.clock.now());
    let caller = identify(request, &callers, &*gate.clock).await?;
    let idempotency_key = idempotency_key(request)?;
    // Before the body is read, which takes the most memory.
    let place = gate.places.take().ok_or(V1Error::Crowded)?;
    let body = body::collect(request, payload, gate.limits.body_bytes).await?;
    let incoming = Incoming {
        id,
        endpoint,
        body,
        idempotency_key,
        started,
        started_at,
        place,
    };
    let call = gate.admit(caller, incoming).await?;
    let account = call.caller.key.account;
    let shown = call.plan.as_ref().map(|plan| plan.shown(&call.held().1));
    let limited = call.pace.as_ref().map(|_| Arc::clone(&call.caller));
    let (tell, delivery) = oneshot::channel();
    let carried = Arc::clone(&gate).carry(upstreams.into_inner(), call, tell);
    // Beside the connection's own task: to wake one from the other takes no turn of the runtime.
    gate.tracker.spawn_local(carried);
    let delivery = delivery.await;
    let mut response = HttpResponse::Ok();
    if let (Some(caller), Ok(Delivery::Whole { .. } | Delivery::Stream(_))) = (limited, &delivery) {
        for line in rate_headers(&gate.rates_left(&caller)) {
            response.insert_header(line);
        }
    }
    if let (Some(shown), Ok(Delivery::Whole { .. } | Delivery::Stream(_))) = (shown, &delivery) {
        // On the heap: hardly any call has one.
        for line in Box::pin(gate.quota_headers(account, &shown)).await {
            response.insert_header(line);
        }
    }
    match delivery {
        Ok(Delivery::Whole { body, paid }) => {
            if let Some(charge) = paid.charge {
                response.insert_header((X_TOLLGATE_COST, charge.to_string()));
            }
            Ok(response.content_type("application/json").body(body))
        }
        Ok(Delivery::Stream(pieces)) => Ok(event_stream(&mut response, pieces)),
        Ok(Delivery::Failed(error)) => Err(error),
        Err(_) => Err(V1Error::StoreAway),
    }
}

/// What is left of rate limits, as OpenAI's clients read it.
fn rate_headers(left: &[RateLeft]) -> impl Iterator<Item = (&'static str, String)> {
    let of_one = |left: &RateLeft| {
        let [limit, remaining, reset] = match left.unit {
            RateUnit::Requests => [
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ],
            RateUnit::Tokens => [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
            RateUnit::ConcurrentCalls => return None,
        };
        Some([
            (limit, left.limit.to_string()),
            (remaining, left.left.to_string()),
            (reset, format!("{}s", left.reset.whole_seconds())),
        ])
    };
    left.iter().filter_map(of_one).flatten()
}

fn event_stream(
    response: &mut HttpResponseBuilder,
    pieces: tokio::sync::mpsc::Receiver<bytes::Bytes>,
) -> HttpResponse {
    let body = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok::<_, Infallible>(piece), pieces))
    });
    response
        .content_type("text/event-stream; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body)
}

fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, V1Error> {
    let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let fits = |key: &&str| !key.is_empty() && key.len() <= LONGEST_IDEMPOTENCY_KEY;
    let key = value.to_str().ok().filter(fits).ok_or_else(|| {
        let why = format!("1 to {LONGEST_IDEMPOTENCY_KEY} visible ASCII characters");
        V1Error::BadParameter("Idempotency-Key", why)
    })?;
    Ok(Some(key.to_owned()))
}
