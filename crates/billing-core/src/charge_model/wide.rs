//! Products that do not fit 128 bits, divided before they are cut.

/// `a` × `b` / `divisor` and the remainder, exact although the product has up to 256 bits.
///
/// `None` where the quotient does not fit, or for a divisor of zero.
pub(crate) fn mul_div(a: u128, b: u128, divisor: u64) -> Option<(u128, u64)> {
    if let Some(product) = a.checked_mul(b) {
        let divisor = u128::from(divisor);
        let rest = u64::try_from(product.checked_rem(divisor)?).ok()?;
        return Some((product.checked_div(divisor)?, rest));
    }
    let [w0, w1, w2, w3] = product(a, b);
    let mut rest = 0;
    let mut digit = |limb| {
        let (quotient, left) = step(rest, limb, divisor)?;
        rest = left;
        Some(quotient)
    };
    let [q3, q2, q1, q0] = [digit(w3)?, digit(w2)?, digit(w1)?, digit(w0)?];
    (q3 == 0 && q2 == 0).then(|| (join(q1, q0), rest))
}

/// The product in four limbs of 64 bits, the lowest first.
fn product(a: u128, b: u128) -> [u64; 4] {
    let ((a1, a0), (b1, b0)) = (halves(a), halves(b));
    let times = |x: u64, y: u64| u128::from(x).wrapping_mul(u128::from(y));
    let (carry0, w0) = halves(times(a0, b0));
    // A product of two limbs leaves room for two more limbs, so neither sum wraps.
    let low = times(a1, b0).wrapping_add(u128::from(carry0));
    let (low1, low0) = halves(low);
    let middle = times(a0, b1).wrapping_add(u128::from(low0));
    let (carry1, w1) = halves(middle);
    let high = times(a1, b1)
        .wrapping_add(u128::from(low1))
        .wrapping_add(u128::from(carry1));
    let (w3, w2) = halves(high);
    [w0, w1, w2, w3]
}

/// One step of long division in base 2⁶⁴: a remainder below the divisor, and the next limb.
fn step(rest: u64, limb: u64, divisor: u64) -> Option<(u64, u64)> {
    let dividend = join(rest, limb);
    let divisor = u128::from(divisor);
    let quotient = u64::try_from(dividend.checked_div(divisor)?).ok()?;
    let rest = u64::try_from(dividend.checked_rem(divisor)?).ok()?;
    Some((quotient, rest))
}

fn halves(value: u128) -> (u64, u64) {
    let low = value & u128::from(u64::MAX);
    (
        u64::try_from(value >> 64).unwrap_or(u64::MAX),
        u64::try_from(low).unwrap_or(u64::MAX),
    )
}

fn join(high: u64, low: u64) -> u128 {
    (u128::from(high) << 64) | u128::from(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_fit_is_said() {
        assert_eq!(mul_div(7, 3, 0), None);
        assert_eq!(mul_div(u128::MAX, u128::MAX, u64::MAX), None);
        assert_eq!(mul_div(u128::MAX, 10, 10), Some((u128::MAX, 0)));
        assert_eq!(mul_div(u128::MAX, 10, 9), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn dividing_undoes_multiplying(a: u128, b in 1_u64.., rest: u64) {
            let rest = rest.checked_rem(b).unwrap();
            prop_assert_eq!(mul_div(a, u128::from(b), b), Some((a, 0)));
            if let Some(product) = a.checked_mul(u128::from(b)).and_then(|p| p.checked_add(rest.into())) {
                prop_assert_eq!(mul_div(product, 1, b), Some((a, rest)));
            }
        }

        #[test]
        fn factors_may_change_places(a: u128, b: u128, divisor in 1_u64..) {
            prop_assert_eq!(mul_div(a, b, divisor), mul_div(b, a, divisor));
        }

        /// (a + 1) · b = a · b + b, whatever the carries.
        #[test]
        fn products_grow_by_the_factor(a in 0..u128::MAX, b: u128) {
            let [x, y] = [product(a, b), product(a.wrapping_add(1), b)];
            let low = |w: [u64; 4]| join(w[1], w[0]);
            let high = |w: [u64; 4]| join(w[3], w[2]);
            let (sum, carry) = low(x).overflowing_add(b);
            prop_assert_eq!(low(y), sum);
            prop_assert_eq!(high(y), high(x).wrapping_add(u128::from(carry)));
        }
    }
}
