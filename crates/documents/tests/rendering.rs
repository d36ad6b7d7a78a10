//! Documents as customers see them: forty lines, two tax rates, Chinese names, several pages.
//!
//! Built with `TOLLGATE_SHOW=FOLDER`, each test also writes its files there, to be looked at.
#![expect(
    clippy::unwrap_used,
    reason = "a test stops at what should not have failed"
)]

#[path = "rendering/read.rs"]
mod read;
#[path = "rendering/sample.rs"]
mod sample;

use std::fs;
use std::path::PathBuf;

use billing_core::invoice::Locale;
use billing_core::zone::Zone;
use documents::Document;
use read::pages_of;

fn shanghai() -> Zone {
    "Asia/Shanghai".parse().unwrap()
}

/// The PDF of a document, in pages of text.
fn set(document: &Document, name: &str) -> Vec<String> {
    let file = document.pdf().unwrap();
    if let Some(folder) = option_env!("TOLLGATE_SHOW") {
        let path = |ending| PathBuf::from(folder).join(format!("{name}.{ending}"));
        fs::write(path("pdf"), &file).unwrap();
        fs::write(path("html"), document.html()).unwrap();
    }
    assert_eq!(
        file,
        document.pdf().unwrap(),
        "the same document is the same bytes"
    );
    pages_of(&file)
}

#[test]
fn forty_lines_with_two_taxes_and_chinese_names_are_three_pages() {
    let invoice = sample::invoice(40);
    let pages = set(
        &Document::invoice(&invoice, Locale::ZhCn, &shanghai()),
        "zh",
    );
    assert_eq!(pages.len(), 3);
    let all = pages.concat();
    for text in [
        "账单",
        "INV-2026-000042",
        "上海示例智能科技有限公司",
        "堃喆（北京）数据服务有限公司",
        "统一社会信用代码",
        "2026年10月1日至2026年10月31日",
        "增值税 6%（CN）",
        "文化事业建设费 3%（CN）",
        "应付金额",
    ] {
        assert!(all.contains(text), "{text} is missing:\n{all}");
    }
    for model in 0..40 {
        let line = format!("model-{model:02}");
        assert_eq!(all.matches(&line).count(), 1, "{line}");
    }
    for (at, page) in pages.iter().enumerate() {
        assert!(page.contains(&format!("{} / 3", at + 1)), "{page}");
        assert!(page.contains("INV-2026-000042"), "{page}");
        let is_listed = page.contains("model-");
        let has_head = page.contains("单价") && page.contains("数量");
        assert!(has_head || !is_listed, "the table has no head:\n{page}");
    }
}

#[test]
fn every_figure_of_an_invoice_is_on_paper_as_on_screen() {
    let invoice = sample::invoice(40);
    let document = Document::invoice(&invoice, Locale::En, &shanghai());
    let all = set(&document, "en").concat();
    let html = document.html();
    let totals = invoice.content.totals;
    let currency = invoice.content.head.currency;
    assert_eq!(totals.total.text(currency), "16322.88");
    for value in document.totals.iter().map(|total| &total.value) {
        assert!(all.contains(value.as_str()), "{value}");
        assert!(html.contains(value.as_str()), "{value}");
    }
    let cells = document.rows.iter().flat_map(|row| &row.cells);
    for cell in cells.filter(|cell| !cell.text.is_empty() && cell.text.len() < 20) {
        assert!(all.contains(&cell.text), "{}", cell.text);
    }
    assert!(html.contains("<html lang=\"en\">") && html.contains("<thead>"));
}

#[test]
fn a_credit_note_a_statement_and_a_draft_are_documents_too() {
    let (invoice, note) = sample::credit_note();
    for locale in [Locale::En, Locale::ZhCn] {
        let name = locale.name();
        let document = Document::credit_note(&note, &invoice, locale, &shanghai());
        let pages = set(&document, &format!("credit-{name}"));
        assert_eq!(pages.len(), 1);
        assert!(pages.concat().contains("INV-2026-000042"));
        let statement = sample::statement(locale);
        statement.check().unwrap();
        let document = Document::statement(&statement, locale, &shanghai());
        let pages = set(&document, &format!("statement-{name}"));
        assert!(pages.concat().contains("−0.003210000"));
        let draft = Document::draft(&invoice.content, locale, &shanghai());
        assert!(
            !set(&draft, &format!("draft-{name}"))
                .concat()
                .contains("INV-2026")
        );
    }
}

#[test]
fn long_names_and_narrow_columns_stay_on_the_page() {
    let mut invoice = sample::invoice(3);
    let long = "A very long name of a company that nobody will ever read to its end ".repeat(2);
    invoice.content.head.buyer.name = long.clone();
    invoice.content.head.seller.name = "漫长".repeat(60);
    for line in &mut invoice.content.lines {
        line.item.subject = "a/model/with-an-unreasonably-long-name/".repeat(5);
    }
    let document = Document::invoice(&invoice, Locale::En, &shanghai());
    let pages = set(&document, "long");
    assert!(pages.len() <= 2);
    let words = pages.concat();
    let words: Vec<&str> = words.split_whitespace().collect();
    assert!(words.join(" ").contains(long.trim()));
}

#[test]
fn what_has_become_of_an_invoice_is_stamped_on_it() {
    let invoice = sample::invoice(2);
    let due = invoice.owed.total().unwrap();
    let paid = invoice.clone().pay(due, invoice.due_at).unwrap().invoice;
    let document = Document::invoice(&paid, Locale::ZhCn, &shanghai());
    let text = set(&document, "paid").concat();
    assert!(
        text.contains("已付清") && text.contains("CNY 0.00"),
        "{text}"
    );
    assert!(document.html().contains("class=\"stamp\""));
    let open = Document::invoice(&invoice, Locale::ZhCn, &shanghai());
    assert_eq!(open.stamp, None);
}

#[test]
fn hundreds_of_lines_are_set() {
    let invoice = sample::invoice(300);
    let document = Document::invoice(&invoice, Locale::ZhCn, &shanghai());
    let pages = pages_of(&document.pdf().unwrap());
    let last = pages.last().unwrap();
    assert!(last.contains(&format!("{0} / {0}", pages.len())), "{last}");
}
