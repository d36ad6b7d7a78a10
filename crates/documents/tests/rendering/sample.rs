//! A customer with forty models, and the documents of a month.

use std::collections::{BTreeMap, BTreeSet};

use billing_core::charge_model::Quantity;
use billing_core::id::{AccountId, CreditNoteId, InvoiceId, PriceVersionId};
use billing_core::invoice::{
    Carried, Component, CreditAsk, CreditLine, CreditNote, CreditTo, Discount, Invoice,
    InvoiceHead, InvoiceParts, Issue, LineItem, LineUnit, Locale, Movement, MovementKind, Off,
    Party, Series, StatedPrice, Statement, TaxCategory, TaxId, TaxRate, TaxTreatment, assemble,
};
use billing_core::meter::Meter;
use billing_core::money::{Currency, Minor, Nanos};
use billing_core::period::Period;
use time::{Duration, OffsetDateTime};

const ACCOUNT: AccountId = AccountId::new(0x1234_5678_9abc);

fn october() -> Period {
    // 2026-10-01 and 2026-11-01 in Shanghai.
    let at = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
    Period {
        start: at(1_790_784_000),
        end: at(1_793_462_400),
    }
}

fn seller() -> Party {
    Party {
        name: "上海示例智能科技有限公司".to_owned(),
        address: vec![
            "中国（上海）自由贸易试验区".to_owned(),
            "世纪大道 100 号 环球金融中心 45 层".to_owned(),
        ],
        country: "CN".parse().unwrap(),
        region: Some("上海".to_owned()),
        tax_id: Some(TaxId {
            kind: "统一社会信用代码".to_owned(),
            value: "91310000MA1EXAMPLE".to_owned(),
        }),
        email: Some("billing@example.com".to_owned()),
    }
}

fn buyer() -> Party {
    Party {
        name: "堃喆（北京）数据服务有限公司".to_owned(),
        address: vec![
            "北京市海淀区中关村大街 27 号".to_owned(),
            "王祎玥 收".to_owned(),
        ],
        country: "CN".parse().unwrap(),
        region: None,
        tax_id: Some(TaxId {
            kind: "税号".to_owned(),
            value: "91110108EXAMPLE00X".to_owned(),
        }),
        email: None,
    }
}

fn rate(name: &str, percent: &str) -> TaxRate {
    TaxRate {
        name: name.to_owned(),
        jurisdiction: "CN".to_owned(),
        percent: percent.parse().unwrap(),
        included: false,
    }
}

fn category(name: &str) -> TaxCategory {
    name.parse().unwrap()
}

fn usage(at: i64) -> LineItem {
    let calls = u64::try_from(at * 7_919 + 12).unwrap();
    let by_token = at % 3 == 0;
    LineItem {
        key: format!("usage:{at}"),
        component: Component::Usage {
            model: format!("model-{at:02}"),
            price_version: PriceVersionId::new(at),
        },
        subject: format!("example/model-{at:02}"),
        period: Some(october()),
        quantity: Quantity::whole(if by_token { calls * 812 } else { calls }),
        unit: if by_token {
            LineUnit::Tokens
        } else {
            LineUnit::Calls
        },
        unit_price: by_token.then(|| StatedPrice {
            price: "0.0000025".parse().unwrap(),
            per: 1_000_000,
        }),
        meters: vec![
            (Meter::Input, calls * 812),
            (Meter::CacheRead, calls * 64),
            (Meter::Output, calls * 210),
        ],
        exact: Nanos::new(at * 20_123_456_789 + 4_321),
        tax_category: category("standard"),
        discountable: true,
        plan: None,
    }
}

fn plan() -> LineItem {
    let end = october().end;
    LineItem {
        key: "plan".to_owned(),
        component: Component::PlanFee,
        subject: "专业版 Pro".to_owned(),
        period: Some(Period {
            start: end,
            end: end + Duration::days(30),
        }),
        quantity: Quantity::whole(1),
        unit: LineUnit::Periods,
        unit_price: Some(StatedPrice {
            price: "499".parse().unwrap(),
            per: 1,
        }),
        meters: Vec::new(),
        exact: Nanos::parse("499").unwrap(),
        tax_category: category("plans"),
        discountable: true,
        plan: None,
    }
}

fn parts(lines: i64) -> InvoiceParts {
    let mut items: Vec<LineItem> = (0..lines).map(usage).collect();
    items.push(plan());
    let (vat, fee) = (rate("增值税", "6"), rate("文化事业建设费", "3"));
    let taxed = |rates| TaxTreatment::Taxed { rates };
    InvoiceParts {
        head: InvoiceHead {
            id: InvoiceId::new(1),
            account: ACCOUNT,
            currency: Currency::CNY,
            seller: seller(),
            buyer: buyer(),
            locale: Locale::ZhCn,
            period: Some(october()),
            notes: vec![
                "开户行：示例银行上海分行，账号 6222 0000 1234 5678 901。请在汇款附言中注明账单编号。".to_owned(),
                "Questions about this invoice? billing@example.com".to_owned(),
            ],
        },
        items,
        minimum: None,
        carried: Some(Carried {
            amount: Nanos::new(12_345_678),
            tax_category: category("standard"),
        }),
        discounts: vec![Discount {
            name: "金秋优惠".to_owned(),
            code: Some("AUTUMN-26".parse().unwrap()),
            off: Off::Percent("5".parse().unwrap()),
            minimum: None,
            plans: BTreeSet::new(),
        }],
        promo: Minor::ZERO,
        treatments: BTreeMap::from([
            (category("standard"), taxed(vec![vat.clone()])),
            (category("plans"), taxed(vec![vat, fee])),
        ]),
    }
}

/// A final invoice of so many models and a plan, a part of which is paid.
pub(crate) fn invoice(lines: i64) -> Invoice {
    let at = october().end + Duration::hours(9);
    let series: Series = "INV-2026-".parse().unwrap();
    let issue = Issue {
        number: series.after(Some(41)),
        at,
        due_at: at + Duration::days(14),
    };
    let draft = assemble(parts(lines)).unwrap();
    let invoice = draft.finalize(issue, &[]).unwrap().invoice;
    invoice.pay(Minor::new(50_000), at).unwrap().invoice
}

/// A paid invoice, and what of it is given back.
pub(crate) fn credit_note() -> (Invoice, CreditNote) {
    let invoice = invoice(3);
    let due = invoice.owed.total().unwrap();
    let paid = invoice.pay(due, october().end).unwrap().invoice;
    let series: Series = "CN-2026-".parse().unwrap();
    let plan = paid.content.lines.iter().position(|l| l.item.key == "plan");
    let line = |line, amount| CreditLine {
        line,
        amount: Minor::new(amount),
        unused: Nanos::ZERO,
    };
    let ask = CreditAsk {
        id: CreditNoteId::new(1),
        number: series.after(None),
        at: october().end + Duration::days(3),
        reason: "套餐提前终止 · early end of the plan".to_owned(),
        lines: vec![line(plan.unwrap(), 31_600), line(1, 1_000)],
        to: CreditTo::Balance,
    };
    let issued = paid.credit(&[], ask).unwrap();
    (issued.invoice, issued.note)
}

/// What moved in a prepaid wallet.
pub(crate) fn statement(locale: Locale) -> Statement {
    let movement = |kind, subject: &str, calls: Option<u64>, amount: &str| Movement {
        at: calls.is_none().then_some(october().start),
        kind,
        subject: subject.to_owned(),
        calls: calls.map(Quantity::whole),
        amount: Nanos::parse(amount).unwrap(),
    };
    Statement {
        account: ACCOUNT,
        currency: Currency::CNY,
        seller: seller(),
        buyer: buyer(),
        locale,
        period: october(),
        opening: Nanos::parse("1.5").unwrap(),
        movements: vec![
            movement(MovementKind::TopUp, "支付宝 2026100122", None, "1000"),
            movement(MovementKind::Promo, "", None, "50"),
            movement(
                MovementKind::Usage,
                "example/model-01",
                Some(12_345),
                "-321.987654321",
            ),
            movement(MovementKind::Usage, "example/model-02", Some(1), "-0.00321"),
            movement(MovementKind::Expiry, "", None, "-10.5"),
        ],
        closing: Nanos::parse("719.009135679").unwrap(),
    }
}
