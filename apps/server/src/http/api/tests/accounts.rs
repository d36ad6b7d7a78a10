use actix_web::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{Reply, Scene};

async fn patch(scene: &Scene, tag: Option<&str>, body: &Value) -> Reply {
    let path = format!("/api/v1/accounts/{}", scene.account());
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(tag.map(|tag| ("if-match", tag)));
    let body = body.to_string().into_bytes();
    scene
        .raw(Method::PATCH, &path, &scene.operator, &headers, body)
        .await
}

#[actix_web::test]
async fn a_change_needs_the_tag_of_what_it_changes() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/accounts/{}", scene.account());
    let tag = scene.get(&path, &scene.operator).await.header("etag");
    assert!(tag.starts_with('"') && tag.ends_with('"'));
    let body = json!({"status": "suspended", "credit_limit": {"amount": "5", "currency": "USD"}});
    let blind = patch(&scene, None, &body).await;
    blind.is_problem(StatusCode::PRECONDITION_REQUIRED, "if_match_required");
    let changed = patch(&scene, Some(&tag), &body).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(changed.body["status"], "suspended");
    assert_eq!(
        changed.body["credit_limit"],
        json!({"amount": "5.00", "currency": "USD"})
    );
    assert_ne!(changed.header("etag"), tag);
    let stale = patch(&scene, Some(&tag), &json!({"status": "active"})).await;
    stale.is_problem(StatusCode::PRECONDITION_FAILED, "stale");
    let read = scene.get(&path, &scene.operator).await;
    assert_eq!(
        (read.header("etag"), &read.body["status"]),
        (changed.header("etag"), &json!("suspended"))
    );
    let fresh = read.header("etag");
    for (wrong, pointer) in [
        (json!({"status": "parked"}), "/status"),
        (
            json!({"credit_limit": {"amount": "-1", "currency": "USD"}}),
            "/credit_limit/amount",
        ),
        (
            json!({"credit_limit": {"amount": "1", "currency": "EUR"}}),
            "/credit_limit/currency",
        ),
        (
            json!({"credit_limit": {"amount": "0.0000000001", "currency": "USD"}}),
            "/credit_limit/amount",
        ),
        (json!({"credit_limit": "1"}), "/credit_limit"),
    ] {
        let reply = patch(&scene, Some(&fresh), &wrong).await;
        reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
        assert_eq!(reply.body["errors"][0]["pointer"], pointer);
    }
}

#[actix_web::test]
async fn accounts_are_made_and_paged() {
    let scene = Scene::new().await;
    for name in ["a", "b", "c", "d"] {
        let body = json!({"name": name, "zone": "Asia/Shanghai"});
        let made = scene.post("/api/v1/accounts", &scene.operator, &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        assert_eq!(made.body["currency"], "USD");
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = scene
            .get(
                &format!("/api/v1/accounts?limit=2{cursor}"),
                &scene.operator,
            )
            .await;
        let data = page.body["data"].as_array().unwrap();
        seen.extend(data.iter().map(|a| a["id"].as_str().unwrap().to_owned()));
        if page.body["has_more"] == json!(false) {
            assert_eq!((data.len(), &page.body["next_cursor"]), (1, &Value::Null));
            break;
        }
        assert_eq!(data.len(), 2);
        cursor = format!("&cursor={}", page.body["next_cursor"].as_str().unwrap());
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), seen), (5, sorted));
    let own = scene.get("/api/v1/accounts", &scene.member).await;
    assert_eq!(own.body["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_key_shows_its_secret_once_and_is_revoked_for_good() {
    let scene = Scene::new().await;
    let keys = format!("/api/v1/accounts/{}/keys", scene.account());
    let body = json!({
        "name": "production", "models": ["m", "sim/*"], "cap_output": true,
        "limit": {"amount": {"amount": "10", "currency": "USD"}, "window": "monthly"},
        "expires_at": "2026-12-24T00:00:00+01:00",
    });
    let made = scene.post(&keys, &scene.operator, &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.body["limit"]["amount"]["amount"], "10.00");
    assert_eq!(made.body["expires_at"], "2026-12-23T23:00:00Z");
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    let prefix = made.body["prefix"].as_str().unwrap();
    assert!(secret.starts_with(prefix) && secret.len() > prefix.len() + 30);
    let list = scene.get(&keys, &scene.member).await;
    assert!(!list.text.contains(&secret) && !list.text.contains("secret"));
    assert_eq!(list.body["data"].as_array().unwrap().len(), 2);

    let bearer = format!("Bearer {secret}");
    let key = async || {
        scene
            .raw(
                Method::GET,
                "/v1/key",
                "",
                &[("authorization", &bearer)],
                vec![],
            )
            .await
    };
    assert_eq!(key().await.status, StatusCode::OK);
    let one = format!("{keys}/{}", made.body["id"].as_str().unwrap());
    let revoked = scene.delete(&one, &scene.operator).await;
    assert_eq!(revoked.status, StatusCode::OK, "{}", revoked.text);
    assert!(revoked.body["revoked_at"].is_string());
    let again = scene.delete(&one, &scene.operator).await;
    assert_eq!(again.body, revoked.body);
    assert_eq!(key().await.status, StatusCode::UNAUTHORIZED);
    let unknown = scene
        .delete(&format!("{keys}/key_0000000000001"), &scene.operator)
        .await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
    let past = json!({"name": "late", "expires_at": "2020-01-01T00:00:00Z"});
    let past = scene.post(&keys, &scene.operator, &past).await;
    past.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
}
