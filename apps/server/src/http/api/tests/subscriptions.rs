//! Plans and subscriptions: who may ask for what, and what is refused.

use actix_web::http::{Method, StatusCode};
use billing_core::port::directory::Role;
use serde_json::{Value, json};
use time::Duration;

use super::scene::{Reply, Scene};

fn plan(code: &str, cents: i64) -> Value {
    json!({ "code": code, "name": code.to_uppercase(), "terms": {
        "currency": "USD", "price": cents * 10_000_000, "billing": { "every": "P1M" },
    } })
}

impl Scene {
    fn of(&self, tail: &str) -> String {
        format!("/api/v1/accounts/{}/subscription{tail}", self.account())
    }

    async fn publish(&self, plan: &Value) {
        let made = self.post("/api/v1/plans", &self.operator, plan).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }

    /// Sends an order under a key.
    async fn order(&self, tail: &str, key: &str, body: &Value) -> Reply {
        let headers = [
            ("content-type", "application/json"),
            ("idempotency-key", key),
        ];
        let body = body.to_string().into_bytes();
        self.raw(Method::POST, &self.of(tail), &self.operator, &headers, body)
            .await
    }

    async fn quoted(&self, wish: &Value) -> Value {
        let quote = self.post(&self.of("/quote"), &self.operator, wish).await;
        assert_eq!(quote.status, StatusCode::CREATED, "{}", quote.text);
        quote.body
    }

    async fn stands(&self) -> Value {
        let stands = self.get(&self.of(""), &self.operator).await;
        assert_eq!(stands.status, StatusCode::OK, "{}", stands.text);
        stands.body
    }

    async fn subscribed(&self, code: &str) -> Reply {
        let wish = json!({ "plan": code });
        self.post(&self.of(""), &self.operator, &wish).await
    }
}

#[actix_web::test]
async fn an_operator_sells_plans_and_everybody_signed_in_sees_them() {
    let scene = Scene::new().await;
    let pro = plan("pro", 900);
    let refused = scene.post("/api/v1/plans", &scene.member, &pro).await;
    refused.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let made = scene.post("/api/v1/plans", &scene.operator, &pro).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.body["price"]["amount"], "9.00");
    let again = scene.post("/api/v1/plans", &scene.operator, &pro).await;
    assert_eq!(
        (again.status, &again.body["version"]),
        (StatusCode::OK, &json!(1))
    );
    let mut bad = plan("pro", 900);
    bad["terms"]["trial_dayz"] = json!(3);
    let refused = scene.post("/api/v1/plans", &scene.operator, &bad).await;
    refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(refused.body["errors"][0]["pointer"], "/terms");
    let bad = plan("Pro!", 900);
    let refused = scene.post("/api/v1/plans", &scene.operator, &bad).await;
    assert_eq!(
        refused.body["errors"][0]["code"], "not_a_code",
        "{}",
        refused.text
    );

    let list = scene.get("/api/v1/plans", &scene.stranger).await;
    assert_eq!(list.body["data"][0]["code"], "pro", "{}", list.text);
    assert_eq!(list.body["data"][0]["interval"], "P1M");
    let refused = scene.delete("/api/v1/plans/pro", &scene.member).await;
    refused.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let gone = scene.delete("/api/v1/plans/pro", &scene.operator).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let again = scene.delete("/api/v1/plans/pro", &scene.operator).await;
    again.is_problem(StatusCode::NOT_FOUND, "not_found");
    let list = scene.get("/api/v1/plans", &scene.member).await;
    assert_eq!(list.body["data"], json!([]));
    let list = scene.get("/api/v1/plans", &scene.operator).await;
    assert_eq!(list.body["data"][0]["on_sale"], false);
    let refused = scene.subscribed("pro").await;
    refused.is_problem(StatusCode::CONFLICT, "not_on_sale");
}

/// What is shown is what is charged; the same key again gives the first answer.
#[actix_web::test]
async fn a_quote_is_taken_once_and_costs_what_it_says() {
    let scene = Scene::new().await;
    for (code, cents) in [("pro", 900), ("team", 3_000)] {
        scene.publish(&plan(code, cents)).await;
    }
    let none = scene.get(&scene.of(""), &scene.operator).await;
    none.is_problem(StatusCode::NOT_FOUND, "not_found");
    scene.world.top_up(30_000_000_000).await;
    let began = scene.subscribed("pro").await;
    assert_eq!(began.status, StatusCode::CREATED, "{}", began.text);
    assert_eq!(began.body["state"], "active", "{}", began.text);
    let twice = scene.subscribed("pro").await;
    twice.is_problem(StatusCode::CONFLICT, "already_subscribed");
    scene.world.ports.clock.advance(Duration::hours(20));

    let quote = scene.quoted(&json!({ "plan": "team" })).await;
    assert_eq!(
        (&quote["way"], &quote["plan"]["code"]),
        (&json!("in_place"), &json!("team"))
    );
    let taking = json!({ "quote": quote["id"] });
    let unnamed = scene
        .post(&scene.of("/change"), &scene.operator, &taking)
        .await;
    unnamed.is_problem(StatusCode::BAD_REQUEST, "idempotency_key_required");
    let preview = json!({ "quote": quote["id"], "preview": true });
    let preview = scene
        .post(&scene.of("/change"), &scene.operator, &preview)
        .await;
    assert_eq!(preview.body["total"], quote["total"], "{}", preview.text);
    assert_eq!(scene.stands().await["plan"]["code"], "pro");
    let done = scene.order("/change", "up", &taking).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    for same in ["items", "total"] {
        assert_eq!(done.body[same], quote[same], "{}", done.text);
        assert_eq!(preview.body[same], quote[same]);
    }
    assert_eq!(done.body["balance_after"], preview.body["balance_after"]);
    let wallet = format!("/api/v1/accounts/{}/wallet", scene.account());
    let wallet = scene.get(&wallet, &scene.operator).await;
    assert_eq!(done.body["balance_after"], wallet.body["balance"]);
    assert_eq!(scene.stands().await["plan"]["code"], "team");
    let again = scene.order("/change", "up", &taking).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.body, done.body);
    let other = scene.order("/pause", "up", &json!({})).await;
    other.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused");
    let again = scene.order("/change", "other", &taking).await;
    again.is_problem(StatusCode::CONFLICT, "quote_taken");
    scene.world.assert_sound().await;
}

#[actix_web::test]
async fn what_cannot_be_done_says_why_and_changes_nothing() {
    let scene = Scene::new().await;
    scene.publish(&plan("pro", 900)).await;
    scene.publish(&plan("team", 3_000)).await;
    let mut euro = plan("euro", 900);
    euro["terms"]["currency"] = json!("EUR");
    scene.publish(&euro).await;
    let refused = scene.subscribed("none").await;
    refused.is_problem(StatusCode::NOT_FOUND, "not_found");
    let refused = scene.subscribed("euro").await;
    refused.is_problem(StatusCode::CONFLICT, "other_currency");
    let resume = scene.order("/resume", "1", &json!({})).await;
    resume.is_problem(StatusCode::NOT_FOUND, "not_found");

    // Without funds it waits for its first fee.
    let began = scene.subscribed("pro").await;
    assert_eq!(began.body["state"], "incomplete", "{}", began.text);
    assert_eq!(began.body["owed"]["amount"], "9.00");
    let nobody = json!({});
    let refused = scene
        .post(&scene.of("/pay"), &scene.operator, &nobody)
        .await;
    refused.is_problem(StatusCode::PAYMENT_REQUIRED, "insufficient_funds");
    let wish = json!({ "plan": "team" });
    let refused = scene
        .post(&scene.of("/quote"), &scene.operator, &wish)
        .await;
    refused.is_problem(StatusCode::CONFLICT, "wrong_state");
    scene.world.top_up(10_000_000_000).await;
    let paid = scene
        .post(&scene.of("/pay"), &scene.operator, &nobody)
        .await;
    assert_eq!(
        (paid.status, &paid.body["state"]),
        (StatusCode::OK, &json!("active"))
    );
    let refused = scene
        .post(&scene.of("/pay"), &scene.operator, &nobody)
        .await;
    refused.is_problem(StatusCode::CONFLICT, "nothing_owed");

    let before = scene.stands().await;
    for (wish, status, code) in [
        (json!({}), StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
        (
            json!({ "quantity": 0 }),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        (
            json!({ "plan": "team", "when": "soon" }),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        (
            json!({ "plan": "none" }),
            StatusCode::NOT_FOUND,
            "not_found",
        ),
        (json!({ "plan": "pro" }), StatusCode::CONFLICT, "same_plan"),
        (
            json!({ "plan": "euro" }),
            StatusCode::CONFLICT,
            "other_currency",
        ),
    ] {
        let refused = scene
            .post(&scene.of("/quote"), &scene.operator, &wish)
            .await;
        refused.is_problem(status, code);
    }
    let quote = scene.quoted(&wish).await;
    let taking = json!({ "quote": quote["id"] });
    let short = scene.order("/change", "2", &taking).await;
    short.is_problem(StatusCode::PAYMENT_REQUIRED, "insufficient_funds");
    let unknown = json!({ "quote": "chq_0000000000001" });
    let refused = scene.order("/change", "3", &unknown).await;
    refused.is_problem(StatusCode::NOT_FOUND, "not_found");
    scene.world.ports.clock.advance(Duration::minutes(31));
    let late = scene.order("/change", "4", &taking).await;
    late.is_problem(StatusCode::CONFLICT, "quote_expired");
    let nothing = scene.order("/resume", "5", &json!({})).await;
    nothing.is_problem(StatusCode::CONFLICT, "nothing_to_resume");
    let awake = scene.order("/unpause", "6", &json!({})).await;
    awake.is_problem(StatusCode::CONFLICT, "wrong_state");
    let both = json!({ "when": "period_end", "credit": true });
    let both = scene.order("/cancel", "7", &both).await;
    both.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    assert_eq!(scene.stands().await, before);
    scene.world.assert_sound().await;
}

/// A member looks; an admin asks; who is no member is told that there is no such account.
#[actix_web::test]
async fn what_moves_money_takes_a_role() {
    let scene = Scene::new().await;
    scene.publish(&plan("pro", 0)).await;
    assert_eq!(scene.subscribed("pro").await.status, StatusCode::CREATED);
    let seen = scene.get(&scene.of(""), &scene.member).await;
    assert_eq!(seen.body["plan"]["code"], "pro", "{}", seen.text);
    let wish = json!({ "quantity": 2 });
    let key = [
        ("content-type", "application/json"),
        ("idempotency-key", "k"),
    ];
    for tail in [
        "", "/quote", "/change", "/cancel", "/resume", "/pause", "/unpause", "/pay",
    ] {
        let body = match tail {
            "" => json!({ "plan": "pro" }),
            "/quote" => wish.clone(),
            "/change" => json!({ "quote": "chq_0000000000001" }),
            _ => json!({}),
        };
        let body = body.to_string().into_bytes();
        let send = async |who: &str| {
            let path = scene.of(tail);
            scene
                .raw(Method::POST, &path, who, &key, body.clone())
                .await
        };
        let member = send(&scene.member).await;
        member.is_problem(StatusCode::FORBIDDEN, "forbidden");
        let stranger = send(&scene.stranger).await;
        stranger.is_problem(StatusCode::NOT_FOUND, "not_found");
    }
    let directory = &scene.world.ports.directory;
    directory
        .add_member(scene.world.account, scene.member_id, Role::Admin)
        .await
        .unwrap();
    let quote = scene.post(&scene.of("/quote"), &scene.member, &wish).await;
    assert_eq!(quote.status, StatusCode::CREATED, "{}", quote.text);
}

#[actix_web::test]
async fn a_subscription_rests_ends_and_is_taken_back() {
    let scene = Scene::new().await;
    scene.publish(&plan("pro", 900)).await;
    scene.world.top_up(18_000_000_000).await;
    scene.subscribed("pro").await;
    let nothing = json!({});
    let ends = scene.order("/cancel", "1", &nothing).await;
    let period_end = scene.stands().await["period"]["end"].clone();
    assert_eq!(
        ends.body["subscription"]["cancel_at"], period_end,
        "{}",
        ends.text
    );
    let resumed = scene.order("/resume", "2", &nothing).await;
    assert_eq!(resumed.body["subscription"]["cancel_at"], Value::Null);
    let rests = scene.order("/pause", "3", &nothing).await;
    assert_eq!(
        rests.body["subscription"]["state"], "paused",
        "{}",
        rests.text
    );
    assert_eq!(scene.stands().await["entitled"], false);
    scene.world.ports.clock.advance(Duration::hours(1));
    let up = scene.order("/unpause", "4", &nothing).await;
    assert_eq!(up.body["total"]["amount"], "9.00", "{}", up.text);
    let now = json!({ "when": "now", "preview": true });
    let preview = scene.order("/cancel", "5", &now).await;
    assert_eq!(
        (&preview.body["preview"], &preview.body["total"]["amount"]),
        (&json!(true), &json!("-9.00"))
    );
    assert_eq!(scene.stands().await["state"], "active");
    let now = json!({ "when": "now", "credit": false });
    let over = scene.order("/cancel", "6", &now).await;
    assert_eq!(over.body["subscription"]["state"], "ended", "{}", over.text);
    assert_eq!(
        (&over.body["total"]["amount"], &over.body["items"]),
        (&json!("0.00"), &json!([]))
    );
    let none = scene.get(&scene.of(""), &scene.operator).await;
    none.is_problem(StatusCode::NOT_FOUND, "not_found");
    scene.world.assert_sound().await;
}
