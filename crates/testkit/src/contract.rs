//! The rules of the ports. Each runs against every adapter.

pub mod books;
pub mod catalogue;
pub mod coupons;
pub mod directory;
pub mod invoices;
pub mod messages;
pub mod nodes;
pub mod orders;
pub mod plans;
pub mod proofs;
pub mod reports;
pub mod spool;
pub mod subscriptions;

/// One test a rule: `testkit::rules!(module, opener, contract module, rules…)`.
#[macro_export]
macro_rules! rules {
    ($name:ident, $open:expr, $port:ident: $($rule:ident)*) => {
        mod $name {
            $(
                #[test]
                fn $rule() {
                    $crate::contract::run(async {
                        let world = $crate::World::new($open().await).await;
                        $crate::contract::$port::$rule(world).await;
                    });
                }
            )*
        }
    };
}

/// Runs a rule to its end on two threads.
pub fn run(rule: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(rule);
}
