//! What a zero of the source means.

use billing_core::meter::Meter;
use billing_core::price::ServiceTier;

use super::key::RateKey;
use super::sheet::Stated;

/// Modes that answer with text: a free prompt or answer there would be a free model.
pub(super) const CONVERSING: [&str; 4] = ["chat", "completion", "responses", "realtime"];
/// Modes whose product is a vector, a score or a verdict, so that no output token is sold.
const WITHOUT_OUTPUT: [&str; 7] = [
    "embedding",
    "rerank",
    "evaluation",
    "moderation",
    "decisions",
    "extraction",
    "search",
];
/// Models that converse in name only, or whose provider's own list states that only input is paid.
const PAID_BY_INPUT: [&str; 2] = ["scaledown/", "together_ai/together/Tev1-"];
/// A router's fee on input, beside which the model that it picks is to be paid.
const ROUTERS: [&str; 2] = ["model_router", "model-router"];

/// Whether a zero beside other prices is a statement and no gap: what is not sold by this measure
/// because the model's product is measured otherwise.
pub(super) fn is_meant(name: &str, mode: &str, at: RateKey, stated: &[Stated]) -> bool {
    let priced = |meter| {
        let mut priced = stated.iter().filter(|s| s.price.is_some());
        priced.any(|s| s.at.meter == meter)
    };
    if at.meter == Meter::Output {
        return WITHOUT_OUTPUT.contains(&mode)
            || at.tier == ServiceTier::Decisions
            || is_embedding(name)
            || PAID_BY_INPUT.iter().any(|model| name.starts_with(model))
            || priced(Meter::Request);
    }
    let by_query = priced(Meter::Query) && matches!(mode, "rerank" | "search");
    at.meter == Meter::Input && (by_query || priced(Meter::Request))
}

/// Why a conversing model whose input or output is stated as zero is refused.
pub(super) fn refused(name: &str, mode: &str, key: &str) -> String {
    if ROUTERS.iter().any(|router| name.ends_with(router)) {
        return format!(
            "a router's own fee, beside which the model that it picks is paid: {key} is zero ({mode}); state a price for the whole"
        );
    }
    format!(
        "a zero beside other prices would make its text free: {key} ({mode}); state `free` explicitly to sell it so"
    )
}

/// Whether a model listed as a chat is one of embeddings.
fn is_embedding(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    last.split(['-', '_']).any(|word| word == "embed")
}
