//! Rates that stand in the place of the ordinary ones under a condition.

use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261123_000018_rates",
    statements: &[
        // `above_prompt` is -1 where the rate holds from the first token. `condition` is text in
        // the form that catalogues write it in.
        r"CREATE TABLE variant_rate (
        price_version_id BIGINT NOT NULL REFERENCES price_version (id),
        condition TEXT NOT NULL,
        meter TEXT NOT NULL,
        tier TEXT NOT NULL,
        above_prompt BIGINT NOT NULL,
        inclusive BOOLEAN NOT NULL,
        price TEXT NOT NULL,
        PRIMARY KEY (price_version_id, condition, meter, tier, above_prompt, inclusive)
    ){clustered}",
    ],
};
