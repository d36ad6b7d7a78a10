use actix_web::http::{Method, StatusCode};
use serde_json::json;

use super::scene::{Reply, Scene};

/// Makes a key and returns its secret.
async fn key(scene: &Scene, body: &serde_json::Value) -> String {
    let keys = format!("/api/v1/accounts/{}/keys", scene.account());
    let made = scene.post(&keys, &scene.operator, body).await;
    made.body["secret"].as_str().unwrap().to_owned()
}

async fn get(scene: &Scene, path: &str, secret: &str) -> Reply {
    let bearer = format!("Bearer {secret}");
    scene
        .raw(Method::GET, path, "", &[("authorization", &bearer)], vec![])
        .await
}

#[actix_web::test]
async fn models_are_those_that_the_key_may_use() {
    let scene = Scene::new().await;
    let all = key(&scene, &json!({"name": "all"})).await;
    let some = key(&scene, &json!({"name": "some", "models": ["other*"]})).await;
    let list = get(&scene, "/v1/models", &all).await;
    assert_eq!(list.body["object"], "list", "{}", list.text);
    assert_eq!(list.body["data"][0]["id"], "m");
    let pricing = json!({"completion": "0.000000001", "prompt": "0.000000002"});
    assert_eq!(list.body["data"][0]["pricing"], pricing);
    assert_eq!(
        get(&scene, "/v1/models", &some).await.body["data"],
        json!([])
    );
    let one = get(&scene, "/v1/models/m", &all).await;
    assert_eq!(one.body, list.body["data"][0]);
    assert_eq!(
        get(&scene, "/v1/models/m", &some).await.status,
        StatusCode::FORBIDDEN
    );
    let unknown = get(&scene, "/v1/models/no%2Fsuch", &all).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert_eq!(unknown.body["error"]["code"], "model_not_found");
    assert!(
        unknown.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no/such")
    );
    for path in [
        "/v1/models",
        "/v1/models/m",
        "/v1/key",
        "/v1/credits",
        "/v1/generation?id=x",
    ] {
        let reply = get(&scene, path, "sk-wrong").await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
        assert_eq!(reply.body["error"]["code"], "invalid_api_key");
    }
    let bearer = format!("Bearer {all}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("if-none-match", &list.header("etag")),
    ];
    let again = scene
        .raw(Method::GET, "/v1/models", "", &headers, vec![])
        .await;
    assert_eq!(
        (again.status, again.text.as_str()),
        (StatusCode::NOT_MODIFIED, "")
    );
}

#[actix_web::test]
async fn a_generation_and_the_credits_carry_exact_numbers() {
    let scene = Scene::new().await;
    scene.world.top_up(1_000_000).await;
    let call = scene.world.lease_and_settle(5_000, 1_230).await.call.call;
    let secret = key(&scene, &json!({"name": "all"})).await;
    let reply = get(&scene, &format!("/v1/generation?id={call}"), &secret).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert!(
        reply.text.contains("\"total_cost\":0.00000123,"),
        "{}",
        reply.text
    );
    let data = &reply.body["data"];
    assert_eq!(
        (&data["id"], &data["cost_nanos"]),
        (&json!(call.to_string()), &json!(1_230))
    );
    assert_eq!(data["tokens_completion"], 1_230);
    assert_eq!(data["receipt"]["charge"]["amount"], "0.00000123");
    for id in ["req_0000000000001", "nonsense"] {
        let reply = get(&scene, &format!("/v1/generation?id={id}"), &secret).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(reply.body["error"]["code"], "not_found");
    }
    assert_eq!(
        get(&scene, "/v1/generation", &secret).await.status,
        StatusCode::BAD_REQUEST
    );
    let credits = get(&scene, "/v1/credits", &secret).await;
    assert!(
        credits.text.contains("\"total_credits\":0.001,"),
        "{}",
        credits.text
    );
    assert!(
        credits.text.contains("\"total_usage\":0.00000123,"),
        "{}",
        credits.text
    );
    assert!(
        credits.text.contains("\"balance\":0.00099877,"),
        "{}",
        credits.text
    );
}

#[actix_web::test]
async fn a_key_says_what_is_left_of_its_limit() {
    let scene = Scene::new().await;
    let limit = json!({"amount": {"amount": "10", "currency": "USD"}, "window": "monthly"});
    let secret = key(&scene, &json!({"name": "bounded", "limit": limit})).await;
    let reply = get(&scene, "/v1/key", &secret).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    for part in [
        "\"limit\":10.00,",
        "\"limit_remaining\":10.00,",
        "\"limit_reset\":\"monthly\"",
        "\"limit_resets_at\":\"2026-12-01T00:00:00Z\"",
        "\"usage_daily\":0.00,",
    ] {
        assert!(
            reply.text.contains(part),
            "{part} is missing in {}",
            reply.text
        );
    }
    assert!(!reply.text.contains(&secret));
}

#[actix_web::test]
async fn an_endpoint_names_the_method_that_it_takes() {
    let scene = Scene::new().await;
    let secret = key(&scene, &json!({"name": "all"})).await;
    for (path, sent, allowed) in [
        ("/v1/chat/completions", Method::GET, "POST"),
        ("/v1/embeddings", Method::DELETE, "POST"),
        ("/v1/models", Method::POST, "GET"),
        ("/v1/models/m", Method::PUT, "GET"),
    ] {
        let bearer = format!("Bearer {secret}");
        let headers = [("authorization", bearer.as_str())];
        let reply = scene.raw(sent, path, "", &headers, vec![]).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(reply.headers.get("allow").unwrap(), allowed);
        assert_eq!(reply.body["error"]["code"], "method_not_allowed");
    }
    assert_eq!(
        get(&scene, "/v1/such", &secret).await.status,
        StatusCode::NOT_FOUND
    );
}

#[actix_web::test]
async fn a_parked_account_is_told_apart_from_a_suspended_one() {
    let scene = Scene::new().await;
    let secret = key(&scene, &json!({"name": "all"})).await;
    let (proofs, account) = (&scene.world.ports.proofs, scene.world.account);
    let why = vec!["wallet balance: kept 1, derived 2".to_owned()];
    let now = scene.world.now();
    assert!(proofs.park(account, &why, now).await.unwrap());
    let reply = get(&scene, "/v1/models", &secret).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.body["error"]["code"], "account_parked");
    assert_eq!(reply.headers.get("x-should-retry").unwrap(), "false");
    assert!(reply.headers.get("retry-after").is_none());
    let path = format!("/api/v1/accounts/{}", scene.account());
    let told = scene.get(&path, &scene.operator).await;
    assert_eq!(told.body["parked"]["findings"], json!(why), "{}", told.text);
    let told = scene.get(&path, &scene.member).await;
    assert_eq!(told.body["status"], "parked");
    assert!(told.body.get("parked").is_none(), "{}", told.text);
}

/// A name for every answer, also for those that no handler gives.
#[actix_web::test]
async fn every_answer_names_its_request() {
    let scene = Scene::new().await;
    let secret = key(&scene, &json!({"name": "all"})).await;
    let document = serde_json::to_value(crate::http::docs::openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap().keys();
    let unknown = [
        "/v1",
        "/v1/such",
        "/v1/models/%ff",
        "/api",
        "/api/v1/such",
        "/such",
    ];
    let mut tried = 0;
    for path in paths.map(String::as_str).chain(unknown) {
        if matches!(path, "/livez" | "/readyz") {
            continue;
        }
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            for secret in ["", "sk-wrong", &secret] {
                let bearer = format!("Bearer {secret}");
                let headers = [("authorization", bearer.as_str())];
                let cookie = if secret.is_empty() {
                    ""
                } else {
                    &scene.operator
                };
                let reply = scene
                    .raw(method.clone(), path, cookie, &headers, vec![])
                    .await;
                let name = reply.header("x-request-id");
                assert!(
                    name.starts_with("req_"),
                    "{method} {path}: {:?}",
                    reply.headers
                );
                if reply.header("content-type") == "application/problem+json" {
                    assert_eq!(reply.body["request_id"], name, "{method} {path}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}
