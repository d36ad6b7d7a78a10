//! The rules of the ports on SQLite.

testkit::books_contract!(books, crate::open::sqlite);
testkit::nodes_contract!(nodes, crate::open::sqlite);
testkit::directory_contract!(directory, crate::open::sqlite);
testkit::catalogue_contract!(catalogue, crate::open::sqlite);
testkit::plans_contract!(plans, crate::open::sqlite);
testkit::subscriptions_contract!(subscriptions, crate::open::sqlite);
testkit::orders_contract!(orders, crate::open::sqlite);
testkit::invoices_contract!(invoices, crate::open::sqlite);
testkit::coupons_contract!(coupons, crate::open::sqlite);
testkit::messages_contract!(messages, crate::open::sqlite);
testkit::reports_contract!(reports, crate::open::sqlite);
testkit::proofs_contract!(proofs, crate::open::sqlite);
