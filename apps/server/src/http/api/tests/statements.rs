//! Statements over the API: which there are, what they say, and who reads them.

use actix_web::http::{Method, StatusCode};
use serde_json::json;
use time::Duration;

use super::scene::Scene;

#[actix_web::test]
async fn members_read_what_moved_and_strangers_do_not() {
    let scene = Scene::new().await;
    let world = &scene.world;
    world.top_up(5_000_000_000).await;
    world.lease_and_settle(400, 300).await;
    world.ports.clock.advance(Duration::minutes(1));
    let list = format!("/api/v1/accounts/{}/statements", scene.account());
    let months = scene.get(&list, &scene.member).await;
    assert_eq!(months.status, StatusCode::OK, "{}", months.text);
    let wanted = json!([{
        "month": "2026-11",
        "start": "2026-10-31T23:00:00Z",
        "end": "2026-11-30T23:00:00Z",
        "is_open": true,
    }]);
    assert_eq!(months.body["data"], wanted);
    let one = format!("{list}/2026-11");
    let read = scene.get(&one, &scene.member).await;
    assert_eq!(read.status, StatusCode::OK, "{}", read.text);
    assert_eq!(read.body["opening"]["amount"], "0.00");
    assert_eq!(read.body["closing"]["amount"], "4.9999997");
    assert_eq!(read.body["movements"][0]["subject"], "thanks");
    assert_eq!(read.body["movements"][1]["kind"], "usage");
    let csv = scene
        .get(&format!("{one}/statement.csv"), &scene.member)
        .await;
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 5, "{}", csv.text);
    assert_eq!(lines[1], "2026-10-31T23:00:00Z,opening,,0.00,USD");
    assert_eq!(lines[4], "2026-11-22T12:01:00Z,closing,,4.9999997,USD");
    let pdf = scene
        .get(&format!("{one}/statement.pdf"), &scene.member)
        .await;
    assert_eq!(pdf.header("content-type"), "application/pdf");
    let html = format!("{one}/statement.html?lang=zh-CN");
    let html = scene.get(&html, &scene.member).await;
    assert!(html.text.contains("对账单"), "{}", html.text);
    for path in [&list, &one, &format!("{one}/statement.csv")] {
        let refused = scene.get(path, &scene.stranger).await;
        refused.is_problem(StatusCode::NOT_FOUND, "not_found");
        let nobody = scene.send(Method::GET, path, None, None).await;
        nobody.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    for wrong in ["2026-10", "2026-12", "2026-13", "November"] {
        let refused = scene.get(&format!("{list}/{wrong}"), &scene.member).await;
        refused.is_problem(StatusCode::NOT_FOUND, "not_found");
    }
    let language = format!("{one}/statement.pdf?lang=de");
    let refused = scene.get(&language, &scene.member).await;
    refused.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
}
