//! Coupons, and which accounts have redeemed them.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261124_000032_coupons",
    statements: &[
        // Everything about it; whoever redeems it locks its row.
        r"CREATE TABLE coupon (
        id BIGINT PRIMARY KEY,
        code TEXT NOT NULL,
        facts TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        archived_at BIGINT,
        redemptions BIGINT NOT NULL
    ){rows}",
        "CREATE UNIQUE INDEX coupon_code ON coupon (code)",
        // What is left of it: on how many invoices more it takes something off; null for all.
        r"CREATE TABLE coupon_redemption (
        account_id BIGINT NOT NULL REFERENCES account (id),
        coupon_id BIGINT NOT NULL REFERENCES coupon (id),
        redeemed_at BIGINT NOT NULL,
        invoices_left BIGINT,
        PRIMARY KEY (account_id, coupon_id)
    ){clustered}",
        // What coupons took off the fee, in minor units.
        "ALTER TABLE subscription_fee ADD COLUMN discount BIGINT NOT NULL DEFAULT 0",
    ],
};
