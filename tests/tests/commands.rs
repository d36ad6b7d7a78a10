//! What the command line says and leaves behind.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use std::path::Path;
use std::process::{Command, Output};

use acceptance::gate::binary;
use serde_json::Value;
use tempfile::TempDir;

const SIMULATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/simulated.jsonl");

fn tollgate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(binary().unwrap())
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_that_reads_makes_no_database() {
    let folder = TempDir::new().unwrap();
    for command in [
        &["accounts", "list"][..],
        &["keys", "list", "--account", "acc_0001fv5kz4y00"],
        &["ledger", "verify"],
        &["prices", "show", "sim/echo"],
        &["doctor"],
    ] {
        let done = tollgate(folder.path(), command);
        assert_eq!(done.status.code(), Some(2), "{command:?}");
        let said = text(&done.stderr);
        assert!(
            said.contains("no database at tollgate.db"),
            "{command:?}: {said}"
        );
        assert!(said.contains("--database"), "{command:?}: {said}");
    }
    let dry = ["prices", "import", SIMULATED, "--dry-run", "--json"];
    let dry = tollgate(folder.path(), &dry);
    assert!(dry.status.success(), "{}", text(&dry.stderr));
    let report: Value = serde_json::from_slice(&dry.stdout).unwrap();
    assert_eq!(report["new_models"], report["imported"]);
    let left = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 0, "files were left behind");
}

#[test]
fn rules_are_taken_from_yaml_as_from_toml() {
    let folder = TempDir::new().unwrap();
    let files = [
        (
            "rules.yaml",
            "sale:\n  - {audience: everyone, models: '*', markup: 1.2}\n",
        ),
        (
            "rules.toml",
            "[[sale]]\naudience = \"everyone\"\nmodels = \"*\"\nmarkup = \"1.2\"\n",
        ),
        (
            "wrong.yaml",
            "sale:\n  - {audience: everyone, models: '*', markup: high}\n",
        ),
    ];
    for (name, rules) in files {
        std::fs::write(folder.path().join(name), rules).unwrap();
    }
    // The second says what holds already.
    for (name, new) in [("rules.yaml", 1), ("rules.toml", 0)] {
        let done = tollgate(folder.path(), &["prices", "import", name, "--json"]);
        assert!(done.status.success(), "{}", text(&done.stderr));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["sale_rules"], new, "{report}");
        assert_eq!(report["unchanged"], 1 - new, "{report}");
    }
    let wrong = tollgate(folder.path(), &["prices", "import", "wrong.yaml"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = text(&wrong.stderr);
    assert!(said.contains("line 2: \"high\" is not a factor"), "{said}");
}

/// A file of one schedule.
fn tiers(audience: &str, currency: &str, price: &str) -> String {
    format!(
        "tiers:\n  - audience: {audience}\n    models: '*'\n    terms:\n      currency: {currency}\n      \
         measure: calls\n      window: month\n      pricing:\n        graduated:\n          \
         - price: {price}\n"
    )
}

#[test]
fn tiers_are_confirmed_and_are_for_accounts_that_there_are() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    let import = |tiers: String, confirm: &[&str]| {
        std::fs::write(folder.path().join("tiers.yaml"), tiers).unwrap();
        run(&[&["prices", "import", "tiers.yaml", "--json"], confirm].concat())
    };
    let refused = |done: Output, part: &str| {
        assert_eq!(done.status.code(), Some(2), "{done:?}");
        let said = text(&done.stderr);
        assert!(said.contains(part), "{said}");
    };
    let taken = |done: Output| -> Value {
        assert!(done.status.success(), "{}", text(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    taken(run(&["prices", "import", SIMULATED, "--json"]));
    let made = run(&["accounts", "create", "--name", "Acme", "--currency", "CNY"]);
    let account = text(&made.stdout).trim().to_owned();

    let each = tiers("everyone", "USD", "{per_unit: 0.01}");
    refused(
        import(each.clone(), &[]),
        "tier schedule * for everyone: new",
    );
    let report = taken(import(each.clone(), &["--confirm"]));
    assert_eq!(report["tier_schedules"], 1, "{report}");
    let again = taken(import(each, &[]));
    assert_eq!(
        (&again["tier_schedules"], &again["unchanged"]),
        (&0.into(), &1.into())
    );
    let other = taken(import(
        tiers("everyone", "USD", "{per_unit: 0.02}"),
        &["--confirm"],
    ));
    assert_eq!(other["begin_anew"][0], "* for everyone", "{other}");

    let nobody = tiers("acc_0001fv5kz4y00", "USD", "{discount: 1}");
    refused(import(nobody, &[]), "there is no account acc_0001fv5kz4y00");
    let dollars = tiers(&account, "USD", "{discount: 1}");
    refused(import(dollars, &[]), "the wallet of the account is in CNY");
}

#[test]
fn a_dry_run_and_a_diff_say_what_the_import_would_refuse() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    let file = |rules: &str| std::fs::write(folder.path().join("tiers.yaml"), rules).unwrap();
    let (diff, dry) = (
        ["prices", "diff", "tiers.yaml"],
        ["prices", "import", "tiers.yaml", "--dry-run"],
    );
    let refused = |command: &[&str], part: &str| {
        let done = run(command);
        assert_eq!(done.status.code(), Some(2), "{command:?}: {done:?}");
        let said = text(&done.stderr);
        assert!(said.contains(part), "{command:?}: {said}");
        text(&done.stdout)
    };
    let nobody = tiers("acc_0001fv5kz4y00", "USD", "{discount: 1}");
    // There are no accounts where there is no database, and none is made.
    file(&nobody);
    refused(&diff, "there is no account acc_0001fv5kz4y00");
    refused(&dry, "there is no account acc_0001fv5kz4y00");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    assert!(run(&["prices", "import", SIMULATED]).status.success());
    let made = run(&["accounts", "create", "--name", "Acme", "--currency", "CNY"]);
    let account = text(&made.stdout).trim().to_owned();
    for command in [&diff[..], &dry] {
        file(&nobody);
        refused(command, "there is no account acc_0001fv5kz4y00");
        file(&tiers(&account, "USD", "{discount: 1}"));
        refused(command, "the wallet of the account is in CNY");
    }
    // What must be confirmed, and what would be done once it is.
    let each = |price: &str| tiers("everyone", "USD", &format!("{{per_unit: {price}}}"));
    file(&each("0.01"));
    let said = refused(
        &dry,
        "1 tier schedule would change prices by more than 50 %, or charge otherwise than by the list, \
         so nothing was changed",
    );
    assert!(said.contains("dry run: nothing was changed"), "{said}");
    let confirmed = run(&[&dry[..], &["--confirm"]].concat());
    assert!(confirmed.status.success(), "{confirmed:?}");
    let import = ["prices", "import", "tiers.yaml", "--confirm"];
    assert!(run(&import).status.success());

    // From when on a new schedule begins, where a window does and where not.
    file(&each("0.02"));
    let from = |from: &str| {
        let done = run(&[&diff[..], &["--from", from]].concat());
        assert!(done.status.success(), "{done:?}");
        text(&done.stdout)
    };
    let within = from("2100-01-15");
    assert!(
        within.contains("With `--from 2100-02-01T00:00:00Z`"),
        "{within}"
    );
    let begins = from("2100-02-01");
    assert!(begins.contains("it begins where a window does"), "{begins}");
    assert!(!begins.contains("--from"), "{begins}");
}

#[test]
fn a_rule_for_no_model_is_named_and_every_rule_is_listed() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    let json = |arguments: &[&str]| -> Value {
        let done = run(&[arguments, &["--json"]].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let sale = |models: &str, price: &str| {
        let rule = format!("sale:\n  - {{audience: everyone, models: '{models}', {price}}}\n");
        std::fs::write(folder.path().join("sale.yaml"), rule).unwrap();
    };
    json(&["prices", "import", SIMULATED]);
    sale("sim/ecko*", "markup: 1.2");
    for command in [
        &["prices", "diff", "sale.yaml"][..],
        &["prices", "import", "sale.yaml", "--dry-run"],
    ] {
        let said = json(command);
        let named = &said["reach_no_model"][0];
        assert_eq!(named, "sale rule sim/ecko* for everyone", "{said}");
    }
    let said = text(&run(&["prices", "import", "sale.yaml"]).stdout);
    let note = "sale rule sim/ecko* for everyone reaches no model of the catalogue";
    assert!(said.contains(note), "{said}");

    sale("sim/echo", "markup: 1.2");
    let imported = json(&["prices", "import", "sale.yaml", "--from", "2100-01-01"]);
    assert_eq!(imported["reach_no_model"].as_array().unwrap().len(), 0);
    let cost = text(&run(&["prices", "show", "sim/echo"]).stdout);
    assert!(cost.contains("what sim/echo costs the house"), "{cost}");
    assert!(cost.contains("no sale rule for everybody"), "{cost}");
    sale("*", "markup: 1.5");
    json(&["prices", "import", "sale.yaml", "--from", "2100-01-01"]);
    std::fs::write(
        folder.path().join("tiers.yaml"),
        tiers("everyone", "USD", "{discount: 1}"),
    )
    .unwrap();
    json(&["prices", "import", "tiers.yaml", "--from", "2100-01-01"]);

    let rules = json(&["prices", "rules"]);
    let listed: Vec<(&str, &str)> = rules["sale_rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            (
                rule["models"].as_str().unwrap(),
                rule["effective_from"].as_str().unwrap(),
            )
        })
        .collect();
    let scheduled = "2100-01-01T00:00:00Z";
    assert_eq!(listed.len(), 3, "{rules}");
    assert!(listed.contains(&("sim/echo", scheduled)), "{rules}");
    assert!(listed.contains(&("*", scheduled)), "{rules}");
    let schedule = &rules["tier_schedules"][0];
    assert_eq!(schedule["state"], "scheduled", "{rules}");
    assert_eq!(schedule["terms"]["measure"], "calls", "{rules}");
    let said = text(&run(&["prices", "rules"]).stdout);
    assert!(said.contains("the cost times 1.5"), "{said}");
    assert!(said.contains("1 % off the list price"), "{said}");
}

#[test]
fn a_catalogue_with_malformed_entries_is_refused_whole() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    assert!(run(&["prices", "import", SIMULATED]).status.success());
    let map = r#"{"good": {"input_cost_per_token": 1e-6}, "nothing": {"mode": "chat"},
        "negative": {"input_cost_per_token": -1e-6},
        "twice": {"input_cost_per_token": 1e-6, "input_cost_per_token": 2e-6}}"#;
    std::fs::write(folder.path().join("map.json"), map).unwrap();
    for command in ["import", "diff"] {
        let refused = run(&["prices", command, "map.json"]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("2 entries are malformed"), "{said}");
        assert!(said.contains("negative: negative price"), "{said}");
        assert!(said.contains("twice: a key stands twice"), "{said}");
        assert!(said.contains("take them out of the file"), "{said}");
    }
    let show = run(&["prices", "show", "good"]);
    assert!(text(&show.stderr).contains("no catalogue that was imported lists"));
    let good = r#"{"good": {"input_cost_per_token": 1e-6}, "nothing": {"mode": "chat"}}"#;
    std::fs::write(folder.path().join("map.json"), good).unwrap();
    assert!(run(&["prices", "import", "map.json"]).status.success());
}

#[test]
fn a_command_says_what_it_did_and_what_to_do_next() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    let imported = run(&["prices", "import", SIMULATED]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert!(
        !text(&imported.stderr).contains('\u{1b}'),
        "colours in a file"
    );
    let shown = run(&["prices", "show", "sim/echo", "--json"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown[0]["in_effect"], true, "{shown}");
    let account = text(&run(&["accounts", "create", "--name", "Acme"]).stdout);
    let account = account.trim();
    let top_up = |amount: &str| {
        run(&[
            "accounts",
            "top-up",
            "--account",
            account,
            "--amount",
            amount,
            "--key",
            "first",
        ])
    };
    assert!(top_up("10.00").status.success());
    let again = text(&top_up("10.00").stdout);
    assert!(again.contains("nothing was added"), "{again}");
    let other = top_up("11.00");
    assert_eq!(other.status.code(), Some(2));
    let other = text(&other.stderr);
    assert!(other.contains("another --key"), "{other}");
    let made = run(&["keys", "create", "--account", account]);
    assert!(text(&made.stdout).starts_with("sk-"), "the secret alone");
    assert!(
        text(&made.stderr).contains("key_"),
        "{}",
        text(&made.stderr)
    );
    let unknown = run(&["keys", "create", "--account", "acc_0001fv5kz4y00"]);
    assert!(text(&unknown.stderr).contains("accounts list"));
    let first = run(&["ledger", "verify", "--json"]);
    let first: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(
        (&first["holds"], &first["transactions"]),
        (&true.into(), &1.into())
    );
    let second = run(&["ledger", "verify", "--json"]);
    let second: Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(
        (&second["unchanged"], &second["transactions"]),
        (&1.into(), &0.into())
    );
    let one = run(&["ledger", "verify", "--full", "--account", account]);
    assert!(
        text(&one.stdout).contains("the books hold"),
        "{}",
        text(&one.stdout)
    );
    let help = text(&run(&["--help"]).stdout);
    assert!(help.contains("tollgate demo"), "{help}");
}

/// A plan that is billed: what is owed, what a run would do, what it did.
#[test]
fn a_plan_is_billed_to_the_wallet() {
    let folder = TempDir::new().unwrap();
    let run = |arguments: &[&str]| tollgate(folder.path(), arguments);
    let json = |done: Output| -> Value { serde_json::from_slice(&done.stdout).unwrap() };
    let imported = run(&["prices", "import", SIMULATED]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    let plan = "code: pro\nname: Pro\nterms:\n  currency: USD\n  price: 9000000000\n  \
                billing: { every: P1M }\n";
    std::fs::write(folder.path().join("pro.yaml"), plan).unwrap();
    let published = run(&["plans", "publish", "pro.yaml"]);
    assert!(published.status.success(), "{}", text(&published.stderr));
    let account = text(&run(&["accounts", "create", "--name", "Acme"]).stdout);
    let account = account.trim();
    let who = ["--account", account, "--plan", "pro", "--billed"];
    let began = run(&[&["plans", "subscribe"][..], &who[..]].concat());
    let said = text(&began.stdout);
    assert!(began.status.success(), "{}", text(&began.stderr));
    assert!(said.contains("less than 9.00 USD"), "{said}");
    assert!(said.contains("is on pro, incomplete: sub_"), "{said}");
    let id = said.trim().rsplit(' ').next().unwrap();

    let short = run(&["billing", "pay", id]);
    assert_eq!(short.status.code(), Some(1), "{short:?}");
    let paid_in = ["--account", account, "--amount", "10.00", "--key", "first"];
    let paid_in = run(&[&["accounts", "top-up"][..], &paid_in[..]].concat());
    assert!(paid_in.status.success(), "{}", text(&paid_in.stderr));
    let paid = run(&["billing", "pay", id]);
    assert!(paid.status.success(), "{}", text(&paid.stderr));
    assert!(text(&paid.stdout).contains("is active"), "{paid:?}");
    let twice = run(&["billing", "pay", id]);
    assert_eq!(twice.status.code(), Some(2));
    assert!(text(&twice.stderr).contains("owes nothing"));

    for arguments in [&["--dry-run", "--json"][..], &["--json"]] {
        let ran = json(run(&[&["billing", "run"][..], arguments].concat()));
        assert_eq!(ran["steps"], serde_json::json!([]), "{ran}");
        assert_eq!(ran["done"], arguments.len() == 1, "{ran}");
    }
    let proved = json(run(&["ledger", "verify", "--json"]));
    assert_eq!(
        (&proved["holds"], &proved["transactions"]),
        (&true.into(), &3.into())
    );
    let ended = run(&["plans", "end", "--account", account]);
    assert!(text(&ended.stdout).contains("on no plan any more"));
}
