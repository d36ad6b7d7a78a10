//! The rules of the ports on PostgreSQL, with three handles on each database.

testkit::books_contract!(books, crate::open::postgres);
testkit::nodes_contract!(nodes, crate::open::postgres);
testkit::directory_contract!(directory, crate::open::postgres);
testkit::catalogue_contract!(catalogue, crate::open::postgres);
testkit::plans_contract!(plans, crate::open::postgres);
testkit::subscriptions_contract!(subscriptions, crate::open::postgres);
testkit::orders_contract!(orders, crate::open::postgres);
testkit::invoices_contract!(invoices, crate::open::postgres);
testkit::coupons_contract!(coupons, crate::open::postgres);
testkit::messages_contract!(messages, crate::open::postgres);
testkit::reports_contract!(reports, crate::open::postgres);
testkit::proofs_contract!(proofs, crate::open::postgres);
