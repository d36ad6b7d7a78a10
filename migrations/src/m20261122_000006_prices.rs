//! Models, immutable price versions and their rates.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261122_000006_prices",
    statements: &[
        r"CREATE TABLE model (
        name TEXT PRIMARY KEY,
        provider TEXT NOT NULL,
        mode TEXT NOT NULL,
        max_input_tokens BIGINT,
        max_output_tokens BIGINT
    ){clustered}",
        r"CREATE TABLE price_edition (
        id {position},
        source TEXT NOT NULL,
        recorded_at BIGINT NOT NULL,
        versions BIGINT NOT NULL,
        facts BIGINT NOT NULL
    ){rows}",
        r"CREATE TABLE price_version (
        id BIGINT PRIMARY KEY,
        model TEXT NOT NULL REFERENCES model (name),
        currency TEXT NOT NULL,
        effective_from BIGINT NOT NULL,
        price_edition_id BIGINT NOT NULL REFERENCES price_edition (id)
    ){rows}",
        "CREATE INDEX price_version_of_model ON price_version (model, effective_from)",
        // `above_prompt` is -1 where the rate holds from the first token.
        r"CREATE TABLE rate (
        price_version_id BIGINT NOT NULL REFERENCES price_version (id),
        meter TEXT NOT NULL,
        tier TEXT NOT NULL,
        above_prompt BIGINT NOT NULL,
        inclusive BOOLEAN NOT NULL,
        price TEXT NOT NULL,
        PRIMARY KEY (price_version_id, meter, tier, above_prompt, inclusive)
    ){clustered}",
    ],
};
