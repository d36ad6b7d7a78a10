//! What nodes hold of the budgets in memory, and ask for.

use billing_core::budget::{Amount, BudgetScope};
use billing_core::id::NodeId;
use billing_core::lease::{Claim, Lease};

use super::Page;

impl Page {
    pub(super) fn leases_of(&self, scope: BudgetScope) -> Vec<Lease> {
        let of_scope = self.leases.iter().filter(|((_, s), _)| *s == scope);
        let lease = |((node, _), amount): (&(NodeId, BudgetScope), &Amount)| {
            let heard = self.heard.get(&(*node, scope)).copied();
            let (seq, granted) = heard.unwrap_or_default();
            Lease {
                node: *node,
                amount: *amount,
                seq,
                granted,
            }
        };
        of_scope.map(lease).collect()
    }

    pub(super) fn write_lease(&mut self, scope: BudgetScope, lease: Lease) {
        self.leases.insert((lease.node, scope), lease.amount);
        self.heard
            .insert((lease.node, scope), (lease.seq, lease.granted));
    }

    pub(super) fn claims_of(&self, scope: BudgetScope) -> Vec<Claim> {
        let of_scope = self.claims.iter().filter(|((_, s), _)| *s == scope);
        of_scope.map(|(_, claim)| *claim).collect()
    }

    pub(super) fn add_lease(&mut self, scope: BudgetScope, more: Amount) {
        let leased = self.leased(scope);
        *leased = leased.plus(more);
    }

    pub(super) fn free(&mut self, scope: BudgetScope, freed: Amount) {
        let leased = self.leased(scope);
        *leased = leased.less(freed);
    }

    fn leased(&mut self, scope: BudgetScope) -> &mut Amount {
        match scope {
            BudgetScope::Wallet => &mut self.wallet.leased,
            BudgetScope::KeyLimit { .. }
            | BudgetScope::MemberLimit { .. }
            | BudgetScope::Quota { .. }
            | BudgetScope::CallLimit { .. }
            | BudgetScope::Tier { .. }
            | BudgetScope::TierCharge { .. }
            | BudgetScope::TierOverrun { .. } => &mut self.uses.entry(scope).or_default().leased,
        }
    }
}
