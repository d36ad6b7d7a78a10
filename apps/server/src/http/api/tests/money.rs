use actix_web::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::scene::{Reply, Scene};

async fn top_up(scene: &Scene, key: Option<&str>, body: &Value) -> Reply {
    let path = format!("/api/v1/accounts/{}/top-ups", scene.account());
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(key.map(|key| ("idempotency-key", key)));
    scene
        .raw(
            Method::POST,
            &path,
            &scene.operator,
            &headers,
            body.to_string().into_bytes(),
        )
        .await
}

fn dollars(amount: &str, note: &str) -> Value {
    json!({"amount": {"amount": amount, "currency": "USD"}, "kind": "paid", "note": note})
}

#[actix_web::test]
async fn a_top_up_counts_once_for_its_key() {
    let scene = Scene::new().await;
    let body = dollars("12.5", "transfer 7");
    let first = top_up(&scene, Some("k-1"), &body).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.text);
    assert_eq!(
        first.body["balance_after"],
        json!({"amount": "12.50", "currency": "USD"})
    );
    assert_eq!(first.header("idempotent-replayed"), "");
    top_up(&scene, Some("k-2"), &dollars("1", "")).await;
    let again = top_up(&scene, Some("k-1"), &body).await;
    assert_eq!(
        (again.status, &again.body),
        (StatusCode::CREATED, &first.body)
    );
    assert_eq!(again.header("idempotent-replayed"), "true");
    let others = [
        dollars("12.51", "transfer 7"),
        dollars("12.5", "transfer 8"),
        json!({"amount": {"amount": "12.5", "currency": "USD"}, "kind": "promo"}),
    ];
    for other in others {
        let reply = top_up(&scene, Some("k-1"), &other).await;
        reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
    }
    let wallet = format!("/api/v1/accounts/{}/wallet", scene.account());
    let wallet = scene.get(&wallet, &scene.member).await;
    assert_eq!(wallet.body["balance"]["amount"], "13.50");
    assert_eq!(wallet.body["available"]["amount"], "13.50");
    scene.world.assert_sound().await;
}

#[actix_web::test]
async fn a_top_up_without_a_key_or_with_a_wrong_amount_adds_nothing() {
    let scene = Scene::new().await;
    let keyless = top_up(&scene, None, &dollars("1", "")).await;
    keyless.is_problem(StatusCode::BAD_REQUEST, "idempotency_key_required");
    let malformed = top_up(&scene, Some("a b"), &dollars("1", "")).await;
    malformed.is_problem(StatusCode::BAD_REQUEST, "idempotency_key_malformed");
    for amount in ["0", "-1", "1e3", "0.0000000001", "99999999999"] {
        let reply = top_up(&scene, Some("k"), &dollars(amount, "")).await;
        assert_eq!(
            reply.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{amount}: {}",
            reply.text
        );
        assert_eq!(
            reply.body["errors"][0]["pointer"], "/amount/amount",
            "{amount}"
        );
    }
    let yuan = json!({"amount": {"amount": "1", "currency": "CNY"}, "kind": "paid"});
    let reply = top_up(&scene, Some("k"), &yuan).await;
    reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(reply.body["errors"][0]["pointer"], "/amount/currency");
    assert_eq!(scene.world.balance().await, (0, 0));
    let path = format!("/api/v1/accounts/{}/top-ups", scene.account());
    let member = scene.post(&path, &scene.member, &dollars("1", "")).await;
    member.is_problem(StatusCode::FORBIDDEN, "forbidden");
}

#[actix_web::test]
async fn the_journal_shows_whole_transactions_page_by_page() {
    let scene = Scene::new().await;
    for key in ["a", "b", "c"] {
        top_up(&scene, Some(key), &dollars("1", key)).await;
    }
    let ledger = format!("/api/v1/accounts/{}/ledger", scene.account());
    let first = scene.get(&format!("{ledger}?limit=2"), &scene.member).await;
    let data = first.body["data"].as_array().unwrap();
    assert_eq!(
        (data.len(), &data[0]["note"], &data[0]["kind"]),
        (2, &json!("c"), &json!("top_up"))
    );
    assert_eq!(data[0]["entries"].as_array().unwrap().len(), 2);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let second = scene
        .get(&format!("{ledger}?limit=2&cursor={cursor}"), &scene.member)
        .await;
    let data = second.body["data"].as_array().unwrap();
    assert_eq!((data.len(), &data[0]["note"]), (1, &json!("a")));
    assert_eq!(second.body["has_more"], false);
}

#[actix_web::test]
async fn credit_with_an_end_is_shown_with_it_and_one_that_has_ended_is_refused() {
    let scene = Scene::new().await;
    let given = |end: &str| json!({"amount": {"amount": "5", "currency": "USD"}, "kind": "promo", "expires_at": end});
    let past = top_up(&scene, Some("k-1"), &given("2020-01-01T00:00:00Z")).await;
    past.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    top_up(&scene, Some("k-2"), &dollars("3", "")).await;
    let end = "2031-01-31T00:00:00Z";
    let added = top_up(&scene, Some("k-1"), &given(end)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.text);
    assert_eq!(added.body["expires_at"], end);
    let other = top_up(&scene, Some("k-1"), &given("2032-01-31T00:00:00Z")).await;
    other.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
    let wallet = format!("/api/v1/accounts/{}/wallet", scene.account());
    let wallet = scene.get(&wallet, &scene.member).await;
    let lots = wallet.body["lots"].as_array().unwrap();
    let shown = lots.iter().map(|lot| {
        (
            lot["kind"].as_str(),
            lot["remaining"]["amount"].as_str(),
            lot["expires_at"].as_str(),
        )
    });
    let wanted = [
        (Some("promo"), Some("5.00"), Some(end)),
        (Some("paid"), Some("3.00"), None),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), wanted);
    scene.world.assert_sound().await;
}
