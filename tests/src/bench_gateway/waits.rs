//! For how many commits the ends of calls waited, as a node counted them itself.

use crate::Failure;

/// What the counts are called in `/metrics`.
const BUCKET: &str = "tollgate_settle_waited_commits_bucket{le=\"";

/// How many settlements waited for so many commits at most: bounds in order, counted up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Waits(Vec<(u64, u64)>);

impl Waits {
    /// What a node has counted since its start.
    ///
    /// # Errors
    /// It does not answer, or not with these counts.
    pub(super) async fn of(metrics: &str) -> Result<Self, Failure> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let page = client.get(metrics).send().await?.text().await?;
        let waits = Self::read(&page);
        if waits.0.is_empty() {
            return Err(format!("{metrics} does not count commits").into());
        }
        Ok(waits)
    }

    fn read(page: &str) -> Self {
        let bucket = |line: &str| {
            let (bound, count) = line.strip_prefix(BUCKET)?.split_once("\"} ")?;
            let bound = match bound {
                "+Inf" => u64::MAX,
                bound => bound.parse().ok()?,
            };
            Some((bound, count.parse().ok()?))
        };
        Self(page.lines().filter_map(bucket).collect())
    }

    /// What was counted after an earlier look.
    pub(super) fn since(&self, before: &Self) -> Self {
        let pairs = self.0.iter().zip(&before.0);
        let counted = pairs.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then)));
        Self(counted.collect())
    }

    /// As many settlements, in thousandths, waited for this many commits at most.
    pub(super) fn share_up_to(&self, bound: u64) -> u64 {
        let all = self.0.last().map_or(0, |(_, count)| *count);
        let within = self.0.iter().rfind(|(b, _)| *b <= bound);
        within.map_or(0, |(_, count)| count * 1000 / all.max(1))
    }

    /// The bound up to which 99 of 100 settlements waited; none where it is beyond all bounds.
    pub(super) fn p99(&self) -> Option<u64> {
        let all = self.0.last().map_or(0, |(_, count)| *count);
        let found = self.0.iter().find(|(_, count)| count * 100 >= all * 99);
        let bound = found.map(|(bound, _)| *bound);
        bound.filter(|bound| all > 0 && *bound < u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(counts: [u64; 3]) -> Waits {
        let [one, two, all] = counts;
        Waits::read(&format!(
            "# TYPE tollgate_settle_waited_commits histogram\n{BUCKET}1\"}} {one}\n\
             {BUCKET}2\"}} {two}\n{BUCKET}+Inf\"}} {all}\ntollgate_settle_waited_commits_sum 9\n"
        ))
    }

    #[test]
    fn what_was_counted_between_two_looks_is_what_is_told() {
        let seen = page([110, 1090, 1100]).since(&page([100, 100, 100]));
        assert_eq!(seen, page([10, 990, 1000]));
        assert_eq!((seen.p99(), seen.share_up_to(2)), (Some(2), 990));
        assert_eq!(seen.share_up_to(1), 10);
    }

    #[test]
    fn a_hundredth_beyond_all_bounds_has_no_bound() {
        let seen = page([10, 989, 1000]);
        assert_eq!((seen.p99(), seen.share_up_to(2)), (None, 989));
        assert_eq!(page([0, 0, 0]).p99(), None);
    }
}
