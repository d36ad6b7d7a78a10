use billing_core::attribute::Attributes;
use billing_core::meter::Meter;
use gateway_core::request;
use proptest::prelude::*;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        Bytes::from_static(include_bytes!(concat!("../../fixtures/openai/", $name)))
    };
}

fn io(input: u64, output: u64) -> Usage {
    Usage::NONE
        .with(Meter::Input, input)
        .with(Meter::Output, output)
}

fn run(chunks: impl IntoIterator<Item = Bytes>) -> (String, StreamEnd) {
    let mut frames = OpenAi.frames();
    let mut out = Vec::new();
    for chunk in chunks {
        frames.feed(chunk, &mut out);
    }
    (
        String::from_utf8_lossy(&out.concat()).into_owned(),
        frames.finish(),
    )
}

fn streams() -> [(&'static str, Bytes); 13] {
    [
        ("chat", fixture!("chat.stream")),
        ("crlf", fixture!("crlf.stream")),
        ("no_usage", fixture!("no_usage.stream")),
        ("no_done", fixture!("no_done.stream")),
        ("cut", fixture!("cut.stream")),
        ("last_without_blank", fixture!("last_without_blank.stream")),
        ("error", fixture!("error.stream")),
        ("openrouter_error", fixture!("openrouter_error.stream")),
        ("continuous_usage", fixture!("continuous_usage.stream")),
        ("usage_twice", fixture!("usage_twice.stream")),
        ("groq", fixture!("groq.stream")),
        ("tool_call", fixture!("tool_call.stream")),
        ("malformed_usage", fixture!("malformed_usage.stream")),
    ]
}

#[test]
fn every_cut_gives_the_same_stream() {
    for (name, stream) in streams() {
        let whole = run([stream.clone()]);
        for at in 0..=stream.len() {
            let cut = run([stream.slice(..at), stream.slice(at..)]);
            assert_eq!(cut, whole, "{name} cut at {at}");
        }
        let bytes = (0..stream.len()).map(|at| stream.slice(at..=at));
        assert_eq!(run(bytes), whole, "{name} byte by byte");
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same_stream(
        which in 0_usize..13, mut cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (_, stream) = streams()[which].clone();
        let mut at: Vec<usize> = cuts.drain(..).map(|i| i.index(stream.len() + 1)).collect();
        at.extend([0, stream.len()]);
        at.sort_unstable();
        let pieces: Vec<Bytes> = at.windows(2).map(|w| stream.slice(w[0]..w[1])).collect();
        prop_assert_eq!(run(pieces), run([stream]));
    }

    #[test]
    fn no_bytes_make_a_stream_panic(chunks in prop::collection::vec(
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..20),
            Just(b"data: ".to_vec()), Just(b"\n\n".to_vec()), Just(b"\"usage\":{".to_vec()),
            Just(b"\"error\":".to_vec()), Just(b"[DONE]".to_vec()), Just(b"{}".to_vec()),
        ], 0..20)) {
        let bytes: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
        let one = Bytes::from(bytes.concat());
        prop_assert_eq!(run(bytes), run([one]));
    }
}

#[test]
fn what_streams_say() {
    let given = |i, o| Reported::Given(io(i, o));
    // Name, usage, complete, fault, delivered bytes (escaped), events left to the client.
    let table = [
        ("chat", given(9, 12), true, false, 17, 4),
        ("crlf", given(9, 12), true, false, 17, 5),
        ("no_usage", Reported::Missing, true, false, 17, 4),
        ("no_done", given(9, 12), true, false, 17, 4),
        ("cut", Reported::Missing, false, false, 17, 3),
        ("last_without_blank", given(9, 12), true, false, 17, 4),
        ("error", Reported::Missing, false, true, 6, 2),
        ("openrouter_error", Reported::Missing, false, true, 6, 4),
        ("continuous_usage", given(9, 3), true, false, 3, 2),
        ("usage_twice", given(9, 12), true, false, 17, 5),
        ("groq", Reported::Missing, true, false, 17, 4),
        ("tool_call", given(9, 12), true, false, 9, 4),
        ("malformed_usage", Reported::Malformed, true, false, 17, 4),
    ];
    for ((name, stream), wanted) in streams().into_iter().zip(table) {
        let (text, end) = run([stream]);
        let events = text.matches("\n\n").count() + text.matches("\n\r\n").count();
        assert_eq!(
            (
                name,
                end.usage,
                end.complete,
                end.fault.is_some(),
                end.delivered.bytes(),
                events
            ),
            wanted,
            "{text}"
        );
        assert!(!text.contains("[DONE]"), "{name}");
    }
}

#[test]
fn an_untouched_stream_is_not_copied() {
    let stream = fixture!("no_usage.stream");
    let mut out = Vec::new();
    OpenAi.frames().feed(stream.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), stream.as_ptr());
}

#[test]
fn the_head_of_a_stream_is_read() {
    let (_, end) = run([fixture!("chat.stream")]);
    assert_eq!(end.id.as_deref(), Some("chatcmpl-123"));
    assert_eq!(end.model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!(end.created, Some(1_694_268_190));
    assert_eq!(end.finish_reason.as_deref(), Some("stop"));
    assert_eq!(end.service_tier.as_deref(), Some("default"));
}

#[test]
fn an_error_in_a_stream_is_understood() {
    let fault = |stream| run([stream]).1.fault.unwrap();
    assert_eq!(fault(fixture!("error.stream")).kind, "server_error");
    let other = fault(fixture!("openrouter_error.stream"));
    assert_eq!(
        (other.message.as_str(), other.code.as_deref()),
        ("Provider disconnected", Some("502"))
    );
}

const NOTE: &str = r#""cost":0.000412,"cost_nanos":412000"#;

fn closed(stream: Bytes, include: bool) -> String {
    let (_, end) = run([stream]);
    String::from_utf8(OpenAi.closing(&end, include, &io(1, 2), NOTE).to_vec()).unwrap()
}

#[test]
fn the_usage_event_is_released_with_what_was_added() {
    let text = closed(fixture!("chat.stream"), true);
    assert!(
        text.contains(
            r#""prompt_tokens_details":{"cached_tokens":0},"cost":0.000412,"cost_nanos":412000}}"#
        ),
        "{text}"
    );
    assert!(text.ends_with("data: [DONE]\n\n"));
    assert_eq!(closed(fixture!("chat.stream"), false), "data: [DONE]\n\n");
}

#[test]
fn a_usage_that_was_not_given_is_made() {
    let text = closed(fixture!("no_usage.stream"), true);
    assert_eq!(
        text,
        "data: {\"id\":\"chatcmpl-123\",\"object\":\"chat.completion.chunk\",\"created\":1694268190,\
         \"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\
         \"total_tokens\":3,\"cost\":0.000412,\"cost_nanos\":412000}}\n\ndata: [DONE]\n\n"
    );
    let replaced = closed(fixture!("malformed_usage.stream"), true);
    assert!(
        replaced.contains(r#""completion_tokens":2"#) && !replaced.contains(":-12"),
        "{replaced}"
    );
}

#[test]
fn a_usage_event_with_output_is_never_left_out() {
    let text = closed(fixture!("continuous_usage.stream"), false);
    assert!(
        text.contains(r#""content":"c""#) && !text.contains("cost"),
        "{text}"
    );
    assert!(closed(fixture!("continuous_usage.stream"), true).contains("cost_nanos"));
}

#[test]
fn a_cut_stream_is_not_closed_as_if_it_were_whole() {
    assert_eq!(closed(fixture!("cut.stream"), false), "");
    assert_eq!(closed(fixture!("error.stream"), false), "");
}

#[test]
fn replies_are_read() {
    let chat = |body: &Bytes| OpenAi.read_reply(Endpoint::ChatCompletions, body).unwrap();
    let reply = chat(&fixture!("chat.reply"));
    let wanted = io(15, 7)
        .with(Meter::CacheRead, 4)
        .with(Meter::Reasoning, 3);
    assert_eq!(reply.usage, Reported::Given(wanted));
    assert_eq!(reply.finish_reason.as_deref(), Some("stop"));
    assert_eq!(reply.service_tier.as_deref(), Some("flex"));
    let deepseek = chat(&fixture!("deepseek.reply"));
    assert_eq!(
        deepseek.usage,
        Reported::Given(io(4, 10).with(Meter::CacheRead, 12))
    );
    assert_eq!(chat(&fixture!("null_usage.reply")).usage, Reported::Missing);
    assert_eq!(chat(&fixture!("no_usage.reply")).usage, Reported::Missing);
    assert_eq!(chat(&fixture!("negative.reply")).usage, Reported::Malformed);
    let fault = chat(&fixture!("error_as_success.reply")).fault.unwrap();
    assert_eq!(fault.code.as_deref(), Some("502"));
    let embedding = OpenAi
        .read_reply(Endpoint::Embeddings, &fixture!("embedding.reply"))
        .unwrap();
    assert_eq!(embedding.usage, Reported::Given(io(8, 0)));
}

#[test]
fn a_reply_that_is_cut_anywhere_is_unreadable() {
    let body = fixture!("chat.reply").slice(..);
    let json = body.len() - 1;
    for at in 0..json {
        let cut = OpenAi.read_reply(Endpoint::ChatCompletions, &body.slice(..at));
        assert_eq!(cut, Err(Unreadable), "cut at {at}");
    }
}

#[test]
fn what_is_added_to_a_reply_stands_in_its_usage() {
    for body in [
        fixture!("chat.reply"),
        fixture!("null_usage.reply"),
        fixture!("no_usage.reply"),
        fixture!("negative.reply"),
    ] {
        let reply = OpenAi.read_reply(Endpoint::ChatCompletions, &body).unwrap();
        let json: serde_json::Value =
            serde_json::from_slice(&OpenAi.annotate(&body, &reply, &io(1, 2), NOTE)).unwrap();
        assert_eq!(json["usage"]["cost_nanos"], 412_000);
        let output = if matches!(reply.usage, Reported::Given(_)) {
            10
        } else {
            2
        };
        assert_eq!(json["usage"]["completion_tokens"], output);
        assert_eq!(json["object"], "chat.completion");
    }
}

#[test]
fn delivered_output_of_a_reply_is_found() {
    let delivered = |body| OpenAi.delivered(Endpoint::ChatCompletions, &body);
    assert_eq!(delivered(fixture!("chat.reply")).tokens(), 11);
    assert_eq!(delivered(fixture!("deepseek.reply")).bytes(), 4);
    assert!(
        OpenAi
            .delivered(Endpoint::Embeddings, &fixture!("embedding.reply"))
            .is_empty()
    );
}

#[test]
fn a_request_changes_only_where_it_must() {
    let body = fixture!("chat.request");
    let head = request::read(Endpoint::ChatCompletions, &body).unwrap();
    let same = OpenAi.encode(&head, &body, "gpt-4o", None);
    let text = std::str::from_utf8(&body).unwrap();
    let asked = text.replace(
        r#"{"include_obfuscation":false}"#,
        r#"{"include_usage":true,"include_obfuscation":false}"#,
    );
    assert_eq!(same, asked);
    let changed = OpenAi.encode(&head, &body, "o\"x", Some(77));
    let wanted = asked.replace(r#""gpt-4o""#, r#""o\"x""#).replacen(
        '{',
        r#"{"max_completion_tokens":77,"#,
        1,
    );
    assert_eq!(changed, wanted);
    let body = fixture!("embedding.request");
    let head = request::read(Endpoint::Embeddings, &body).unwrap();
    let sent = OpenAi.encode(&head, &body, &head.model, None);
    assert_eq!(
        sent.as_ptr(),
        body.as_ptr(),
        "nothing to change, nothing copied"
    );
}

#[test]
fn limits_that_were_given_are_replaced() {
    let encode = |text: &str| {
        let body = Bytes::copy_from_slice(text.as_bytes());
        let head = request::read(Endpoint::ChatCompletions, &body).unwrap();
        String::from_utf8(OpenAi.encode(&head, &body, "m", Some(5)).to_vec()).unwrap()
    };
    assert_eq!(
        encode(r#"{"max_tokens":900,"model":"m","messages":[{}]}"#),
        r#"{"max_tokens":5,"model":"m","messages":[{}]}"#
    );
    assert_eq!(
        encode(
            r#"{"model":"m","messages":[{}],"max_completion_tokens":null,"stream":true,"stream_options":null}"#
        ),
        r#"{"model":"m","messages":[{}],"max_completion_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#
    );
    assert_eq!(
        encode(r#"{"model":"m","messages":[{}],"stream":true,"max_tokens":9}"#),
        r#"{"stream_options":{"include_usage":true},"model":"m","messages":[{}],"stream":true,"max_tokens":5}"#
    );
}

#[test]
fn faults_are_read_and_written() {
    let fault = OpenAi.read_fault(
        400,
        &Bytes::from_static(
            br#"{"error":{"message":"No","type":"invalid_request_error","code":null}}"#,
        ),
    );
    assert_eq!(
        (fault.message.as_str(), fault.kind.as_str()),
        ("No", "invalid_request_error")
    );
    assert_eq!(
        OpenAi.read_fault(502, &Bytes::from_static(b"<html>")).kind,
        "upstream_error"
    );
    let event = OpenAi.stream_fault(&Fault {
        code: Some("x\"".into()),
        ..fault
    });
    assert_eq!(
        event,
        "data: {\"error\":{\"message\":\"No\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"x\\\"\"}}\n\n"
    );
}

#[test]
fn what_the_usage_states_goes_before_what_the_reply_does() {
    let body = r#"{"speed":"fast","inference_geo":"us","choices":[],
        "usage":{"prompt_tokens":1,"completion_tokens":2,"inference_geo":"eu"}}"#;
    let reply = OpenAi
        .read_reply(
            Endpoint::ChatCompletions,
            &Bytes::from_static(body.as_bytes()),
        )
        .unwrap();
    let eu = Attributes::NONE.with(Attribute::Region, "eu");
    let stated = eu.with(Attribute::Speed, "fast");
    assert_eq!(reply.attributes, stated);
    assert_eq!(reply.usage, Reported::Given(io(1, 2)));
    let event = body.replace('\n', " ");
    let first = "data: {\"speed\":\"standard\",\"choices\":[{}]}\n\n";
    let (_, end) = run([Bytes::from(format!("{first}data: {event}\n\n"))]);
    assert_eq!(end.attributes, stated);
    // One that is stated once holds to the end.
    let (_, end) = run([Bytes::from(first.replace("standard", "fast"))]);
    let fast = Attributes::NONE.with(Attribute::Speed, "fast");
    assert_eq!(end.attributes, fast);
    for (attribute, _) in stated.iter() {
        assert!(OpenAi.states().contains(&attribute));
    }
}
