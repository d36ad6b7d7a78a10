//! The table of outcomes, as data: what was done, and what must come of it.

/// What the caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Asks and reads to the end.
    Stays,
    /// Leaves while the upstream has not said anything.
    LeavesBefore,
    /// Leaves as soon as the head and so many events of a stream are there.
    LeavesAfter(usize),
}

/// What is charged, by rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charge {
    /// Nothing.
    Nothing,
    /// So many tokens: input, read from a cache, output (reasoning included).
    Tokens(u64, u64, u64),
    /// Tokens of an embedding.
    Embedded(u64),
    /// What had been held.
    Hold,
}

/// What must come of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// What the caller gets.
    pub(super) caller: &'static str,
    /// How the books call it.
    pub(super) outcome: &'static str,
    /// Who counted.
    pub(super) source: &'static str,
    /// What is charged.
    pub(super) charge: Charge,
    /// Why.
    pub(super) why: &'static str,
}

/// One thing that can happen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    /// In words.
    pub(super) what: &'static str,
    /// The simulated model.
    pub(super) model: &'static str,
    /// What the caller does.
    pub(super) act: Act,
    /// Without streaming.
    pub(super) whole: Option<Expected>,
    /// Streamed.
    pub(super) streamed: Option<Expected>,
}

const WHOLE: &str = "200, the answer";
const DONE: &str = "200, the stream to its `[DONE]`";
const FAILED: &str = "502 `provider_unavailable`";
const CUT: &str = "200, the stream up to there, then an error `upstream_broke_off`";
const GONE: &str = "nothing: it has left";
const PART: &str = "the part it stayed for";

const COUNTED: &str = "The provider counted, and the count can be true.";
const NO_ANSWER: &str = "No answer came, so nothing was delivered.";
const UNCOUNTED: &str =
    "The provider did not say what it used; input and what was delivered are counted here.";
const MALFORMED: &str =
    "What the provider said is no count; input and what was delivered are counted here.";
const BEYOND: &str = "The model cannot produce so much. The count is not believed, what had been \
                      held is charged, and the call is marked for a person to look at.";

const fn expected(
    caller: &'static str,
    outcome: &'static str,
    source: &'static str,
    charge: Charge,
    why: &'static str,
) -> Expected {
    Expected {
        caller,
        outcome,
        source,
        charge,
        why,
    }
}

const fn completed(caller: &'static str, charge: Charge) -> Expected {
    expected(caller, "completed", "provider", charge, COUNTED)
}

const fn estimated(caller: &'static str, output: u64, why: &'static str) -> Expected {
    expected(
        caller,
        "completed",
        "estimated",
        Charge::Tokens(12, 0, output),
        why,
    )
}

const fn failed(caller: &'static str, outcome: &'static str) -> Expected {
    expected(caller, outcome, "none", Charge::Nothing, NO_ANSWER)
}

const fn served(what: &'static str, model: &'static str, charge: Charge) -> Case {
    let (whole, streamed) = (
        Some(completed(WHOLE, charge)),
        Some(completed(DONE, charge)),
    );
    Case {
        what,
        model,
        act: Act::Stays,
        whole,
        streamed,
    }
}

const fn refused(
    what: &'static str,
    model: &'static str,
    caller: &'static str,
    outcome: &'static str,
) -> Case {
    let expected = Some(failed(caller, outcome));
    let (whole, streamed) = (expected, expected);
    Case {
        what,
        model,
        act: Act::Stays,
        whole,
        streamed,
    }
}

const fn uncounted(
    what: &'static str,
    model: &'static str,
    (whole, streamed): (u64, u64),
    why: &'static str,
) -> Case {
    let (whole, streamed) = (
        Some(estimated(WHOLE, whole, why)),
        Some(estimated(DONE, streamed, why)),
    );
    Case {
        what,
        model,
        act: Act::Stays,
        whole,
        streamed,
    }
}

/// Everything that can happen to a call.
pub(super) const TABLE: &[Case] = &[
    served("served", "sim/echo", Charge::Tokens(3, 0, 3)),
    served(
        "served, as long as wanted",
        "sim/lorem?tokens=7",
        Charge::Tokens(3, 0, 7),
    ),
    served(
        "served, partly from a cache and after reasoning",
        "sim/lorem?tokens=7&cached=2&reasoning=4",
        Charge::Tokens(1, 2, 11),
    ),
    served(
        "served slowly",
        "sim/slow?first_ms=50&chunk_ms=2",
        Charge::Tokens(3, 0, 20),
    ),
    Case {
        what: "an embedding",
        model: "sim/embedding",
        act: Act::Stays,
        whole: Some(completed(WHOLE, Charge::Embedded(3))),
        streamed: None,
    },
    uncounted("no usage", "sim/no-usage", (22, 21), UNCOUNTED),
    Case {
        what: "a usage of zero",
        model: "sim/zero-usage",
        act: Act::Stays,
        whole: Some(expected(
            WHOLE,
            "completed",
            "provider",
            Charge::Tokens(0, 0, 0),
            ZERO,
        )),
        streamed: Some(expected(
            DONE,
            "completed",
            "provider",
            Charge::Tokens(0, 0, 0),
            ZERO,
        )),
    },
    Case {
        what: "an absurd usage: 10¹² tokens",
        model: "sim/absurd-usage?mode=huge",
        act: Act::Stays,
        whole: Some(expected(
            WHOLE,
            "completed",
            "provider",
            Charge::Hold,
            BEYOND,
        )),
        streamed: Some(expected(
            DONE,
            "completed",
            "provider",
            Charge::Hold,
            BEYOND,
        )),
    },
    Case {
        what: "an absurd usage: 2⁶⁴ − 1 tokens",
        model: "sim/absurd-usage?mode=wrapped",
        act: Act::Stays,
        whole: Some(expected(
            WHOLE,
            "completed",
            "provider",
            Charge::Hold,
            BEYOND,
        )),
        streamed: Some(expected(
            DONE,
            "completed",
            "provider",
            Charge::Hold,
            BEYOND,
        )),
    },
    uncounted(
        "an absurd usage: −5",
        "sim/absurd-usage?mode=negative",
        (22, 23),
        MALFORMED,
    ),
    uncounted(
        "an absurd usage: 1.5",
        "sim/absurd-usage?mode=fractional",
        (24, 23),
        MALFORMED,
    ),
    uncounted(
        "an absurd usage: a text",
        "sim/absurd-usage?mode=text",
        (22, 22),
        MALFORMED,
    ),
    Case {
        what: "cut in the middle",
        model: "sim/cut",
        act: Act::Stays,
        whole: Some(failed(FAILED, "upstream_failed")),
        streamed: Some(expected(
            CUT,
            "cut_mid_stream",
            "estimated",
            Charge::Tokens(12, 0, 13),
            "What was delivered until then is charged, counted here.",
        )),
    },
    Case {
        what: "cut before the first word",
        model: "sim/cut?cut_after=0",
        act: Act::Stays,
        whole: Some(failed(FAILED, "upstream_failed")),
        streamed: Some(expected(
            CUT,
            "cut_mid_stream",
            "none",
            Charge::Nothing,
            NO_ANSWER,
        )),
    },
    refused(
        "upstream 500",
        "sim/lorem?status=500",
        FAILED,
        "upstream_failed",
    ),
    refused(
        "upstream 429",
        "sim/lorem?status=429",
        FAILED,
        "upstream_failed",
    ),
    refused(
        "upstream 400",
        "sim/lorem?status=400",
        "400 `simulated_failure`",
        "upstream_rejected",
    ),
    refused(
        "upstream timeout",
        "sim/lorem?hang=1",
        "504 `upstream_timeout`",
        "upstream_timeout",
    ),
    refused(
        "an upstream that fails",
        "sim/flaky?rate=100&seed=1",
        FAILED,
        "upstream_failed",
    ),
    Case {
        what: "client gone before the first byte",
        model: "sim/slow?first_ms=1000&tokens=6",
        act: Act::LeavesBefore,
        whole: Some(expected(
            GONE,
            "client_gone_before_first_byte",
            "provider",
            Charge::Tokens(3, 0, 6),
            "The upstream finished the answer and counts it.",
        )),
        streamed: Some(expected(
            GONE,
            "client_gone_before_first_byte",
            "none",
            Charge::Nothing,
            "The upstream's call was ended before it had said a word.",
        )),
    },
    Case {
        what: "client gone in the middle",
        model: "sim/slow?first_ms=10&chunk_ms=400&tokens=12",
        act: Act::LeavesAfter(4),
        whole: None,
        streamed: Some(expected(
            PART,
            "client_gone_mid_stream",
            "estimated",
            Charge::Tokens(12, 0, 5),
            "The upstream's call was ended; what was delivered until then is counted here.",
        )),
    },
    Case {
        what: "client gone while a whole answer arrives",
        model: "sim/lorem?tokens=9",
        act: Act::LeavesAfter(0),
        whole: Some(completed(PART, Charge::Tokens(3, 0, 9))),
        streamed: None,
    },
];

const ZERO: &str = "The provider counted zero, which is a count: not the same as none.";
