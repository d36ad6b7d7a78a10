//! What callers saw, and whether the books say the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::call::{Answer, Ending};
use crate::figure::text;
use crate::proof::Findings;

/// What the callers of one account saw.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// The cost that each complete answer showed.
    complete: BTreeMap<String, i128>,
    /// Complete answers that showed no cost. Where a call stands in price tiers only the books know
    /// what it costs, and while they are away an answer does not wait for them.
    untold: BTreeSet<String>,
    /// Calls that began to answer and did not end.
    broken: BTreeSet<String>,
    /// Calls of which not even a head arrived.
    unheard: u64,
    /// Calls that were never sent, for want of a connection.
    unsent: u64,
    /// Calls that were refused before they began.
    refused: BTreeSet<String>,
    /// How often each refusal was heard.
    reasons: BTreeMap<String, u64>,
    /// Answers that are none of these.
    odd: Vec<String>,
}

/// What became of the calls of one account.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Complete answers that clients hold.
    pub completed: u64,
    /// Of these, how many are not on record with the cost they showed.
    pub lost: u64,
    /// Calls that are on record more than once.
    pub double: u64,
    /// Calls that no client saw the end of.
    pub interrupted: u64,
    /// Of these, how many were charged, once.
    pub interrupted_charged: u64,
    /// Calls that were refused.
    pub refused: u64,
}

impl Seen {
    /// Takes an answer to the record.
    pub fn note(&mut self, answer: &Answer) {
        if matches!(answer.ending, Ending::Unsent(_)) {
            self.unsent += 1;
            return;
        }
        let lost = matches!(answer.ending, Ending::Lost(_));
        match (answer.id.clone(), answer.cost_nanos()) {
            (Some(id), Some(cost)) if answer.is_complete() => {
                if self.complete.insert(id.clone(), cost).is_some() {
                    self.odd.push(format!("two answers under one id, {id}"));
                }
            }
            (Some(id), None) if answer.is_complete() && answer.shows_no_cost() => {
                self.untold.insert(id);
            }
            (Some(id), _) if answer.status == 200 && !answer.is_complete() => {
                self.broken.insert(id);
            }
            (id, _) if lost && answer.status != 200 => {
                self.unheard += 1;
                self.refused.extend(id.filter(|_| answer.status != 0));
            }
            (id, _) if matches!(answer.status, 402 | 429 | 503) && !answer.code().is_empty() => {
                let reason = format!("{} {}", answer.status, answer.code());
                *self.reasons.entry(reason).or_default() += 1;
                self.refused.extend(id);
            }
            // The request itself got stuck on its way, and was never a call.
            (None, _) if answer.status == 408 => {
                *self.reasons.entry("408".to_owned()).or_default() += 1;
            }
            _ => self.odd.push(format!("{answer:?}")),
        }
    }

    /// Takes over what others saw.
    pub fn extend(&mut self, other: Self) {
        self.complete.extend(other.complete);
        self.untold.extend(other.untold);
        self.broken.extend(other.broken);
        self.unheard += other.unheard;
        self.unsent += other.unsent;
        self.refused.extend(other.refused);
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
        self.odd.extend(other.odd);
    }

    /// The ids of the complete answers.
    pub fn complete(&self) -> impl Iterator<Item = &String> {
        self.complete.keys().chain(&self.untold)
    }

    /// The newest complete answer, with the cost it showed.
    pub fn newest(&self) -> Option<(&String, i128)> {
        let (id, cost) = self.complete.last_key_value()?;
        Some((id, *cost))
    }

    /// How many answers are complete.
    pub fn completed(&self) -> u64 {
        count(self.complete.len() + self.untold.len())
    }

    /// How many of these showed no cost.
    pub fn untold(&self) -> u64 {
        count(self.untold.len())
    }

    /// How many calls broke off, or were never answered.
    pub fn interrupted(&self) -> u64 {
        self.unheard + count(self.broken.len())
    }

    /// How many calls could not be sent.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    /// How often each refusal was heard.
    pub fn reasons(&self) -> &BTreeMap<String, u64> {
        &self.reasons
    }

    /// Compares what was seen with the calls on record and their charges. Every complete answer must
    /// have shown its cost.
    pub fn compare(&self, charged: &[(String, i128)], findings: &mut Findings) -> Compared {
        for id in &self.untold {
            findings.check(false, || format!("{id} was answered without its cost"));
        }
        self.compare_in_tiers(charged, findings)
    }

    /// The same of an account in price tiers, where an answer may show no cost: then any is right, as
    /// long as it is on record.
    pub fn compare_in_tiers(
        &self,
        charged: &[(String, i128)],
        findings: &mut Findings,
    ) -> Compared {
        let charges: BTreeMap<&String, i128> =
            charged.iter().map(|(id, nanos)| (id, *nanos)).collect();
        let mut compared = Compared {
            completed: self.completed(),
            double: count(charged.len() - charges.len()),
            interrupted: self.interrupted(),
            refused: self.reasons.values().sum(),
            ..Compared::default()
        };
        findings.check(compared.double == 0, || {
            format!("{} calls charged twice", compared.double)
        });
        for odd in &self.odd {
            findings.check(false, || format!("no answer that a caller expects: {odd}"));
        }
        for (id, cost) in &self.complete {
            let charge = charges.get(id);
            compared.lost += u64::from(charge != Some(cost));
            findings.check(charge == Some(cost), || {
                let charged = charge.map_or("nothing".to_owned(), |charge| text(*charge));
                format!(
                    "{id}: the client holds an answer of {}, charged: {charged}",
                    text(*cost)
                )
            });
        }
        for id in &self.untold {
            compared.lost += u64::from(!charges.contains_key(id));
            findings.check(charges.contains_key(id), || {
                format!("{id}: the client holds an answer without a cost, and nothing is on record")
            });
        }
        for id in &self.refused {
            let charge = charges.get(id).copied().unwrap_or_default();
            findings.check(charge == 0, || {
                format!("{id} was refused, and charged {}", text(charge))
            });
        }
        // Whoever is charged holds an answer, or was interrupted.
        let others = charges
            .keys()
            .filter(|id| !self.complete.contains_key(**id) && !self.untold.contains(**id))
            .filter(|id| !self.refused.contains(**id));
        compared.interrupted_charged = count(others.count());
        findings.check(compared.interrupted_charged <= compared.interrupted, || {
            let charged = compared.interrupted_charged;
            format!(
                "{charged} calls charged that no client saw the end of, {} such calls",
                compared.interrupted
            )
        });
        compared
    }
}

impl Compared {
    /// Adds the figures of others.
    pub fn add(&mut self, other: Self) {
        self.completed += other.completed;
        self.lost += other.lost;
        self.double += other.double;
        self.interrupted += other.interrupted;
        self.interrupted_charged += other.interrupted_charged;
        self.refused += other.refused;
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
