//! Coupons over the control API.

use actix_web::http::StatusCode;
use billing_core::port::directory::Role;
use serde_json::{Value, json};
use testkit::contract::plans::{terms, version};

use super::scene::Scene;

fn spring() -> Value {
    json!({
        "code": "spring-26", "name": "Spring sale", "percent": "20", "duration": "periods",
        "periods": 3, "minimum": {"amount": "5.00", "currency": "USD"},
        "redeem_by": "2027-01-01T00:00:00Z", "most_redemptions": 2, "plans": ["pro"]
    })
}

/// A scene in which `pro` and `team` are sold for money, and the member is an admin.
async fn scene() -> Scene {
    let scene = Scene::new().await;
    for code in ["pro", "team"] {
        let mut terms = terms(Vec::new());
        terms.price = billing_core::money::Nanos::new(9_000_000_000);
        let made = version(&scene.world, code, terms);
        scene.world.ports.plans.publish(made).await.unwrap();
    }
    let directory = &scene.world.ports.directory;
    let of = (scene.world.account, scene.member_id);
    directory.add_member(of.0, of.1, Role::Admin).await.unwrap();
    scene
}

#[actix_web::test]
async fn an_operator_gives_lists_reads_and_archives_coupons() {
    let scene = scene().await;
    let coupons = "/api/v1/coupons";
    let made = scene.post(coupons, &scene.operator, &spring()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.body["code"], "SPRING-26");
    assert_eq!(made.body["percent"], "20");
    assert_eq!(made.body["amount"], Value::Null);
    assert_eq!(
        (&made.body["duration"], &made.body["periods"]),
        (&json!("periods"), &json!(3))
    );
    assert_eq!(made.body["minimum"]["amount"], "5.00");
    assert_eq!(made.body["plans"], json!(["pro"]));
    assert_eq!(made.body["redeem_by"], "2027-01-01T00:00:00Z");
    let again = scene.post(coupons, &scene.operator, &spring()).await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &made.body));
    let mut other = spring();
    other["percent"] = json!("21");
    let taken = scene.post(coupons, &scene.operator, &other).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
    assert_eq!(taken.body["code"], "coupon_code_taken");
    let listed = scene.get(coupons, &scene.operator).await;
    assert_eq!(listed.body["data"], json!([made.body]));
    let one = "/api/v1/coupons/spring-26";
    assert_eq!(scene.get(one, &scene.operator).await.body, made.body);
    for (reply, status) in [
        (
            scene.get(coupons, &scene.member).await,
            StatusCode::FORBIDDEN,
        ),
        (scene.get(one, &scene.member).await, StatusCode::FORBIDDEN),
        (
            scene.delete(one, &scene.member).await,
            StatusCode::FORBIDDEN,
        ),
        (
            scene.get("/api/v1/coupons/none", &scene.operator).await,
            StatusCode::NOT_FOUND,
        ),
        (
            scene.delete("/api/v1/coupons/!", &scene.operator).await,
            StatusCode::NOT_FOUND,
        ),
        (
            scene.delete(one, &scene.operator).await,
            StatusCode::NO_CONTENT,
        ),
    ] {
        assert_eq!(reply.status, status, "{}", reply.text);
    }
    let archived = scene.get(one, &scene.operator).await;
    assert!(
        archived.body["archived_at"].is_string(),
        "{}",
        archived.text
    );
}

#[actix_web::test]
async fn what_is_no_coupon_is_told_field_by_field() {
    let scene = scene().await;
    for (change, pointer) in [
        (json!({"code": "a b"}), "/code"),
        (json!({"percent": "lots"}), "/percent"),
        (json!({"percent": null}), "/percent"),
        (
            json!({"amount": {"amount": "1.00", "currency": "USD"}}),
            "/percent",
        ),
        (json!({"percent": "120"}), "/code"),
        (json!({"duration": "once"}), "/periods"),
        (json!({"periods": 0}), "/periods"),
        (json!({"periods": null}), "/periods"),
        (
            json!({"minimum": {"amount": "0.001", "currency": "USD"}}),
            "/minimum",
        ),
        (json!({"redeem_by": "2026-01-01T00:00:00Z"}), "/redeem_by"),
        (json!({"plans": ["none"]}), "/plans"),
        (json!({"name": "a\u{202e}b"}), "/name"),
    ] {
        let mut body = spring();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let refused = scene.post("/api/v1/coupons", &scene.operator, &body).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{change}");
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{change}");
    }
    let listed = scene.get("/api/v1/coupons", &scene.operator).await;
    assert_eq!(listed.body["data"], json!([]));
}

#[actix_web::test]
async fn an_account_redeems_a_code_once_and_is_told_why_not() {
    let scene = scene().await;
    let account = format!("/api/v1/accounts/{}", scene.account());
    let coupons = format!("{account}/coupons");
    let all = json!({"code": "ALL", "name": "All", "percent": "10"});
    let foreign = json!({"code": "YUAN", "name": "Yuan",
        "amount": {"amount": "5.00", "currency": "CNY"}, "duration": "forever"});
    for coupon in [spring(), all, foreign] {
        let made = scene
            .post("/api/v1/coupons", &scene.operator, &coupon)
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }
    let redeem = async |code: &str, session: &str| {
        let reply = scene.post(&coupons, session, &json!({"code": code})).await;
        (
            reply.status.as_u16(),
            reply.body["code"].as_str().map(str::to_owned),
        )
    };
    let said = |status, code: &str| (status, Some(code.to_owned()));
    assert_eq!(
        redeem("NONE", &scene.member).await,
        said(404, "no_such_coupon")
    );
    assert_eq!(redeem("a b", &scene.member).await, said(422, "invalid"));
    assert_eq!(
        redeem("YUAN", &scene.member).await,
        said(409, "coupon_other_currency")
    );
    assert_eq!(
        redeem("SPRING-26", &scene.member).await,
        said(409, "coupon_other_plan")
    );
    assert_eq!(redeem("ALL", &scene.stranger).await, said(404, "not_found"));
    let listed = scene.get(&coupons, &scene.member).await;
    assert_eq!(listed.body["data"], json!([]));
    assert_eq!(redeem("all", &scene.member).await, said(201, "ALL"));
    assert_eq!(
        redeem("ALL", &scene.operator).await,
        said(409, "coupon_redeemed_before")
    );
    let listed = scene.get(&coupons, &scene.member).await;
    assert_eq!(listed.body["data"][0]["code"], "ALL");
    assert_eq!(listed.body["data"][0]["invoices_left"], 1);
    // With the subscription it comes off the first fee.
    let subscription = format!("{account}/subscription");
    let wrong = json!({"plan": "team", "coupon": "SPRING-26"});
    let refused = scene.post(&subscription, &scene.member, &wrong).await;
    assert_eq!(
        refused.body["code"], "coupon_other_plan",
        "{}",
        refused.text
    );
    let none = scene.get(&subscription, &scene.member).await;
    assert_eq!(none.status, StatusCode::NOT_FOUND);
    let right = json!({"plan": "pro", "coupon": "SPRING-26"});
    let began = scene.post(&subscription, &scene.member, &right).await;
    assert_eq!(began.status, StatusCode::CREATED, "{}", began.text);
    assert_eq!(began.body["fee"]["amount"], "9.00");
    // 9 dollars less 10 percent, less 20 percent of the rest.
    assert_eq!(began.body["owed"]["amount"], "6.48");
    let invoices = format!("{account}/invoices");
    let listed = scene.get(&invoices, &scene.member).await;
    let number = listed.body["data"][0]["number"].as_str().unwrap();
    let invoice = scene
        .get(&format!("{invoices}/{number}"), &scene.member)
        .await;
    assert_eq!(
        invoice.body["discounts"],
        json!([
            {"code": "ALL", "name": "All", "amount": {"amount": "0.90", "currency": "USD"}},
            {"code": "SPRING-26", "name": "Spring sale",
                "amount": {"amount": "1.62", "currency": "USD"}}
        ])
    );
    assert_eq!(invoice.body["lines"][0]["discount"]["amount"], "2.52");
    assert_eq!(invoice.body["total"]["amount"], "6.48");
    let page = format!("{invoices}/{number}/invoice.html");
    let page = scene.get(&page, &scene.member).await;
    assert!(page.text.contains("Spring sale"), "{}", page.text);
    let read = scene.get("/api/v1/coupons/ALL", &scene.operator).await;
    assert_eq!(read.body["redemptions"], 1);
}
