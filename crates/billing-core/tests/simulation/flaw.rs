//! What can be broken on purpose, so that the checks can be seen to fail.

/// One thing that is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nothing.
    None,
    /// The settlement of a fenced node still draws on the lease it had.
    DropsTheFence,
    /// A silent node's leases are taken back, and it is not told.
    ReclaimsWithoutFence,
    /// The store takes a part of a lease back as often as it hears of it.
    TakesBackTwice,
    /// A settlement that is handed in again is charged again.
    SettlesWithoutKey,
    /// The store grants to one node what another has on lease.
    CountsOnTwoNodes,
    /// The store grants a repeated ask once more.
    GrantsAgain,
    /// A stopped account is granted nothing, also where it was before and the node did not hear it.
    ForgetsWhenStopped,
    /// Rows of empty leases, and with them the last number, are forgotten at once.
    SweepsAtOnce,
    /// The store takes back what it recalls, held or not.
    RecallsWhatIsHeld,
    /// What a node has on lease is free as soon as it is fenced.
    FreesAtTheFence,
    /// A fenced node leaves under its old id before the calls that began under it are settled.
    LeavesTooEarly,
    /// The leases of nodes that were taken for dead are never taken back.
    KeepsDeadLeases,
    /// A node goes by the time that a peer wrote down, and by its own clock.
    FencesByWallClock,
    /// A node goes by its wall clock where it should go by the steady one.
    GoesByTheWallClock,
    /// The steady clock does not count the time for which its machine was suspended.
    SleepsUncounted,
    /// A node is fenced though it was heard of since it was judged.
    FencesUnheard,
    /// A node that is cut off from the store goes on as if it were not.
    IgnoresStaleness,
    /// What a spooled settlement holds is free for others.
    ForgetsTheSpooled,
    /// A node that starts joins before it has handed in what its spool holds.
    JoinsBeforeReplay,
    /// The spool dies with the process.
    SpoolsInMemory,
    /// A call is done before its settlement is durable.
    DoneTooEarly,
    /// A fenced node settles its old calls as if its new leases held them.
    SettlesUnderItsNewId,
    /// A call that ended without a charge keeps its hold.
    KeepsVoidHolds,
    /// Nothing is recalled.
    NeverRecalls,
    /// Where a call stands in tiers is read before the transaction that settles it.
    ReadsThePositionTooEarly,
    /// A settlement that is handed in again moves the position again.
    MovesThePositionTwice,
    /// What is held for a call in tiers is what it would cost where its node knew it to stand.
    HoldsAtTheKnownTier,
}

impl Flaw {
    /// Every flaw there is.
    pub(crate) const ALL: &'static [Self] = &[
        Self::DropsTheFence,
        Self::ReclaimsWithoutFence,
        Self::TakesBackTwice,
        Self::SettlesWithoutKey,
        Self::CountsOnTwoNodes,
        Self::GrantsAgain,
        Self::ForgetsWhenStopped,
        Self::SweepsAtOnce,
        Self::RecallsWhatIsHeld,
        Self::FreesAtTheFence,
        Self::LeavesTooEarly,
        Self::KeepsDeadLeases,
        Self::FencesByWallClock,
        Self::GoesByTheWallClock,
        Self::SleepsUncounted,
        Self::FencesUnheard,
        Self::IgnoresStaleness,
        Self::ForgetsTheSpooled,
        Self::JoinsBeforeReplay,
        Self::SpoolsInMemory,
        Self::DoneTooEarly,
        Self::SettlesUnderItsNewId,
        Self::KeepsVoidHolds,
        Self::NeverRecalls,
        Self::ReadsThePositionTooEarly,
        Self::MovesThePositionTwice,
        Self::HoldsAtTheKnownTier,
    ];
}
