//! The queries of a look at the books.

use crate::rows::BatchSql;
use crate::rows::Kind::{Int, Text};

pub(in crate::books) static WALLETS: BatchSql = BatchSql::query(
    &[("account_id", Int)],
    &[
        ("account_id", Int),
        ("posted", Int),
        ("leased", Int),
        ("credit_limit", Int),
        ("version", Int),
        ("currency", Text),
        ("status", Text),
    ],
    "SELECT w.account_id, w.posted, w.leased, w.credit_limit, w.version, w.currency, w.status \
     FROM wallet w WHERE w.account_id IN (SELECT v.account_id FROM {rows} v) \
     ORDER BY w.account_id{lock}",
);

pub(in crate::books) static RECORDED: BatchSql = BatchSql::new(
    &[("account_id", Int), ("id", Int)],
    "SELECT c.id, c.account_id, c.key_id, c.started_at, c.charge, c.overrun, c.quarantined, \
     c.on_credit, c.draws, c.uses, c.balance_after, c.cost, \
     c.rating, c.covered FROM {rows} v CROSS JOIN call c \
     WHERE c.id = v.id AND c.account_id = v.account_id",
);

pub(in crate::books) static LOTS: BatchSql = BatchSql::query(
    &[("account_id", Int)],
    &[
        ("account_id", Int),
        ("id", Int),
        ("priority", Int),
        ("effective_at", Int),
        ("expires_at", Int),
        ("created_at", Int),
        ("granted", Int),
        ("remaining", Int),
        ("kind", Text),
    ],
    "SELECT l.account_id, l.id, l.priority, l.effective_at, l.expires_at, l.created_at, \
     l.granted, l.remaining, l.kind FROM {rows} v CROSS JOIN lot l \
     WHERE l.account_id = v.account_id AND l.remaining > 0",
);

pub(in crate::books) static LEASES: BatchSql = BatchSql::query(
    &[("account_id", Int), ("node_id", Int)],
    &[
        ("account_id", Int),
        ("node_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
        ("amount", Int),
    ],
    "SELECT l.account_id, l.node_id, l.kind, l.subject, l.unit, l.window_start, l.amount \
     FROM {rows} v CROSS JOIN lease l \
     WHERE l.account_id = v.account_id AND l.node_id = v.node_id",
);

/// What a quota gives is as many times the plan's as the account has of the version, or ever had, so
/// that what is settled after the end keeps the bound, with what rolled over into its window and less
/// what rolled over out of it; only an open subscription has the budget.
pub(in crate::books) static USES: BatchSql = BatchSql::query(
    &[
        ("account_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
    ],
    &[
        ("account_id", Int),
        ("kind", Int),
        ("subject", Int),
        ("unit", Int),
        ("window_start", Int),
        ("used", Int),
        ("leased", Int),
        ("amount", Int),
        ("known", Int),
        ("rolls", Int),
    ],
    "SELECT v.account_id, v.kind, v.subject, v.unit, v.window_start, \
     COALESCE(q.used, 0) AS used, COALESCE(q.leased, 0) AS leased, \
     COALESCE(k.limit_amount, m.limit_amount, COALESCE(p.amount, c.call_limit) * \
       COALESCE(s.quantity, h.quantity) + COALESCE(q.came - q.went, 0)) AS amount, \
     CASE WHEN k.id IS NOT NULL OR m.user_id IS NOT NULL OR s.quantity IS NOT NULL THEN 1 \
       ELSE 0 END AS known, \
     CASE WHEN p.rollover > 0 THEN 1 ELSE 0 END AS rolls \
     FROM {rows} v \
     LEFT JOIN quota_usage q ON q.account_id = v.account_id AND q.kind = v.kind \
       AND q.subject = v.subject AND q.unit = v.unit AND q.window_start = v.window_start \
     LEFT JOIN api_key k ON v.kind = 1 AND k.id = v.subject AND k.account_id = v.account_id \
     LEFT JOIN membership m ON v.kind = 2 AND m.account_id = v.account_id \
       AND m.user_id = v.subject \
     LEFT JOIN plan_quota p ON v.kind = 3 AND p.id = v.subject AND p.unit = v.unit \
     LEFT JOIN plan_version c ON v.kind = 7 AND c.id = v.subject \
       AND c.call_limit IS NOT NULL \
     LEFT JOIN plan_held h ON h.account_id = v.account_id \
       AND h.plan_version_id = COALESCE(p.plan_version_id, c.id) \
     LEFT JOIN subscription s ON s.account_id = v.account_id \
       AND s.plan_version_id = COALESCE(p.plan_version_id, c.id) \
       AND s.state IN ('active', 'trialing', 'grace')",
);
