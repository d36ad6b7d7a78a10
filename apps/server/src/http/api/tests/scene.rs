//! An operator, a member, a stranger, and an account over the ports in memory.

use std::sync::Arc;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::web::Data;
use actix_web::{App, cookie::Cookie};
use billing_core::id::UserId;
use billing_core::port::books::Books;
use billing_core::port::catalogue::PriceEdition;
use billing_core::port::clock::Clock;
use billing_core::port::directory::{Directory, Role, User};
use billing_core::port::orders::Orders;
use billing_core::port::plans::Plans;
use billing_core::port::proofs::Proofs;
use billing_core::port::reports::Reports;
use billing_core::port::subscriptions::{Collector, Subscriptions};
use billing_core::price::{Attribute, Attributes, Prospect};
use billing_core::subscription::Dunning;
use serde_json::Value;
use testkit::world::{NOON, user};
use testkit::{ManualClock, Memory, Ports, World};
use time::Duration;

use crate::gate::{Callers, Prices};
use crate::http::api::session::COOKIE;
use crate::http::routes;
use crate::http::v1::models::ServedModels;
use crate::ids::Ids;
use crate::price_list::PriceList;
use crate::secrets;

/// Everything the API stands on, and three who are signed in.
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) operator: String,
    pub(super) member: String,
    pub(super) member_id: UserId,
    pub(super) stranger: String,
    callers: Data<Callers>,
    prices: Data<Prices>,
    ids: Data<Ids>,
}

/// Some answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

#[derive(Debug)]
struct AllButHidden;

impl ServedModels for AllButHidden {
    fn serves(&self, model: &str) -> bool {
        model != "hidden"
    }

    fn prospect(&self, model: &str) -> Option<Arc<Prospect>> {
        let eu = Attributes::NONE.with(Attribute::Region, "eu");
        let through = || Arc::new(Prospect::through(&eu, &[Attribute::Speed]));
        self.serves(model).then(through)
    }
}

impl Scene {
    pub(super) async fn new() -> Self {
        let clock = ManualClock::at(NOON);
        let memory = Arc::new(Memory::new(Arc::new(clock.clone())));
        let ports = Ports::of(memory, clock.clone(), ());
        let world = World::new(ports).await;
        let operator = User {
            operator: true,
            ..user(UserId::new(11), "operator@example.com")
        };
        let member = user(UserId::new(12), "member@example.com");
        let stranger = user(UserId::new(13), "stranger@example.com");
        let directory = &world.ports.directory;
        let password = secrets::hash_password("correct horse battery").unwrap();
        for (secret, user) in [
            ("op", &operator),
            ("member", &member),
            ("stranger", &stranger),
        ] {
            directory
                .create_user(user.clone(), &password)
                .await
                .unwrap();
            let (hash, until) = (secrets::hash(secret), NOON + Duration::days(1));
            directory
                .open_session(hash, user.id, NOON, until)
                .await
                .unwrap();
        }
        directory
            .add_member(world.account, member.id, Role::Member)
            .await
            .unwrap();
        let prices = Prices::load(Arc::clone(&world.ports.catalogue))
            .await
            .unwrap();
        Self {
            callers: Data::new(Callers::new(Arc::clone(&world.ports.directory))),
            prices: Data::new(prices),
            ids: Data::new(Ids::new(1, Arc::new(clock))),
            world,
            operator: "op".to_owned(),
            member: "member".to_owned(),
            member_id: member.id,
            stranger: "stranger".to_owned(),
        }
    }

    /// Records prices, as long ago as they took effect, and has them known.
    pub(super) async fn record(&self, edition: PriceEdition) {
        let catalogue = &self.world.ports.catalogue;
        let versions = edition.versions.iter().map(|(v, _)| v.effective_from());
        let sales = edition.sales.iter().map(|rule| rule.effective_from);
        let tiers = edition.tiers.iter().map(|schedule| schedule.effective_from);
        let now = self.world.now();
        let then = versions.chain(sales).chain(tiers).fold(now, std::cmp::min);
        catalogue.record(edition, then).await.unwrap();
        self.prices.reload().await.unwrap();
    }

    pub(super) fn account(&self) -> String {
        self.world.account.to_string()
    }

    pub(super) async fn get(&self, path: &str, session: &str) -> Reply {
        self.send(Method::GET, path, Some(session), None).await
    }

    pub(super) async fn delete(&self, path: &str, session: &str) -> Reply {
        self.send(Method::DELETE, path, Some(session), None).await
    }

    pub(super) async fn post(&self, path: &str, session: &str, body: &Value) -> Reply {
        self.send(Method::POST, path, Some(session), Some(body))
            .await
    }

    pub(super) async fn put(&self, path: &str, session: &str, body: &Value) -> Reply {
        self.send(Method::PUT, path, Some(session), Some(body))
            .await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        session: Option<&str>,
        body: Option<&Value>,
    ) -> Reply {
        let json = [("content-type", "application/json")];
        let body = body.map(Value::to_string).unwrap_or_default().into_bytes();
        self.raw(method, path, session.unwrap_or_default(), &json, body)
            .await
    }

    /// Sends a request with these headers.
    pub(super) async fn raw(
        &self,
        method: Method,
        path: &str,
        session: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Reply {
        let mut request = TestRequest::with_uri(path).method(method).set_payload(body);
        if !session.is_empty() {
            request = request.cookie(Cookie::new(COOKIE, session.to_owned()));
        }
        for header in headers {
            request = request.insert_header(*header);
        }
        self.call(request).await
    }

    /// Sends a request through the routes of the binary.
    pub(super) async fn call(&self, request: TestRequest) -> Reply {
        let ports = &self.world.ports;
        let books: Arc<dyn Books> = Arc::clone(ports.books.first().unwrap());
        let directory: Arc<dyn Directory> = Arc::clone(&ports.directory);
        let reports: Arc<dyn Reports> = Arc::clone(&ports.reports);
        let proofs: Arc<dyn Proofs> = Arc::clone(&ports.proofs);
        let plans: Arc<dyn Plans> = Arc::clone(&ports.plans);
        let subscriptions: Arc<dyn Subscriptions> = Arc::clone(&ports.subscriptions);
        let orders: Arc<dyn Orders> = Arc::clone(&ports.orders);
        let collector: Arc<dyn Collector> = Arc::clone(&ports.collector);
        let clock: Arc<dyn Clock> = Arc::new(ports.clock.clone());
        let served: Arc<dyn ServedModels> = Arc::new(AllButHidden);
        let price_list = PriceList::new(
            self.prices.clone().into_inner(),
            Arc::clone(&reports),
            Arc::clone(&clock),
            Arc::clone(&served),
            4096,
        );
        let app = App::new()
            .app_data(self.callers.clone())
            .app_data(self.prices.clone())
            .app_data(self.ids.clone())
            .app_data(Data::from(books))
            .app_data(Data::from(directory))
            .app_data(Data::from(reports))
            .app_data(Data::from(Arc::clone(&ports.invoices)))
            .app_data(Data::from(Arc::clone(&ports.coupons)))
            .app_data(Data::from(Arc::clone(&ports.messages)))
            .app_data(Data::from(proofs))
            .app_data(Data::from(plans))
            .app_data(Data::from(subscriptions))
            .app_data(Data::from(orders))
            .app_data(Data::from(collector))
            .app_data(Data::new(Dunning::default()))
            .app_data(Data::from(clock))
            .app_data(Data::new(price_list))
            .app_data(Data::from(served))
            .configure(routes::configure);
        let app = init_service(app).await;
        let response = call_service(&app, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8(read_body(response).await.to_vec()).unwrap_or_default();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply {
            status,
            headers,
            text,
            body,
        }
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    /// Asserts that it is a whole problem+json.
    pub(super) fn is_problem(&self, status: StatusCode, code: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.header(CONTENT_TYPE.as_str()),
            "application/problem+json"
        );
        assert_eq!(self.body["code"], code, "{}", self.text);
        assert_eq!(self.body["status"], status.as_u16());
        for member in ["type", "title", "detail"] {
            assert!(
                self.body[member].as_str().is_some_and(|t| !t.is_empty()),
                "{member}"
            );
        }
    }
}
