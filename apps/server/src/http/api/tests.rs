//! The control API over the ports in memory, through the routes of the binary.

mod accounts;
mod coupons;
mod invoices;
mod messages;
mod money;
mod price_list;
mod quote;
mod reading;
mod scene;
mod selling;
mod sessions;
mod statements;
mod subscriptions;
mod v1;

use actix_web::http::{Method, StatusCode};
use serde_json::json;

use scene::{Reply, Scene};

/// Whatever the document lists under `/api/v1` needs a session, known or not to anybody's tests.
#[actix_web::test]
async fn nothing_is_open_but_the_sign_in_and_the_prices() {
    let scene = Scene::new().await;
    let document = serde_json::to_value(crate::http::docs::openapi()).unwrap();
    let mut tried = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|m| *m != "parameters")
        {
            let is_open = path.starts_with("/api/v1/prices")
                || (path == "/api/v1/session" && method == "post");
            if !path.starts_with("/api/") || is_open {
                continue;
            }
            let path = path
                .replace("{account}", &scene.account())
                .replace("{key}", &scene.world.key.to_string())
                .replace("{call}", "req_0000000000001")
                .replace("{invoice}", "INV-000001")
                .replace("{user}", "usr_0000000000001")
                .replace("{plan}", "pro");
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            for cookie in [None, Some("not-a-session")] {
                let reply = scene
                    .send(method.clone(), &path, cookie, Some(&json!({})))
                    .await;
                reply.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
            }
            tried += 1;
        }
    }
    assert_eq!(tried, 56);
}

#[actix_web::test]
async fn an_unknown_address_and_a_wrong_method_are_problems() {
    let scene = Scene::new().await;
    for path in [
        "/api",
        "/api/v1",
        "/api/v1/nothing",
        "/api/v2/accounts",
        "/api/v1/accounts/a/b",
    ] {
        for cookie in [None, Some(scene.operator.as_str())] {
            let reply = scene.send(Method::GET, path, cookie, None).await;
            reply.is_problem(StatusCode::NOT_FOUND, "not_found");
        }
    }
    let wrong = scene.delete("/api/v1/accounts", &scene.operator).await;
    wrong.is_problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET, POST");
}

#[actix_web::test]
async fn a_stranger_is_told_that_there_is_no_such_account() {
    let scene = Scene::new().await;
    let account = format!("/api/v1/accounts/{}", scene.account());
    for tail in [
        "",
        "/wallet",
        "/keys",
        "/calls",
        "/usage",
        "/ledger",
        "/calls/req_0000000000001",
    ] {
        let reply = scene
            .get(&format!("{account}{tail}"), &scene.stranger)
            .await;
        reply.is_problem(StatusCode::NOT_FOUND, "not_found");
    }
    let key = json!({"name": "mine"});
    let made = scene
        .post(&format!("{account}/keys"), &scene.stranger, &key)
        .await;
    made.is_problem(StatusCode::NOT_FOUND, "not_found");
    let list = scene.get("/api/v1/accounts", &scene.stranger).await;
    assert_eq!(list.body["data"], json!([]));
}

#[actix_web::test]
async fn a_member_looks_an_admin_makes_keys_and_an_operator_does_all() {
    let scene = Scene::new().await;
    let account = format!("/api/v1/accounts/{}", scene.account());
    let (keys, key) = (format!("{account}/keys"), json!({"name": "mine"}));
    assert_eq!(
        scene.get(&account, &scene.member).await.status,
        StatusCode::OK
    );
    let refused = scene.post(&keys, &scene.member, &key).await;
    refused.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let new = json!({"name": "Acme"});
    let refused = scene.post("/api/v1/accounts", &scene.member, &new).await;
    refused.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let members = format!("{account}/members/{}", scene.member_id);
    let refused = scene
        .put(&members, &scene.member, &json!({"role": "owner"}))
        .await;
    refused.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let made = scene
        .put(&members, &scene.operator, &json!({"role": "admin"}))
        .await;
    assert_eq!(
        (made.status, &made.body["role"]),
        (StatusCode::OK, &json!("admin"))
    );
    assert_eq!(
        scene.post(&keys, &scene.member, &key).await.status,
        StatusCode::CREATED
    );
}

#[actix_web::test]
async fn a_body_that_cannot_be_read_changes_nothing_and_is_a_problem() {
    let scene = Scene::new().await;
    let send = async |kind: &str, body: Vec<u8>| -> Reply {
        let path = "/api/v1/accounts";
        scene
            .raw(
                Method::POST,
                path,
                &scene.operator,
                &[("content-type", kind)],
                body,
            )
            .await
    };
    let json = "application/json";
    send(json, b"{".to_vec())
        .await
        .is_problem(StatusCode::BAD_REQUEST, "malformed");
    send(json, b"[1]".to_vec())
        .await
        .is_problem(StatusCode::BAD_REQUEST, "malformed");
    send(json, vec![b'"', 0xff, b'"'])
        .await
        .is_problem(StatusCode::BAD_REQUEST, "malformed");
    let text = send("text/plain", b"{}".to_vec()).await;
    text.is_problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json");
    let large = send(json, vec![b' '; 2 * 1024 * 1024]).await;
    large.is_problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large");
    let before = scene.get("/api/v1/accounts", &scene.operator).await;
    assert_eq!(before.body["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn every_wrong_field_is_pointed_at() {
    let scene = Scene::new().await;
    let keys = format!("/api/v1/accounts/{}/keys", scene.account());
    let body = json!({
        "name": "", "limits": 1, "models": ["a*b"], "cap_output": "yes", "expires_at": "tomorrow",
        "limit": {"amount": {"amount": 5, "currency": "usd"}, "window": "hourly", "x/y": 0},
    });
    let reply = scene.post(&keys, &scene.operator, &body).await;
    reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let mut pointers: Vec<(&str, &str)> = reply.body["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| (e["pointer"].as_str().unwrap(), e["code"].as_str().unwrap()))
        .collect();
    pointers.sort_unstable();
    assert_eq!(
        pointers,
        [
            ("/cap_output", "not_a_flag"),
            ("/expires_at", "not_a_time"),
            ("/limit/amount/amount", "not_a_text"),
            ("/limit/amount/currency", "unknown_currency"),
            ("/limit/window", "unknown_value"),
            ("/limit/x~1y", "unknown_field"),
            ("/limits", "unknown_field"),
            ("/models", "not_a_pattern"),
            ("/name", "wrong_length"),
        ]
    );
    let query = scene
        .get("/api/v1/accounts?limit=0&page=2", &scene.operator)
        .await;
    query.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(query.body["errors"][0]["parameter"], "limit");
    assert_eq!(query.body["errors"][1]["parameter"], "page");
}
