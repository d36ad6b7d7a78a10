//! What happened in a run: counted, hashed, and on demand written down.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::rng::mix;

macro_rules! tally {
    ($($name:ident)*) => {
        /// How often what happened.
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: u64,)*
            pub(crate) most_asks_a_second: u64,
        }

        impl Tally {
            pub(crate) fn include(&mut self, other: &Self) {
                $(self.$name += other.$name;)*
                self.most_asks_a_second = self.most_asks_a_second.max(other.most_asks_a_second);
            }

            /// Each name with its figure, in order.
            pub(crate) fn figures(&self) -> Vec<(&'static str, u64)> {
                let most = ("most_asks_a_second", self.most_asks_a_second);
                vec![$((stringify!($name), self.$name),)* most]
            }
        }
    };
}

tally! {
    steps calls held_at_once held_after_waiting extensions extensions_held voids clients_gone
    tiered crossed_thresholds windows_of_tiers tiered_while_away tiered_on_a_plan
    beyond_reach
    settled settled_late_answers settlements_replayed settled_from_spool settled_by_restarted
    settled_after_fence undercharged_when_given_up beyond_hold quarantined
    refused_insufficient refused_busy refused_unavailable
    asks asks_repeated returns recalls_heard claims_told news top_ups suspensions
    messages messages_lost messages_twice messages_late answers_ignored
    outages carried_out_unheard crashes crashes_with_spool crashes_while_joining restarts stops
    stops_overrun pauses standstills clock_steps cuts fences_by_silence zombies rejoins earlier_ids_of_ended_lives nodes_overtaken reclaimed_leases
    rows_swept spooled stale_holds_allowed holds_after_standstill probes probes_of_all probes_of_last_cents
    probes_of_two_budgets
}

impl Tally {
    /// The figures as the members of a JSON object.
    pub(crate) fn members(&self) -> String {
        let mut text = String::new();
        for (name, figure) in self.figures() {
            let comma = if text.is_empty() { "" } else { "," };
            write!(text, r#"{comma}"{name}":{figure}"#).unwrap();
        }
        text
    }
}

/// How many of the last events are kept.
const KEPT: usize = 3_000;

/// The course of a run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hash: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(written: bool) -> Self {
        Self {
            hash: 0,
            lines: written.then(VecDeque::new),
        }
    }

    /// Takes numbers that tell this event from others.
    pub(crate) const fn mark(&mut self, number: u64) {
        self.hash = mix(self.hash ^ number).wrapping_add(self.hash.rotate_left(7));
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line());
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default().into()
    }
}
