//! How a quote was found, in words.

use billing_core::meter::Meter;

use crate::price_list::{AnswerLength, Estimate};

/// How the worst case was found.
pub(super) fn worst(estimate: &Estimate) -> String {
    let ceiling = &estimate.ceiling;
    let prompt = ceiling.get(Meter::Input);
    let answer = match ceiling.get(Meter::Output) {
        0 => String::new(),
        output => format!(
            " and an answer of at most {output} tokens (what the request allows, else the model, \
             else this Tollgate)"
        ),
    };
    format!(
        "A prompt of at most {prompt} tokens (by the size of the body and what the model takes)\
         {answer}, at the dearest price that can apply. So much is set aside before the call is \
         sent; what it does not cost comes back."
    )
}

/// What the likely case assumes.
pub(super) fn likely(estimate: &Estimate) -> String {
    let usage = &estimate.likely.usage;
    let mut text = format!(
        "The prompt was counted here: {} tokens",
        usage.prompt_tokens()
    );
    text.push_str(if estimate.has_media {
        ", without its pictures, audio and files."
    } else {
        "."
    });
    let output = usage.answer_tokens();
    let answer = match estimate.answer {
        AnswerLength::NoAnswer => return text,
        AnswerLength::Measured { calls: 1 } => {
            "as many as that of the account's only call of this model in the last 30 days had"
                .to_owned()
        }
        AnswerLength::Measured { calls } => format!(
            "the mean of the {calls} calls that the account made of this model in the last 30 days"
        ),
        AnswerLength::Assumed => "what this Tollgate assumes where nothing is known".to_owned(),
        AnswerLength::Bound => "the most that is allowed".to_owned(),
    };
    let more = format!(" The answer is taken to have {output} tokens: {answer}.");
    text.push_str(&more);
    text
}
