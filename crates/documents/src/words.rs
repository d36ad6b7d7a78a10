//! The words that documents print themselves, in each language.
//!
//! The bold face has no other Chinese characters than those here: make it anew (fonts/README.md) when
//! a word is added. A test fails until then.

use billing_core::invoice::Locale;

macro_rules! words {
    ($($name:ident $en:literal $zh:literal;)*) => {
        /// A word of a document.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Word { $($name,)* }

        impl Word {
            /// Every word.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How a language says it.
            pub(crate) const fn text(self, locale: Locale) -> &'static str {
                match (self, locale) {
                    $((Self::$name, Locale::En) => $en, (Self::$name, Locale::ZhCn) => $zh,)*
                }
            }
        }
    };
}

words! {
    // What is called an invoice here is not what China calls 发票: that one is the tax office's.
    Invoice "Invoice" "账单";
    CreditNote "Credit note" "贷项通知单";
    Statement "Statement" "对账单";
    Draft "Draft" "草稿";
    Paid "Paid" "已付清";
    Void "Void" "已作废";

    From "From" "开具方";
    BilledTo "Billed to" "收件方";
    Number "Number" "编号";
    Issued "Issued" "开具日期";
    Due "Due" "付款期限";
    Period "Period" "账期";
    ForInvoice "For invoice" "对应账单";
    Account "Account" "账户";
    Currency "Currency" "币种";
    Reason "Reason" "原因";

    Description "Description" "项目";
    Quantity "Quantity" "数量";
    UnitPrice "Unit price" "单价";
    Tax "Tax" "税率";
    Amount "Amount" "金额";
    Date "Date" "日期";

    Usage "Usage" "用量";
    PlanFee "Plan" "套餐";
    AddOn "Pack" "加量包";
    ProrationCharge "Rest of the period on" "按剩余时间计费";
    ProrationCredit "Unused time on" "未使用时间退回";
    TopUp "Credit" "余额充值";
    TrueUp "Minimum commitment" "最低消费补足";
    Progressive "Charged before on" "此前已开账单";
    Carried "Fractions carried over from earlier invoices" "往期账单尾差结转";

    Call "call" "次";
    Calls "calls" "次";
    Token "token" "Token";
    Tokens "tokens" "Token";
    Seat "seat" "席位";
    Seats "seats" "席位";
    Pack "pack" "包";
    Packs "packs" "包";

    Subtotal "Subtotal" "小计";
    Discount "Discount" "折扣";
    PromoCredit "Promotional credit" "赠送余额抵扣";
    Net "Net" "未税金额";
    On "on" "计税额";
    Included "Includes" "其中含";
    Total "Total" "合计";
    PaidByCredit "Paid with credit notes" "贷项余额支付";
    PaidByWallet "Paid from balance" "预付余额支付";
    PaidByPayment "Payments" "已付款";
    Credited "Credit notes" "贷项冲减";
    AmountDue "Amount due" "应付金额";
    Offset "Taken off what was due" "冲减未付金额";
    ToBalance "Credit for later invoices" "计入贷项余额";
    ToWallet "Paid into the balance" "退回预付余额";
    Refunded "Refunded" "退款";

    ReverseCharge "Reverse charge: the recipient owes the tax." "反向征收：税款由购买方缴纳。";
    Exempt "No tax:" "免税：";
    Open "Opening balance" "期初余额";
    Close "Closing balance" "期末余额";
    Promo "Promotional credit" "赠送余额";
    Adjustment "Adjustment" "调整";
    Expiry "Expired credit" "余额过期";
    Payment "Payment" "付款";
    InvoicePaid "Invoice" "账单支付";
    Refund "Refund" "退款";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_said_in_every_language() {
        for word in Word::ALL {
            for locale in [Locale::En, Locale::ZhCn] {
                assert!(!word.text(locale).trim().is_empty(), "{word:?}");
            }
        }
    }
}
