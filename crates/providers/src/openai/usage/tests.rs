use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Reported {
    Counts::read(text).map_or(Reported::Malformed, |c| {
        c.reported(Endpoint::ChatCompletions)
    })
}

fn given(pairs: &[(Meter, u64)]) -> Reported {
    Reported::Given(pairs.iter().fold(Usage::NONE, |u, (m, q)| u.with(*m, *q)))
}

#[test]
fn parts_become_meters_and_the_rest_stays() {
    assert_eq!(
        read(
            r#"{"prompt_tokens":1200,"completion_tokens":80,"total_tokens":1280,
            "prompt_tokens_details":{"cached_tokens":1000,"cache_write_tokens":50,"audio_tokens":7},
            "completion_tokens_details":{"reasoning_tokens":16,"audio_tokens":4}}"#
        ),
        given(&[
            (Meter::Input, 143),
            (Meter::CacheRead, 1000),
            (Meter::CacheWrite5m, 50),
            (Meter::AudioInput, 7),
            (Meter::Output, 60),
            (Meter::Reasoning, 16),
            (Meter::AudioOutput, 4),
        ])
    );
}

#[test]
fn other_providers_habits() {
    let deepseek = r#"{"prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":4,
        "prompt_cache_miss_tokens":6}"#;
    let parts = [(Meter::Input, 6), (Meter::CacheRead, 4), (Meter::Output, 2)];
    assert_eq!(read(deepseek), given(&parts));
    assert_eq!(
        read(&deepseek.replace(r#""prompt_tokens":10,"#, "")),
        given(&parts)
    );
    let beside = r#"{"prompt_tokens":10,"completion_tokens":2,"total_tokens":112,
        "completion_tokens_details":{"reasoning_tokens":100}}"#;
    assert_eq!(
        read(beside),
        given(&[
            (Meter::Input, 10),
            (Meter::Output, 2),
            (Meter::Reasoning, 100)
        ])
    );
}

#[test]
fn what_a_total_has_beside_is_part_of_the_answer() {
    // A model that thinks and does not say how much; recorded of Gemini behind this protocol.
    let silent = r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":109}"#;
    let parts = [
        (Meter::Input, 35),
        (Meter::Output, 12),
        (Meter::Reasoning, 62),
    ];
    assert_eq!(read(silent), given(&parts));
    let some = r#"{"prompt_tokens":35,"completion_tokens":12,"total_tokens":50,
        "completion_tokens_details":{"reasoning_tokens":7}}"#;
    let parts = [
        (Meter::Input, 35),
        (Meter::Output, 8),
        (Meter::Reasoning, 7),
    ];
    assert_eq!(read(some), given(&parts));
    // A vector has no answer beside it.
    let vector = Counts::read(r#"{"prompt_tokens":5,"total_tokens":9}"#).unwrap();
    let reported = vector.reported(Endpoint::Embeddings);
    assert_eq!(reported, given(&[(Meter::Input, 5)]));
}

#[test]
fn responses_have_names_of_their_own() {
    let response = r#"{"input_tokens":1000,"input_tokens_details":{"cached_tokens":400,"cache_write_tokens":300,
        "cache_write_tokens_details":{"ttl_30m_tokens":100,"ttl_12h_tokens":200}},
        "output_tokens":50,"output_tokens_details":{"reasoning_tokens":20},"total_tokens":1050}"#;
    let parts = [
        (Meter::Input, 300),
        (Meter::CacheRead, 400),
        (Meter::CacheWrite5m, 100),
        (Meter::CacheWrite12h, 200),
        (Meter::Output, 30),
        (Meter::Reasoning, 20),
    ];
    let read_response = |text: &str| {
        let counts = Counts::read_response(text).unwrap();
        counts.reported(Endpoint::ChatCompletions)
    };
    assert_eq!(read_response(response), given(&parts));
    let without_sum = response.replace(r#""cache_write_tokens":300,"#, "");
    assert_eq!(read_response(&without_sum), given(&parts));
    // Gateways in between write the names of both, and mean one.
    let both = r#"{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"input_tokens":0,
        "output_tokens":0,"input_tokens_details":null}"#;
    assert_eq!(read(both), given(&[(Meter::Input, 5), (Meter::Output, 3)]));
    assert_eq!(
        Counts::read_response(r#"{"input_tokens":-1}"#),
        Err(Malformed)
    );
    let twice = r#"{"input_tokens":1,"input_tokens":1,"output_tokens":1}"#;
    assert_eq!(Counts::read_response(twice), Err(Malformed));
}

#[test]
fn absent_is_not_zero() {
    assert_eq!(read("{}"), Reported::Missing);
    assert_eq!(read(r#"{"prompt_tokens":5}"#), Reported::Missing);
    assert_eq!(
        read(r#"{"prompt_tokens":null,"completion_tokens":3}"#),
        Reported::Missing
    );
    assert_eq!(
        read(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#),
        given(&[])
    );
    assert_eq!(
        read(r#"{"prompt_tokens":5,"total_tokens":8,"prompt_tokens_details":null}"#),
        given(&[(Meter::Input, 5), (Meter::Output, 3)])
    );
    let embedding = Counts::read(r#"{"prompt_tokens":5,"total_tokens":5}"#).unwrap();
    assert_eq!(
        embedding.reported(Endpoint::Embeddings),
        given(&[(Meter::Input, 5)])
    );
}

#[test]
fn what_is_no_count_is_malformed() {
    for bad in [
        "-1",
        "1.5",
        "1e3",
        "\"7\"",
        "true",
        "[]",
        "99999999999999999999",
    ] {
        for key in ["prompt_tokens", "completion_tokens", "total_tokens"] {
            let text = format!(r#"{{"x":1,"{key}":{bad}}}"#);
            assert_eq!(read(&text), Reported::Malformed, "{text}");
        }
        let text = format!(
            r#"{{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":{bad}}}}}"#
        );
        assert_eq!(read(&text), Reported::Malformed, "{text}");
    }
    let twice = r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":1}"#;
    assert_eq!(read(twice), Reported::Malformed);
    assert_eq!(read("[1,2,3]"), Reported::Malformed);
    assert_eq!(read("7"), Reported::Malformed);
}

#[test]
fn what_is_written_reads_back() {
    let usage = Usage::NONE.with(Meter::Input, 7).with(Meter::Output, 3);
    assert_eq!(
        read(&write(&usage, r#""cost":0.1"#)),
        Reported::Given(usage)
    );
    assert_eq!(read(&write(&usage, "")), Reported::Given(usage));
}

proptest! {
    #[test]
    fn meters_add_up_to_the_totals(
        prompt in 0_u64..1 << 50, completion in 0_u64..1 << 50,
        parts in prop::array::uniform7(0_u64..1 << 51),
    ) {
        let [cached, write, audio_in, image_in, reasoning, audio_out, image_out] = parts;
        let text = format!(
            r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"prompt_tokens_details":
            {{"cached_tokens":{cached},"cache_write_tokens":{write},"audio_tokens":{audio_in},"image_tokens":{image_in}}},
            "completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":{audio_out},"image_tokens":{image_out}}}}}"#
        );
        let Reported::Given(usage) = read(&text) else { panic!("{text}") };
        prop_assert_eq!(usage.prompt_tokens(), prompt);
        prop_assert_eq!(usage.answer_tokens(), completion);
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,80}") {
        let _ = read(&text);
    }

    #[test]
    fn merging_is_the_larger_of_each(a in any::<[u32; 2]>(), b in any::<[u32; 2]>()) {
        let one = |[p, c]: [u32; 2]|
            Counts::read(&format!(r#"{{"prompt_tokens":{p},"completion_tokens":{c}}}"#)).unwrap();
        let (mut ab, mut ba) = (one(a), one(b));
        ab.merge(&one(b));
        ba.merge(&one(a));
        prop_assert_eq!(ab, ba);
        prop_assert_eq!(ab, one([a[0].max(b[0]), a[1].max(b[1])]));
    }
}
