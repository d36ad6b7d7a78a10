//! The texts of messages, in each language. Every kind has both; what a message does not say is left
//! out of its text.

use time::OffsetDateTime;

use super::{MessageFacts, MessageKind};
use crate::invoice::Locale;
use crate::money::Money;
use crate::period::Period;
use crate::subscription::EndReason;
use crate::zone::Zone;

/// A message as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What it is about, in one line.
    pub subject: String,
    /// What it says, in a few sentences.
    pub body: String,
}

/// A message as people read it, in a language, with dates of a zone.
pub fn text(kind: MessageKind, facts: &MessageFacts, (locale, zone): (Locale, &Zone)) -> Text {
    let said = Said { facts, zone };
    let (subject, sentences) = match locale {
        Locale::En => (english_subject(kind), english(kind, said)),
        Locale::ZhCn => (chinese_subject(kind), chinese(kind, said)),
    };
    let between = match locale {
        Locale::En => " ",
        Locale::ZhCn => "",
    };
    Text {
        subject: subject.to_owned(),
        body: sentences.join(between),
    }
}

/// The facts, as parts of sentences.
#[derive(Debug, Clone, Copy)]
struct Said<'a> {
    facts: &'a MessageFacts,
    zone: &'a Zone,
}

impl Said<'_> {
    fn at(self, instant: OffsetDateTime) -> String {
        let local = self.zone.local(instant);
        let (date, hour, minute) = (local.date(), local.hour(), local.minute());
        format!("{date} {hour:02}:{minute:02} ({})", self.zone.name())
    }

    /// A sentence with an instant at its `@`, where that is known.
    fn when(self, instant: Option<OffsetDateTime>, sentence: &str) -> Option<String> {
        instant.map(|instant| sentence.replace('@', &self.at(instant)))
    }

    /// How much, or the words for it where that is not known.
    fn amount(self, unknown: &str) -> String {
        let minor = self.facts.amount.zip(self.facts.currency);
        let money = minor.and_then(|(amount, currency)| Money::of_minor(amount, currency).ok());
        money.map_or_else(|| unknown.to_owned(), |money| money.to_string())
    }

    fn period(self, sentence: impl Fn(String, String) -> String) -> Option<String> {
        let day = |instant| self.zone.local(instant).date().to_string();
        let period = self.facts.period;
        period.map(|Period { start, end }| sentence(day(start), day(end)))
    }

    fn invoice(self, sentence: impl Fn(&str) -> String) -> Option<String> {
        self.facts.invoice.as_deref().map(sentence)
    }
}

const fn english_subject(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::TrialBegan => "Your trial has begun",
        MessageKind::TrialEnding => "Your trial is about to end",
        MessageKind::Invoiced => "You have a new invoice",
        MessageKind::Paid => "Your subscription is paid",
        MessageKind::Recovered => "Your payment has gone through",
        MessageKind::PaymentFailed => "A payment has failed",
        MessageKind::AccessClosed => "The quotas of your plan are closed",
        MessageKind::Paused => "Your subscription is paused",
        MessageKind::WillEnd => "Your subscription is going to end",
        MessageKind::Resumed => "Your subscription goes on",
        MessageKind::Ended => "Your subscription has ended",
    }
}

fn english(kind: MessageKind, said: Said<'_>) -> Vec<String> {
    let facts = said.facts;
    let some = |sentence: &str| Some(sentence.to_owned());
    let top_up = some("Please top up your wallet.");
    let fee = said.amount("the fee of your plan");
    let span = said.period(|start, end| format!("It is for {start} to {end}."));
    let again = said.when(facts.next_try_at, "We try again at @.");
    let ends = said.when(
        facts.ends_at,
        "The subscription ends at @ unless it is paid by then.",
    );
    let parts = match kind {
        MessageKind::TrialBegan => vec![
            some("Your trial has begun."),
            said.when(facts.ends_at, "It is free until @."),
        ],
        MessageKind::TrialEnding => vec![
            said.when(facts.ends_at, "Your trial ends at @."),
            some("Then the first fee is paid from your wallet; see that it has enough."),
        ],
        MessageKind::Invoiced => vec![
            said.invoice(|number| format!("Invoice {number} is ready.")),
            Some(format!("It comes to {fee}.")),
            span,
        ],
        MessageKind::Paid => vec![
            Some(format!("We have received {}.", said.amount("your payment"))),
            span,
        ],
        MessageKind::Recovered => vec![
            Some(format!("We have received {}.", said.amount("your payment"))),
            some("Nothing is owed any more, and your plan goes on."),
            span,
        ],
        MessageKind::PaymentFailed => vec![
            Some(format!(
                "We could not collect {fee}: the wallet has too little bought credit."
            )),
            again,
            said.when(facts.grace_until, "Your plan works until @."),
            ends,
            top_up,
        ],
        MessageKind::AccessClosed => vec![
            Some(format!(
                "{} is still unpaid, so the quotas of your plan are closed.",
                said.amount("The fee of your plan")
            )),
            some("Credit in the wallet can be used as before."),
            again,
            ends,
            top_up,
        ],
        MessageKind::Paused => vec![some(
            "Nothing is billed and nothing is given until you take it up again.",
        )],
        MessageKind::WillEnd => vec![
            said.when(facts.ends_at, "It ends at @ and is not renewed."),
            some("Until then you can take that back."),
        ],
        MessageKind::Resumed => vec![some(
            "It goes on as before: what it was to end with, or change to, is taken back.",
        )],
        MessageKind::Ended => vec![
            said.when(facts.ends_at, "It has ended at @."),
            facts.reason.map(|why| english_reason(why).to_owned()),
        ],
    };
    parts.into_iter().flatten().collect()
}

const fn english_reason(why: EndReason) -> &'static str {
    match why {
        EndReason::Cancelled => "It was cancelled.",
        EndReason::RanOut => "It was not to be renewed.",
        EndReason::NeverPaid => "Its first fee was not paid in time.",
        EndReason::Unpaid => "Its fee was not paid.",
    }
}

const fn chinese_subject(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::TrialBegan => "试用已开始",
        MessageKind::TrialEnding => "试用即将结束",
        MessageKind::Invoiced => "您有一张新账单",
        MessageKind::Paid => "订阅费用已支付",
        MessageKind::Recovered => "欠费已付清",
        MessageKind::PaymentFailed => "扣款失败",
        MessageKind::AccessClosed => "套餐额度已停用",
        MessageKind::Paused => "订阅已暂停",
        MessageKind::WillEnd => "订阅即将结束",
        MessageKind::Resumed => "订阅将继续",
        MessageKind::Ended => "订阅已结束",
    }
}

fn chinese(kind: MessageKind, said: Said<'_>) -> Vec<String> {
    let facts = said.facts;
    let top_up = || Some("请为钱包充值。".to_owned());
    let again = said.when(facts.next_try_at, "我们将于 @ 再次扣款。");
    let ends = said.when(facts.ends_at, "若在 @ 前仍未付清，订阅将结束。");
    let span = said.period(|start, end| format!("费用周期为 {start} 至 {end}。"));
    let parts = match kind {
        MessageKind::TrialBegan => vec![
            Some("您的试用已开始。".to_owned()),
            said.when(facts.ends_at, "免费使用至 @。"),
        ],
        MessageKind::TrialEnding => vec![
            said.when(facts.ends_at, "您的试用将于 @ 结束。"),
            Some("届时首期费用将从钱包中扣除，请确认余额充足。".to_owned()),
        ],
        MessageKind::Invoiced => vec![
            said.invoice(|number| format!("账单 {number} 已生成。")),
            Some(format!("金额为 {}。", said.amount("套餐费用"))),
            span,
        ],
        MessageKind::Paid => vec![
            Some(format!("我们已收到 {}。", said.amount("您的付款"))),
            span,
        ],
        MessageKind::Recovered => vec![
            Some(format!("我们已收到 {}。", said.amount("您的付款"))),
            Some("欠费已付清，套餐继续有效。".to_owned()),
            span,
        ],
        MessageKind::PaymentFailed => vec![
            Some(format!(
                "未能扣除 {}：钱包中已购余额不足。",
                said.amount("套餐费用")
            )),
            again,
            said.when(facts.grace_until, "套餐可继续使用至 @。"),
            ends,
            top_up(),
        ],
        MessageKind::AccessClosed => vec![
            Some(format!(
                "{} 仍未支付，套餐额度已停用。",
                said.amount("套餐费用")
            )),
            Some("钱包余额仍可使用。".to_owned()),
            again,
            ends,
            top_up(),
        ],
        MessageKind::Paused => vec![Some("恢复之前不计费，也不提供额度。".to_owned())],
        MessageKind::WillEnd => vec![
            said.when(facts.ends_at, "订阅将于 @ 结束，不再续订。"),
            Some("在此之前您可以撤回。".to_owned()),
        ],
        MessageKind::Resumed => vec![Some("结束或变更的安排已撤回，订阅照常继续。".to_owned())],
        MessageKind::Ended => vec![
            said.when(facts.ends_at, "订阅已于 @ 结束。"),
            facts.reason.map(|why| chinese_reason(why).to_owned()),
        ],
    };
    parts.into_iter().flatten().collect()
}

const fn chinese_reason(why: EndReason) -> &'static str {
    match why {
        EndReason::Cancelled => "原因：已取消。",
        EndReason::RanOut => "原因：不再续订。",
        EndReason::NeverPaid => "原因：首期费用未按时支付。",
        EndReason::Unpaid => "原因：费用未支付。",
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;
    use crate::money::Currency;

    const LOCALES: [Locale; 2] = [Locale::En, Locale::ZhCn];

    fn whole() -> MessageFacts {
        let start = OffsetDateTime::UNIX_EPOCH;
        let days = |days| start.saturating_add(Duration::days(days));
        MessageFacts {
            amount: Some(1_071),
            currency: Some(Currency::USD),
            invoice: Some("INV-000001".to_owned()),
            period: Some(Period {
                start,
                end: days(31),
            }),
            tries: Some(1),
            next_try_at: Some(days(1)),
            grace_until: Some(days(3)),
            ends_at: Some(days(16)),
            reason: Some(EndReason::Unpaid),
        }
    }

    fn is_chinese(text: &str) -> bool {
        text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
    }

    #[test]
    fn every_kind_has_a_text_in_each_language_whatever_is_known() {
        let zone = Zone::utc();
        for kind in MessageKind::ALL {
            assert_eq!(MessageKind::of_name(kind.name()), Some(kind));
            for facts in [whole(), MessageFacts::default()] {
                let [english, chinese] = LOCALES.map(|locale| text(kind, &facts, (locale, &zone)));
                assert!(!is_chinese(&format!("{english:?}")), "{english:?}");
                assert!(is_chinese(&chinese.subject), "{kind:?}: {chinese:?}");
                assert!(english.subject.is_ascii() && english.body.is_ascii());
                for text in [&english, &chinese] {
                    assert!(!text.subject.is_empty(), "{kind:?}");
                }
                if facts != MessageFacts::default() {
                    assert!(
                        is_chinese(&chinese.body) && !english.body.is_empty(),
                        "{kind:?}"
                    );
                }
            }
        }
    }

    /// Both languages say the same: every amount and date of one is in the other.
    #[test]
    fn both_languages_say_the_same_facts() {
        let zone: Zone = "Asia/Shanghai".parse().unwrap();
        let facts = whole();
        let said = [
            "10.71",
            "INV-000001",
            "1970-01-01",
            "1970-02-01",
            "1970-01-02 08:00 (Asia/Shanghai)",
            "1970-01-04 08:00 (Asia/Shanghai)",
            "1970-01-17 08:00 (Asia/Shanghai)",
        ];
        for kind in MessageKind::ALL {
            let [english, chinese] = LOCALES.map(|locale| text(kind, &facts, (locale, &zone)).body);
            for fact in said {
                assert_eq!(
                    english.contains(fact),
                    chinese.contains(fact),
                    "{kind:?} {fact}"
                );
            }
        }
        let failed = text(MessageKind::PaymentFailed, &facts, (Locale::En, &zone));
        assert_eq!(
            failed.body,
            "We could not collect 10.71 USD: the wallet has too little bought credit. We try again \
             at 1970-01-02 08:00 (Asia/Shanghai). Your plan works until 1970-01-04 08:00 \
             (Asia/Shanghai). The subscription ends at 1970-01-17 08:00 (Asia/Shanghai) unless it \
             is paid by then. Please top up your wallet."
        );
    }
}
