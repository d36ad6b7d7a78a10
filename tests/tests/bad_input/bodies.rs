//! Bodies that are no requests, and how each is refused.

/// A name, a body, and the status and code that it is refused with.
pub(super) type Bad = (String, Vec<u8>, u16, &'static str);

const SAID: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

fn bad(name: &str, body: impl Into<Vec<u8>>, code: &'static str) -> Bad {
    (name.to_owned(), body.into(), 400, code)
}

/// A member beside a model and a message.
fn with(member: &str, code: &'static str) -> Bad {
    let body = format!(r#"{{"model":"sim/echo",{SAID},{member}}}"#);
    bad(member, body, code)
}

/// For chat completions.
pub(super) fn chat() -> Vec<Bad> {
    let mut all = malformed();
    all.extend(mistyped());
    all.extend([
        with(r#""max_tokens":-1"#, "out_of_range"),
        with(r#""max_tokens":0"#, "out_of_range"),
        with(r#""max_tokens":99999999999"#, "out_of_range"),
        with(
            r#""max_tokens":99999999999999999999999999999999"#,
            "out_of_range",
        ),
        with(
            r#""max_tokens":-99999999999999999999999999999999"#,
            "out_of_range",
        ),
        with(r#""max_completion_tokens":-5"#, "out_of_range"),
        with(r#""n":0"#, "out_of_range"),
        with(r#""n":-1"#, "out_of_range"),
        with(r#""n":100000"#, "out_of_range"),
        with(r#""model":"sim/lorem""#, "duplicate_parameter"),
        with(
            r#""max_tokens":5,"max_tokens":50000"#,
            "duplicate_parameter",
        ),
    ]);
    for model in [
        "no/such-model",
        "sim/none",
        "SIM/ECHO",
        "sim/echo ",
        "../../etc/passwd",
    ] {
        let body = format!(r#"{{"model":"{model}",{SAID}}}"#);
        all.push((
            format!("model {model}"),
            body.into(),
            404,
            "model_not_found",
        ));
    }
    for model in ["", " ", r"a\u0000b", r"a\nb"] {
        all.push(bad(
            &format!("model `{model}`"),
            format!(r#"{{"model":"{model}",{SAID}}}"#),
            "invalid_value",
        ));
    }
    let long = format!(r#"{{"model":"{}",{SAID}}}"#, "m".repeat(10_000));
    all.push(bad("a model of 10,000 letters", long, "invalid_value"));
    all
}

fn malformed() -> Vec<Bad> {
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"model":"sim/echo",{SAID},"x":{open}{close}}}"#)
    };
    let mut utf8 = br#"{"model":"sim/echo","messages":[{"role":"user","content":""#.to_vec();
    utf8.extend_from_slice(b"\xff\xfe\xc0\x80\"}]}");
    vec![
        bad("nothing", "", "invalid_json"),
        bad("white space", "  \n", "invalid_json"),
        bad("an open brace", "{", "invalid_json"),
        bad(
            "cut",
            r#"{"model":"sim/echo","messages":[{"role""#,
            "invalid_json",
        ),
        bad("text behind", r#"{"model":"sim/echo"} x"#, "invalid_json"),
        bad("a list", "[]", "invalid_json"),
        bad("a text", r#""text""#, "invalid_json"),
        bad("null", "null", "invalid_json"),
        bad("a form", "model=sim/echo&prompt=hi", "invalid_json"),
        bad(
            "not a number",
            format!(r#"{{"model":"sim/echo",{SAID},"x":NaN}}"#),
            "invalid_json",
        ),
        bad("invalid UTF-8", utf8, "invalid_utf8"),
        bad("UTF-16", b"\xff\xfe{\0}\0".to_vec(), "invalid_utf8"),
        bad("200 levels", deep(200), "nesting_too_deep"),
        bad("100,000 levels", deep(100_000), "nesting_too_deep"),
        bad(
            "no model",
            format!("{{{SAID}}}"),
            "missing_required_parameter",
        ),
        bad(
            "no messages",
            r#"{"model":"sim/echo"}"#,
            "missing_required_parameter",
        ),
        bad(
            "a null model",
            format!(r#"{{"model":null,{SAID}}}"#),
            "missing_required_parameter",
        ),
    ]
}

fn mistyped() -> Vec<Bad> {
    let messages = |value: &str, code| {
        bad(
            &format!("messages {value}"),
            format!(r#"{{"model":"sim/echo","messages":{value}}}"#),
            code,
        )
    };
    vec![
        bad(
            "a number for a model",
            format!(r#"{{"model":7,{SAID}}}"#),
            "invalid_type",
        ),
        bad(
            "a list for a model",
            format!(r#"{{"model":["sim/echo"],{SAID}}}"#),
            "invalid_type",
        ),
        messages("\"hi\"", "invalid_type"),
        messages("{}", "invalid_type"),
        messages("7", "invalid_type"),
        messages("[]", "invalid_value"),
        messages("[\"hi\"]", "invalid_type"),
        with(r#""stream":"yes""#, "invalid_type"),
        with(r#""stream":1"#, "invalid_type"),
        with(r#""stream_options":[]"#, "invalid_type"),
        with(
            r#""stream_options":{"include_usage":"yes"}"#,
            "invalid_type",
        ),
        with(r#""max_tokens":"many""#, "invalid_type"),
        with(r#""max_tokens":1.5"#, "invalid_type"),
        with(r#""max_tokens":1e3"#, "invalid_type"),
        with(r#""max_tokens":[5]"#, "invalid_type"),
        with(r#""n":"2""#, "invalid_type"),
        with(r#""service_tier":5"#, "invalid_type"),
    ]
}

/// For embeddings.
pub(super) fn embeddings() -> Vec<Bad> {
    let input = |value: &str, code| {
        bad(
            &format!("input {value}"),
            format!(r#"{{"model":"sim/embedding","input":{value}}}"#),
            code,
        )
    };
    vec![
        bad(
            "no input",
            r#"{"model":"sim/embedding"}"#,
            "missing_required_parameter",
        ),
        input("\"\"", "invalid_value"),
        input("[]", "invalid_value"),
        input("7", "invalid_type"),
        input("{}", "invalid_type"),
        input("true", "invalid_type"),
        input("[null]", "invalid_type"),
    ]
}
