use proptest::prelude::*;

use super::*;

fn chat(body: &str) -> Result<RequestHead, RequestError> {
    read(
        Endpoint::ChatCompletions,
        &Bytes::copy_from_slice(body.as_bytes()),
    )
}

#[test]
fn a_plain_request_is_read() {
    let body = r#" {"messages":[{"role":"user","content":"hi"}],"model":"gpt-x","stream":true,
        "stream_options":{"include_usage":true},"max_tokens":7,"n":2,"service_tier":"flex"}"#;
    let head = chat(body).unwrap();
    assert_eq!(
        (head.model.as_str(), head.stream, head.include_usage),
        ("gpt-x", true, true)
    );
    assert_eq!((head.max_output, head.choices), (Some(7), 2));
    assert_eq!(head.service_tier.as_deref(), Some("flex"));
    assert_eq!(&body[head.spans.model.clone()], "\"gpt-x\"");
    assert_eq!(
        &body[head.spans.stream_options.unwrap()],
        r#"{"include_usage":true}"#
    );
    assert_eq!(&body[head.spans.max_tokens.unwrap()], "7");
    assert_eq!(&body[..head.spans.open], " {");
}

#[test]
fn null_is_not_given() {
    let head = chat(
        r#"{"model":"m","messages":[{}],"n":null,"stream":null,"stream_options":null,"max_tokens":null}"#,
    )
    .unwrap();
    assert_eq!(
        (head.choices, head.stream, head.max_output),
        (1, false, None)
    );
    assert!(
        head.spans.stream_options.is_some(),
        "a null still occupies its key"
    );
}

/// One case a line: the code, the member at fault, the body.
const BAD: &str = r#"
invalid_json - {
invalid_json - nonsense
invalid_json - {"model":"m","messages":[}
invalid_json - {"model":"m","messages":[{}]} x
invalid_json - []
invalid_json - [1,2,3,4,5,6,7,8,9,10]
invalid_json - 7
invalid_json - null
missing_required_parameter model {"messages":[{}]}
missing_required_parameter model {"model":null,"messages":[{}]}
invalid_value model {"model":"","messages":[{}]}
invalid_value model {"model":"  ","messages":[{}]}
invalid_value model {"model":"a\nb","messages":[{}]}
invalid_type model {"model":7,"messages":[{}]}
invalid_type model {"model":"\ud800","messages":[{}]}
duplicate_parameter model {"model":"a","model":"b","messages":[{}]}
duplicate_parameter model {"model":"a","\u006dodel":"b","messages":[{}]}
missing_required_parameter messages {"model":"m"}
invalid_type messages {"model":"m","messages":"hi"}
invalid_value messages {"model":"m","messages":[]}
invalid_value messages {"model":"m","messages":[ ]}
invalid_type messages {"model":"m","messages":["hi"]}
invalid_type stream {"model":"m","messages":[{}],"stream":"yes"}
invalid_type stream_options {"model":"m","messages":[{}],"stream_options":[]}
out_of_range max_tokens {"model":"m","messages":[{}],"max_tokens":-1}
out_of_range max_tokens {"model":"m","messages":[{}],"max_tokens":0}
out_of_range max_tokens {"model":"m","messages":[{}],"max_tokens":99999999999999999999999}
invalid_type max_tokens {"model":"m","messages":[{}],"max_tokens":1e3}
invalid_type max_tokens {"model":"m","messages":[{}],"max_tokens":"5"}
out_of_range n {"model":"m","messages":[{}],"n":0}
out_of_range n {"model":"m","messages":[{}],"n":129}
invalid_type service_tier {"model":"m","messages":[{}],"service_tier":1}
"#;

#[test]
fn bad_requests_say_what_is_wrong() {
    for line in BAD.lines().filter(|line| !line.is_empty()) {
        let [code, param, body] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let error = chat(body).expect_err(body);
        assert_eq!(
            (error.code(), error.param().unwrap_or("-")),
            (code, param),
            "{body}"
        );
    }
    assert_eq!(chat("").unwrap_err().code(), "invalid_json");
}

#[test]
fn endless_names_and_brackets_are_refused() {
    let (open, close) = ("[".repeat(200), "]".repeat(200));
    let deep = format!(r#"{{"model":"m","messages":[{{"content":{open}{close}}}]}}"#);
    assert_eq!(chat(&deep), Err(RequestError::TooDeep));
    let long = format!(r#"{{"model":"{}","messages":[{{}}]}}"#, "x".repeat(300));
    assert_eq!(chat(&long), Err(RequestError::BadModel));
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let body = Bytes::from_static(b"{\"model\":\"m\",\"messages\":[{}],\"x\":\"\xff\"}");
    assert_eq!(
        read(Endpoint::ChatCompletions, &body),
        Err(RequestError::NotUtf8)
    );
}

#[test]
fn embeddings_take_texts_and_tokens() {
    let read = |input: &str| {
        let body = format!(r#"{{"model":"m","input":{input}}}"#);
        read(Endpoint::Embeddings, &Bytes::from(body))
            .map(|h| h.choices)
            .map_err(|e| e.code())
    };
    for (input, vectors) in [
        (r#""a""#, 1),
        (r#"["a","b"]"#, 2),
        ("[1,2]", 1),
        ("[[1],[2,3]]", 2),
    ] {
        assert_eq!(read(input), Ok(vectors), "{input}");
    }
    for (input, code) in [
        ("null", "missing_required_parameter"),
        (r#""""#, "invalid_value"),
        ("[]", "invalid_value"),
        ("7", "invalid_type"),
        ("{}", "invalid_type"),
        ("[{}]", "invalid_type"),
        ("[null]", "invalid_type"),
    ] {
        assert_eq!(read(input).unwrap_err(), code, "{input}");
    }
}

#[test]
fn parts_that_are_not_text_are_seen() {
    let with = |content: &str| {
        chat(&format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#
        ))
        .unwrap()
        .media
    };
    assert_eq!(with(r#""talks of \"input_audio\" only""#), Media::default());
    assert!(with(r#"[{"type":"input_audio","input_audio":{"data":"","format":"wav"}}]"#).audio);
    assert!(with(r#"[{"type":"input\u005faudio"}]"#).audio);
    assert_eq!(
        with(r#"[{"type":"image_url","image_url":{"url":"http://x"}}]"#),
        Media {
            images: 1,
            ..Media::default()
        }
    );
    assert!(with(r#"[{"type":"file","file":{"file_id":"f"}}]"#).by_reference);
}

#[test]
fn a_bracket_inside_a_text_is_not_nesting() {
    let body = format!(
        r#"{{"model":"m","messages":[{{"content":"\"{}"}}]}}"#,
        "[\\\\{\\\"".repeat(400)
    );
    assert!(chat(&body).is_ok());
}

/// JSON that is more likely than noise to get past the first check.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        ".{0,8}".prop_map(|s: String| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let key = prop_oneof![
            Just("model"),
            Just("messages"),
            Just("stream"),
            Just("stream_options"),
            Just("max_tokens"),
            Just("n"),
            Just("input"),
            Just("content"),
            Just("other"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|v| format!("[{}]", v.join(","))),
            prop::collection::vec((key, inner), 0..8).prop_map(|members| {
                let text: Vec<_> = members
                    .iter()
                    .map(|(k, v)| format!("\"{k}\":{v}"))
                    .collect();
                format!("{{{}}}", text.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let body = Bytes::from(body);
        drop(read(Endpoint::ChatCompletions, &body));
        drop(read(Endpoint::Embeddings, &body));
    }

    #[test]
    fn no_json_makes_it_panic(body in json()) {
        let bytes = Bytes::from(body.clone());
        if let Ok(head) = read(Endpoint::ChatCompletions, &bytes) {
            let model: String = serde_json::from_str(&body[head.spans.model.clone()]).unwrap();
            prop_assert_eq!(model, head.model);
        }
        drop(read(Endpoint::Embeddings, &bytes));
    }
}
