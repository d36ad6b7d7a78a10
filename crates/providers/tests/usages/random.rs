//! Random bodies: with parts that are absent, null, or claim more than their total has.

use billing_core::meter::{Meter, Usage};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{given, tokens};

/// A count, mostly small against its total; now and then more than any total.
fn count() -> BoxedStrategy<u64> {
    prop_oneof![4 => 0_u64..1 << 20, 2 => 0_u64..1 << 40, 1 => 0_u64..1 << 52].boxed()
}

/// A total.
fn much() -> BoxedStrategy<u64> {
    prop_oneof![1 => 0_u64..100, 3 => 0_u64..1 << 22, 1 => 0_u64..1 << 50].boxed()
}

/// A member of a body.
#[derive(Debug, Clone, Copy)]
enum Part {
    Absent,
    Null,
    Count(u64),
}

fn part() -> BoxedStrategy<Part> {
    prop_oneof![1 => Just(Part::Absent), 1 => Just(Part::Null), 4 => count().prop_map(Part::Count)]
        .boxed()
}

/// An object of these members, without those that are absent.
fn object<const N: usize>(names: [&str; N], parts: [Part; N]) -> Value {
    let mut members = Map::new();
    for (name, part) in names.into_iter().zip(parts) {
        match part {
            Part::Absent => continue,
            Part::Null => members.insert(name.to_owned(), Value::Null),
            Part::Count(count) => members.insert(name.to_owned(), count.into()),
        };
    }
    members.into()
}

/// What a part claims at most.
const fn claimed(part: Part) -> u64 {
    match part {
        Part::Absent | Part::Null => 0,
        Part::Count(count) => count,
    }
}

/// No meter has more than its part claims.
fn within<const N: usize>(
    usage: &Usage,
    meters: [Meter; N],
    parts: [Part; N],
) -> Result<(), TestCaseError> {
    for (meter, part) in meters.into_iter().zip(parts) {
        prop_assert!(usage.get(meter) <= claimed(part), "{meter}: {usage:?}");
    }
    Ok(())
}

/// A list of tokens by modality, in which some have no number.
fn kinds(parts: [Part; 4]) -> Value {
    let mut list = Vec::new();
    for (name, part) in ["AUDIO", "IMAGE", "VIDEO", "TEXT"].into_iter().zip(parts) {
        match part {
            Part::Absent => {}
            Part::Null => list.push(json!({"modality": name})),
            Part::Count(count) => list.push(json!({"modality": name, "tokenCount": count})),
        }
    }
    list.into()
}

const IN: [&str; 5] = [
    "cached_tokens",
    "cache_write_tokens",
    "audio_tokens",
    "image_tokens",
    "video_tokens",
];
const OUT: [&str; 3] = ["reasoning_tokens", "audio_tokens", "image_tokens"];
const IN_METERS: [Meter; 5] = [
    Meter::CacheRead,
    Meter::CacheWrite5m,
    Meter::AudioInput,
    Meter::ImageInput,
    Meter::VideoInput,
];
const OUT_METERS: [Meter; 3] = [Meter::Reasoning, Meter::AudioOutput, Meter::ImageOutput];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn openai_in_both_of_its_shapes(
        prompt in much(), completion in much(), beside in prop_oneof![3 => Just(0), 1 => much()],
        ins in prop::array::uniform5(part()), outs in prop::array::uniform3(part()),
        states_total: bool,
    ) {
        let mut chat = json!({
            "prompt_tokens": prompt, "completion_tokens": completion,
            "prompt_tokens_details": object(IN, ins), "completion_tokens_details": object(OUT, outs),
        });
        let mut response = json!({
            "input_tokens": prompt, "output_tokens": completion,
            "input_tokens_details": object(IN, ins), "output_tokens_details": object(OUT, outs),
        });
        let beside = if states_total { beside } else { 0 };
        if states_total {
            for usage in [&mut chat, &mut response] {
                usage["total_tokens"] = (prompt + completion + beside).into();
            }
        }
        let usage = given(crate::openai_chat, &chat.to_string());
        prop_assert_eq!(usage, given(crate::openai_responses, &response.to_string()));
        prop_assert_eq!(usage.prompt_tokens(), prompt);
        prop_assert_eq!(tokens(&usage), prompt + completion + beside);
        within(&usage, IN_METERS, ins)?;
        let [reasoning, audio, image] = outs;
        let reasoning = Part::Count(claimed(reasoning).max(beside));
        within(&usage, OUT_METERS, [reasoning, audio, image])?;
    }

    #[test]
    fn deepseek_says_what_was_in_its_cache_and_what_was_not(
        hit in much(), miss in much(), completion in much(), reasoning in part(),
        states_prompt: bool, states_details: bool,
    ) {
        let mut usage = json!({
            "completion_tokens": completion, "total_tokens": hit + miss + completion,
            "prompt_cache_hit_tokens": hit, "prompt_cache_miss_tokens": miss,
            "completion_tokens_details": object(["reasoning_tokens"], [reasoning]),
        });
        if states_prompt {
            usage["prompt_tokens"] = (hit + miss).into();
        }
        if states_details {
            usage["prompt_tokens_details"] = json!({"cached_tokens": hit});
        }
        let read = given(crate::openai_chat, &usage.to_string());
        prop_assert_eq!(read.get(Meter::CacheRead), hit);
        prop_assert_eq!(read.get(Meter::Input), miss);
        prop_assert_eq!(read.answer_tokens(), completion);
        prop_assert_eq!(tokens(&read), hit + miss + completion);
        within(&read, [Meter::Reasoning], [reasoning])?;
    }

    #[test]
    fn anthropic_has_disjoint_classes_already(
        input in much(), output in much(), caches in prop::array::uniform2(part()),
        lives in prop::array::uniform2(part()), thinking in part(), searches in part(),
    ) {
        let [read, written] = caches;
        let names = ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"];
        let mut body = object(["cache_read_input_tokens", "cache_creation_input_tokens"], caches);
        body["input_tokens"] = input.into();
        body["output_tokens"] = output.into();
        body["cache_creation"] = object(names, lives);
        body["output_tokens_details"] = object(["thinking_tokens"], [thinking]);
        body["server_tool_use"] = object(["web_search_requests"], [searches]);
        let usage = given(crate::anthropic, &body.to_string());
        // Where all that was written is not stated, it is what the lifetimes add up to.
        let [five, hour] = lives.map(claimed);
        let written = match written {
            Part::Count(written) => written,
            Part::Absent | Part::Null => five + hour,
        };
        prop_assert_eq!(usage.get(Meter::Input), input);
        prop_assert_eq!(usage.get(Meter::CacheRead), claimed(read));
        let writes = [Meter::CacheWrite5m, Meter::CacheWrite1h].map(|meter| usage.get(meter));
        prop_assert_eq!(writes.iter().sum::<u64>(), written);
        prop_assert_eq!(usage.answer_tokens(), output);
        prop_assert_eq!(tokens(&usage), input + claimed(read) + written + output);
        prop_assert_eq!(usage.get(Meter::Search), claimed(searches));
        within(&usage, [Meter::CacheWrite1h, Meter::Reasoning], [lives[1], thinking])?;
    }

    #[test]
    fn gemini_counts_four_things_beside_one_another(
        counts in prop::array::uniform3(much()), cached in part(), candidates in prop::option::of(much()),
        beside in prop_oneof![3 => Just(0), 1 => much()], states_total: bool,
        ins in prop::array::uniform4(part()), caches in prop::array::uniform4(part()),
        tools in prop::array::uniform4(part()), outs in prop::array::uniform4(part()),
    ) {
        let [prompt, tool_use, thoughts] = counts;
        let mut body = object(["cachedContentTokenCount"], [cached]);
        body["promptTokenCount"] = prompt.into();
        body["toolUsePromptTokenCount"] = tool_use.into();
        body["thoughtsTokenCount"] = thoughts.into();
        body["promptTokensDetails"] = kinds(ins);
        body["cacheTokensDetails"] = kinds(caches);
        body["toolUsePromptTokensDetails"] = kinds(tools);
        body["candidatesTokensDetails"] = kinds(outs);
        if let Some(candidates) = candidates {
            body["candidatesTokenCount"] = candidates.into();
        }
        // A count that is left out is known by the total only.
        let states_total = states_total || candidates.is_none();
        let beside = if states_total { beside } else { 0 };
        let total = prompt + tool_use + thoughts + candidates.unwrap_or(0) + beside;
        if states_total {
            body["totalTokenCount"] = total.into();
        }
        let usage = given(crate::gemini, &body.to_string());
        prop_assert_eq!(usage.prompt_tokens(), prompt + tool_use);
        prop_assert_eq!(tokens(&usage), total);
        let cached_meters = [Meter::CacheRead, Meter::AudioCacheRead, Meter::ImageCacheRead];
        let served: u64 = cached_meters.map(|meter| usage.get(meter)).iter().sum();
        prop_assert_eq!(served, claimed(cached).min(prompt));
        let named = if candidates.is_some() { thoughts + beside } else { thoughts };
        prop_assert_eq!(usage.get(Meter::Reasoning), named);
        within(&usage, [Meter::AudioOutput, Meter::ImageOutput], [outs[0], outs[1]])?;
        for (meter, at) in [(Meter::AudioInput, 0), (Meter::ImageInput, 1), (Meter::VideoInput, 2)] {
            let most = claimed(ins[at]) + claimed(tools[at]);
            prop_assert!(usage.get(meter) <= most, "{meter}: {usage:?}");
        }
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC{0,80}", inner in "[\\[\\]{}\",:a-z0-9]{0,40}") {
        let nested = format!(
            r#"{{"iterations":{inner},"cache_creation":{inner},"promptTokensDetails":{inner}}}"#
        );
        for text in [&text, &inner, &nested] {
            for read in [
                crate::openai_chat, crate::openai_responses, crate::openai_embeddings,
                crate::anthropic, crate::gemini, crate::gemini_embeddings,
            ] {
                let _ = read(text);
            }
        }
    }
}
