use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use serde_json::json;
use time::Duration;

use super::scene::Scene;

const SESSION: &str = "/api/v1/session";

#[actix_web::test]
async fn signing_in_sets_a_cookie_that_lasts_until_signing_out() {
    let scene = Scene::new().await;
    let who = json!({"email": " Member@Example.com", "password": "correct horse battery"});
    let request = TestRequest::post().uri(SESSION).set_json(&who);
    let reply = scene
        .call(request.insert_header(("x-forwarded-proto", "https")))
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
    assert_eq!(reply.body["user"]["email"], "member@example.com");
    assert_eq!(reply.body["accounts"][0]["id"], scene.account());
    let cookie = reply.header("set-cookie");
    for part in [
        "HttpOnly",
        "SameSite=Lax",
        "Path=/",
        "Secure",
        "Max-Age=604800",
    ] {
        assert!(cookie.contains(part), "{part} is missing in {cookie}");
    }
    let secret = cookie.split(['=', ';']).nth(1).unwrap().to_owned();
    assert!(!reply.text.contains(&secret) && secret.len() > 40);
    assert_eq!(scene.get(SESSION, &secret).await.status, StatusCode::OK);
    assert_eq!(
        scene.delete(SESSION, &secret).await.status,
        StatusCode::NO_CONTENT
    );
    scene
        .get(SESSION, &secret)
        .await
        .is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}

#[actix_web::test]
async fn a_session_ends_by_itself() {
    let scene = Scene::new().await;
    assert_eq!(
        scene.get(SESSION, &scene.member).await.status,
        StatusCode::OK
    );
    scene.world.ports.clock.advance(Duration::days(2));
    let late = scene.get(SESSION, &scene.member).await;
    late.is_problem(StatusCode::UNAUTHORIZED, "unauthenticated");
}

#[actix_web::test]
async fn a_wrong_password_and_an_unknown_email_are_one_and_tries_are_bounded() {
    let scene = Scene::new().await;
    for email in ["operator@example.com", "nobody@example.com"] {
        let who = json!({"email": email, "password": "wrong"});
        let reply = scene.send(Method::POST, SESSION, None, Some(&who)).await;
        reply.is_problem(StatusCode::UNAUTHORIZED, "wrong_credentials");
    }
    let who = json!({"email": "somebody@example.com", "password": "wrong"});
    for _ in 0..10 {
        let reply = scene.send(Method::POST, SESSION, None, Some(&who)).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    }
    let reply = scene.send(Method::POST, SESSION, None, Some(&who)).await;
    reply.is_problem(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts");
    assert_eq!(reply.header("retry-after"), "60");
}

#[actix_web::test]
async fn another_sites_page_changes_nothing() {
    let scene = Scene::new().await;
    let headers = [
        ("content-type", "application/json"),
        ("host", "bills.example"),
        ("origin", "https://evil.example"),
    ];
    let body = json!({"name": "x"}).to_string().into_bytes();
    let path = "/api/v1/accounts";
    let reply = scene
        .raw(Method::POST, path, &scene.operator, &headers, body)
        .await;
    reply.is_problem(StatusCode::FORBIDDEN, "cross_site");
    let list = scene.get(path, &scene.operator).await;
    assert_eq!(list.body["data"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_user_is_made_once_and_can_sign_in() {
    let scene = Scene::new().await;
    let who = json!({"email": "Ada@Example.com", "password": "a long password"});
    let made = scene.post("/api/v1/users", &scene.operator, &who).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!(made.body["operator"], false);
    assert!(!made.text.contains("password"));
    let again = scene.post("/api/v1/users", &scene.operator, &who).await;
    again.is_problem(StatusCode::CONFLICT, "conflict");
    let signed_in = scene.send(Method::POST, SESSION, None, Some(&who)).await;
    assert_eq!(signed_in.status, StatusCode::OK);
    for wrong in [
        json!({"email": "ada", "password": "a long password"}),
        json!({"email": "a@b.c"}),
    ] {
        let reply = scene.post("/api/v1/users", &scene.operator, &wrong).await;
        reply.is_problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid");
    }
}
