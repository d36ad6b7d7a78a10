//! What was said to an account: who may read it, and how.

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::scene::Scene;

#[actix_web::test]
async fn messages_are_read_by_members_in_two_languages_page_by_page() {
    let scene = Scene::new().await;
    let plan = json!({ "code": "pro", "name": "Pro", "terms": {
        "currency": "USD", "price": 9_000_000_000_i64, "billing": { "every": "P1M" },
    } });
    let made = scene.post("/api/v1/plans", &scene.operator, &plan).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    scene.world.top_up(9_000_000_000).await;
    let path = format!("/api/v1/accounts/{}/subscription", scene.account());
    let wish = json!({ "plan": "pro" });
    let began = scene.post(&path, &scene.operator, &wish).await;
    assert_eq!(began.status, StatusCode::CREATED, "{}", began.text);

    let path = format!("/api/v1/accounts/{}/messages", scene.account());
    let list = scene.get(&path, &scene.member).await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text);
    let kinds = |list: &Value| -> Vec<String> {
        let data = list["data"].as_array().unwrap().iter();
        data.map(|message| message["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds(&list.body), ["paid", "invoiced"]);
    let paid = &list.body["data"][0];
    assert_eq!(
        paid["facts"]["amount"],
        json!({ "amount": "9.00", "currency": "USD" })
    );
    assert_eq!(paid["en"]["subject"], "Your subscription is paid");
    assert_eq!(paid["zh-CN"]["subject"], "订阅费用已支付");
    assert!(paid["facts"].get("next_try_at").is_none(), "{paid}");

    let first = scene.get(&format!("{path}?limit=1"), &scene.member).await;
    assert_eq!(kinds(&first.body), ["paid"]);
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let next = scene
        .get(&format!("{path}?limit=1&cursor={cursor}"), &scene.member)
        .await;
    assert_eq!(kinds(&next.body), ["invoiced"]);
    assert_eq!(next.body["has_more"], false);

    let strange = scene.get(&path, &scene.stranger).await;
    strange.is_problem(StatusCode::NOT_FOUND, "not_found");
    let wrong = scene
        .get(&format!("{path}?cursor=inv_1"), &scene.member)
        .await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
}
