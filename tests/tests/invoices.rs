//! A plan that is billed leaves an invoice: with a number, its tax, and on paper.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use acceptance::control::Control;
use acceptance::served::Served;
use reqwest::Method;
use serde_json::{Value, json};

const HOUSE: &str = r#"
[invoicing]
series = "INV-{year}-"
due_days = 14
elsewhere = "export"

[invoicing.seller]
name = "Example GmbH"
address = ["Hauptstr. 1", "10115 Berlin"]
country = "DE"
tax_id = { kind = "VAT", value = "DE123456789" }

[[invoicing.tax]]
country = "DE"
name = "VAT"
percent = "19"
"#;

/// The price of the plan, in nanos.
const NINE: i128 = 9_000_000_000;

fn command(served: &Served, arguments: &[&str]) -> String {
    let done = served.gate.run(arguments).unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn subscribe(served: &Served, account: &str) {
    let terms =
        json!({ "currency": "USD", "price": 9_000_000_000_u64, "billing": { "every": "P1M" } });
    let plan = json!({ "code": "pro", "name": "Pro", "terms": terms });
    let file = served.gate.folder().join("pro.json");
    std::fs::write(&file, plan.to_string()).unwrap();
    command(served, &["plans", "publish", file.to_str().unwrap()]);
    let who = ["--account", account, "--plan", "pro", "--billed"];
    command(served, &[&["plans", "subscribe"][..], &who].concat());
}

async fn refused(control: &Control, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let answer = control.ask(Method::POST, path, key, Some(body)).await;
    let (status, problem) = answer.unwrap();
    (status, problem["code"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_is_billed_leaves_an_invoice_on_paper() {
    let served = Served::start(HOUSE, 20 * 1_000_000_000).await.unwrap();
    let (control, account) = (&served.control, served.payer.account.as_str());
    let details = json!({
        "name": "上海示例科技有限公司", "address": ["Unter den Linden 5", "10117 Berlin"],
        "country": "DE", "language": "zh-CN",
    });
    let path = format!("accounts/{account}/billing-details");
    let said = control.ask(Method::PUT, &path, None, Some(&details)).await;
    assert_eq!(said.unwrap().0, 200);
    subscribe(&served, account);

    let list = control.get(&format!("accounts/{account}/invoices")).await;
    let list = list.unwrap();
    let first = &list["data"][0];
    let number = first["number"].as_str().unwrap();
    assert!(
        number.starts_with("INV-20") && number.ends_with("-000001"),
        "{first}"
    );
    assert_eq!(
        (&first["status"], &first["total"]["amount"]),
        (&json!("paid"), &json!("10.71"))
    );
    let one = format!("accounts/{account}/invoices/{number}");
    let invoice = control.get(&one).await.unwrap();
    assert_eq!(invoice["buyer"]["name"], "上海示例科技有限公司");
    assert_eq!(invoice["taxes"][0]["amount"]["amount"], "1.71");
    assert_eq!(invoice["lines"][0]["subject"], "Pro");
    assert_eq!(invoice["id"], first["id"]);
    assert_eq!(
        control.balance(account).await.unwrap(),
        20_000_000_000 - 10_710_000_000
    );

    is_set_on_paper(&served, number).await;
    is_given_back_once(&served, &one).await;
    let unknown = format!("accounts/{account}/invoices/INV-0");
    let (status, _) = control
        .ask(Method::GET, &unknown, None, None)
        .await
        .unwrap();
    assert_eq!(status, 404);
    assert_eq!(served.gate.verify_ledger().unwrap()["holds"], true);
}

async fn is_set_on_paper(served: &Served, number: &str) {
    let (control, account) = (&served.control, served.payer.account.as_str());
    let one = format!("accounts/{account}/invoices/{number}");
    // On paper: the number stands in the title of the file, and on the page.
    let pdf = control
        .file(&format!("{one}/invoice.pdf?lang=en"))
        .await
        .unwrap();
    assert!(pdf.starts_with(b"%PDF"));
    let title = format!("Invoice {number}");
    assert!(
        pdf.windows(title.len())
            .any(|part| part == title.as_bytes())
    );
    let html = control.file(&format!("{one}/invoice.html")).await.unwrap();
    let html = String::from_utf8(html).unwrap();
    for said in [
        number,
        "Example GmbH",
        "上海示例科技有限公司",
        "账单",
        "10.71",
    ] {
        assert!(html.contains(said), "{said}");
    }
    let file = served.gate.folder().join("invoice.pdf");
    let who = [
        "--account",
        account,
        number,
        "--out",
        file.to_str().unwrap(),
    ];
    command(served, &[&["invoices", "pdf"][..], &who].concat());
    assert!(std::fs::read(&file).unwrap().starts_with(b"%PDF"));
    let listed = command(served, &["invoices", "list", "--account", account]);
    assert!(
        listed.starts_with(number) && listed.contains("10.71 USD paid"),
        "{listed}"
    );
}

async fn is_given_back_once(served: &Served, one: &str) {
    let (control, account) = (&served.control, served.payer.account.as_str());
    // What was paid is not voided, and is given back once.
    let nothing = json!({});
    let void = refused(control, &format!("{one}/void"), None, &nothing).await;
    assert_eq!(void, (409, json!("conflict")));
    let notes = format!("{one}/credit-notes");
    let part = json!({ "reason": "goodwill", "line": 0, "amount": { "amount": "2.00", "currency": "USD" } });
    let unnamed = refused(control, &notes, None, &part).await;
    assert_eq!(unnamed, (400, json!("idempotency_key_required")));
    for _ in 0..2 {
        let note = control.send(&notes, Some("one"), &part).await.unwrap();
        assert_eq!(
            (&note["number"], &note["total"]["amount"]),
            (&json!("CN-000001"), &json!("2.38"))
        );
    }
    let pdf = format!("{notes}/CN-000001/credit-note.pdf?lang=en");
    let pdf = control.file(&pdf).await.unwrap();
    let title = b"Credit note CN-000001";
    assert!(pdf.windows(title.len()).any(|part| part == title));
    let file = served.gate.folder().join("note.html");
    let number = one.rsplit('/').next().unwrap();
    let out = file.to_str().unwrap();
    let what = ["--note", "CN-000001", "--lang", "zh-CN", "--out", out];
    let which = ["invoices", "pdf", "--account", account, number];
    let said = command(served, &[&which[..], &what].concat());
    assert!(said.starts_with("CN-000001 is in"), "{said}");
    let html = std::fs::read_to_string(&file).unwrap();
    for said in ["贷项通知单", "CN-000001", number, "goodwill", "2.38"] {
        assert!(html.contains(said), "{said}");
    }
    let much = json!({ "reason": "goodwill", "line": 0, "amount": { "amount": "7.01", "currency": "USD" } });
    let much = refused(control, &notes, Some("two"), &much).await;
    assert_eq!(much, (409, json!("conflict")));
    let fine = json!({ "reason": "goodwill", "line": 0, "amount": { "amount": "0.001", "currency": "USD" } });
    let fine = refused(control, &notes, Some("three"), &fine).await;
    assert_eq!(fine, (422, json!("invalid")));
    let balance = control.balance(account).await.unwrap();
    assert_eq!(balance, 20_000_000_000 - 10_710_000_000 + 2_380_000_000);
}

/// One that cannot be paid is open, and can be forgiven.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_not_paid_is_open_until_it_is_void() {
    let served = Served::start("", NINE - 1).await.unwrap();
    let (control, account) = (&served.control, served.payer.account.as_str());
    subscribe(&served, account);
    let list = control.get(&format!("accounts/{account}/invoices")).await;
    let open = list.unwrap()["data"][0].clone();
    let number = open["number"].as_str().unwrap();
    assert_eq!((number, &open["status"]), ("INV-000001", &json!("open")));
    assert_eq!(open["owed"]["amount"], "9.00");
    let shown = command(&served, &["invoices", "void", "--account", account, number]);
    assert!(shown.contains("9.00 USD void"), "{shown}");
    let again = format!("accounts/{account}/invoices/{number}/void");
    let again = refused(control, &again, None, &json!({})).await;
    assert_eq!(again, (409, json!("conflict")));
    assert_eq!(control.balance(account).await.unwrap(), NINE - 1);
    assert_eq!(served.gate.verify_ledger().unwrap()["holds"], true);
}
