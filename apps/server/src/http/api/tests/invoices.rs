//! Invoices over the API: who reads them, on what, and what is refused.

use actix_web::http::{Method, StatusCode};
use billing_core::id::{PlanId, PlanVersionId, SubscriptionId};
use billing_core::plan::PlanTerms;
use billing_core::port::plans::{NewSubscription, NewVersion};
use serde_json::json;

use super::scene::Scene;

/// Puts the account on a plan of nine dollars a month.
async fn subscribed(scene: &Scene) -> String {
    let world = &scene.world;
    let terms = json!({
        "currency": "USD", "price": 9_000_000_000_u64, "billing": {"every": "P1M"},
    });
    let terms: PlanTerms = serde_json::from_value(terms).unwrap();
    let version = NewVersion {
        plan: PlanId::new(world.number()),
        code: "pro".to_owned(),
        name: "Pro".to_owned(),
        version: PlanVersionId::new(world.number()),
        quotas: Vec::new(),
        terms,
        now: world.now(),
    };
    let published = world.ports.plans.publish(version).await.unwrap();
    let made = NewSubscription {
        coupon: None,
        id: SubscriptionId::new(world.number()),
        account: world.account,
        version: published.id,
        quantity: 1,
        after_quota: None,
        now: world.now(),
    };
    world.ports.plans.begin(made).await.unwrap();
    format!("/api/v1/accounts/{}/invoices", scene.account())
}

#[actix_web::test]
async fn members_read_invoices_and_strangers_do_not() {
    let scene = Scene::new().await;
    let list = subscribed(&scene).await;
    let page = scene.get(&list, &scene.member).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    let first = &page.body["data"][0];
    assert_eq!(first["number"], "INV-000001");
    assert_eq!(first["total"], json!({"amount": "9.00", "currency": "USD"}));
    for name in [&first["number"], &first["id"]] {
        let one = format!("{list}/{}", name.as_str().unwrap());
        let read = scene.get(&one, &scene.member).await;
        assert_eq!(read.body["lines"][0]["subject"], "Pro", "{}", read.text);
        assert_eq!(read.body["lines"][0]["component"]["component"], "plan_fee");
        assert_eq!(read.body["seller"]["country"], json!(null));
        let refused = scene.get(&one, &scene.stranger).await;
        refused.is_problem(StatusCode::NOT_FOUND, "not_found");
        let nobody = scene.send(Method::GET, &one, None, None).await;
        nobody.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let unknown = scene
        .get(&format!("{list}/INV-000002"), &scene.member)
        .await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
}

#[actix_web::test]
async fn an_invoice_is_set_in_the_language_that_is_asked_for() {
    let scene = Scene::new().await;
    let list = subscribed(&scene).await;
    let html = format!("{list}/INV-000001/invoice.html");
    for (lang, word) in [
        ("", "Invoice"),
        ("?lang=en", "Invoice"),
        ("?lang=zh-CN", "账单"),
    ] {
        let page = scene.get(&format!("{html}{lang}"), &scene.member).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(page.text.contains(word) && page.text.contains("INV-000001"));
    }
    let pdf = format!("{list}/INV-000001/invoice.pdf");
    let file = scene.get(&pdf, &scene.member).await;
    assert_eq!(file.status, StatusCode::OK);
    assert_eq!(file.header("content-type"), "application/pdf");
    let name = "inline; filename=\"INV-000001.pdf\"";
    assert_eq!(file.header("content-disposition"), name);
    let wrong = scene.get(&format!("{pdf}?lang=de"), &scene.member).await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let stranger = scene.get(&pdf, &scene.stranger).await;
    stranger.is_problem(StatusCode::NOT_FOUND, "not_found");
}

#[actix_web::test]
async fn a_credit_note_is_read_and_set_as_its_invoice_is() {
    let scene = Scene::new().await;
    let list = subscribed(&scene).await;
    let notes = format!("{list}/INV-000001/credit-notes");
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "a"),
    ];
    let amount = json!({"amount": "2.00", "currency": "USD"});
    let part = json!({"reason": "goodwill", "line": 0, "amount": amount});
    let body = part.to_string().into_bytes();
    let operator = &scene.operator;
    let made = scene
        .raw(Method::POST, &notes, operator, &headers, body)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let one = format!("{notes}/CN-000001");
    let by_id = format!("{notes}/{}", made.body["id"].as_str().unwrap());
    for path in [&one, &by_id] {
        let read = scene.get(path, &scene.member).await;
        assert_eq!((read.status, &read.body), (StatusCode::OK, &made.body));
    }
    let html = format!("{one}/credit-note.html");
    for (lang, word) in [
        ("", "Credit note"),
        ("?lang=en", "Credit note"),
        ("?lang=zh-CN", "贷项通知单"),
    ] {
        let page = scene.get(&format!("{html}{lang}"), &scene.member).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        for said in [word, "CN-000001", "INV-000001", "goodwill", "2.00"] {
            assert!(page.text.contains(said), "{said}: {}", page.text);
        }
    }
    let pdf = format!("{one}/credit-note.pdf");
    let file = scene.get(&pdf, &scene.member).await;
    assert_eq!(file.status, StatusCode::OK);
    assert_eq!(file.header("content-type"), "application/pdf");
    let name = "inline; filename=\"CN-000001.pdf\"";
    assert_eq!(file.header("content-disposition"), name);
    let wrong = scene.get(&format!("{pdf}?lang=de"), &scene.member).await;
    wrong.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let unknown = format!("{notes}/CN-000002/credit-note.pdf");
    let unknown = scene.get(&unknown, &scene.member).await;
    unknown.is_problem(StatusCode::NOT_FOUND, "not_found");
    for path in [&one, &html, &pdf] {
        let stranger = scene.get(path, &scene.stranger).await;
        stranger.is_problem(StatusCode::NOT_FOUND, "not_found");
    }
}

#[actix_web::test]
async fn operators_alone_void_and_credit() {
    let scene = Scene::new().await;
    let list = subscribed(&scene).await;
    let one = format!("{list}/INV-000001");
    let nothing = json!({});
    let (void, notes) = (format!("{one}/void"), format!("{one}/credit-notes"));
    for path in [&void, &notes] {
        let member = scene.post(path, &scene.member, &nothing).await;
        member.is_problem(StatusCode::FORBIDDEN, "forbidden");
    }
    let unnamed = scene
        .post(&notes, &scene.operator, &json!({"reason": "goodwill"}))
        .await;
    unnamed.is_problem(StatusCode::BAD_REQUEST, "idempotency_key_required");
    let half = json!({"reason": "goodwill", "line": 0});
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "a"),
    ];
    let operator = &scene.operator;
    let body = half.to_string().into_bytes();
    let refused = scene
        .raw(Method::POST, &notes, operator, &headers, body)
        .await;
    refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    let done = scene.post(&void, operator, &nothing).await;
    assert_eq!(
        (done.status, &done.body["status"]),
        (StatusCode::OK, &json!("void"))
    );
    let again = scene.post(&void, operator, &nothing).await;
    again.is_problem(StatusCode::CONFLICT, "conflict");
    let whole = json!({"reason": "goodwill"}).to_string().into_bytes();
    let refused = scene
        .raw(Method::POST, &notes, operator, &headers, whole)
        .await;
    refused.is_problem(StatusCode::CONFLICT, "conflict");
}

#[actix_web::test]
async fn to_whom_invoices_are_written_is_said_by_admins() {
    let scene = Scene::new().await;
    let path = format!("/api/v1/accounts/{}/billing-details", scene.account());
    let unsaid = scene.get(&path, &scene.operator).await;
    unsaid.is_problem(StatusCode::NOT_FOUND, "not_found");
    let details = json!({
        "name": "上海示例科技有限公司", "address": ["世纪大道 100 号"], "country": "CN",
        "tax_id_kind": "统一社会信用代码", "tax_id": "91310000MA1FL00000", "language": "zh-CN",
    });
    let member = scene.put(&path, &scene.member, &details).await;
    member.is_problem(StatusCode::FORBIDDEN, "forbidden");
    let said = scene.put(&path, &scene.operator, &details).await;
    assert_eq!(said.status, StatusCode::OK, "{}", said.text);
    let read = scene.get(&path, &scene.member).await;
    assert_eq!(read.body, said.body);
    assert_eq!(read.body["tax_id"]["value"], "91310000MA1FL00000");
    for (field, value) in [
        ("name", json!("A\u{202e}B")),
        ("country", json!("China")),
        ("language", json!("de")),
        ("nmae", json!("A")),
    ] {
        let mut wrong = details.clone();
        wrong[field] = value;
        let refused = scene.put(&path, &scene.operator, &wrong).await;
        refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    }
    assert_eq!(scene.get(&path, &scene.member).await.body, said.body);
    let list = subscribed(&scene).await;
    let invoice = scene
        .get(&format!("{list}/INV-000001"), &scene.member)
        .await;
    assert_eq!(invoice.body["buyer"]["name"], "上海示例科技有限公司");
    assert_eq!(invoice.body["locale"], "zh-CN");
}
