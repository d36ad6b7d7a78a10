use super::*;

fn tiers(ends: &[&str]) -> Result<Tiers<usize>, TierError> {
    let mut tiers: Vec<_> = (0..).zip(ends).map(|(n, end)| tier(end, n)).collect();
    tiers.push(Tier::open(ends.len()));
    Tiers::new(tiers)
}

fn tier(end: &str, n: usize) -> Tier<usize> {
    Tier::up_to(end.parse().unwrap(), n)
}

fn parts(tiers: &Tiers<usize>, position: &str, quantity: &str) -> Vec<(usize, String, bool)> {
    tiers
        .split(position.parse().unwrap(), quantity.parse().unwrap())
        .map(|part| (part.index, part.quantity.to_string(), part.enters()))
        .collect()
}

#[test]
fn a_line_is_split_where_a_tier_ends() {
    let tiers = tiers(&["10", "20.5"]).unwrap();
    let part = |index, quantity: &str, enters| (index, quantity.to_owned(), enters);
    assert_eq!(parts(&tiers, "0", "10"), [part(0, "10", true)]);
    assert_eq!(parts(&tiers, "10", "1"), [part(1, "1", true)]);
    assert_eq!(
        parts(&tiers, "4", "30"),
        [
            part(0, "6", false),
            part(1, "10.5", true),
            part(2, "13.5", true)
        ]
    );
    assert_eq!(parts(&tiers, "7", "0"), []);
    assert_eq!(tiers.until_next("12".parse().unwrap()), "8.5".parse().ok());
    assert_eq!(tiers.until_next("20.5".parse().unwrap()), None);
}

#[test]
fn a_threshold_belongs_to_the_tier_below_and_what_follows_to_the_one_above() {
    let tiers = tiers(&["99", "199"]).unwrap();
    let at = |text: &str| text.parse::<Quantity>().unwrap();
    assert_eq!(tiers.reached_by(at("0")), 0);
    assert_eq!(tiers.reached_by(at("99")), 0);
    assert_eq!(tiers.reached_by(at("99.5")), 1);
    assert_eq!(tiers.next_after(at("99")), 1);
    assert_eq!(tiers.next_after(at("98.9")), 0);
    let between = |from, to| tiers.between(at(from), at(to)).len();
    assert_eq!([between("99", "98"), between("99", "199")], [0, 2]);
    assert_eq!(
        [between("0", "98"), between("0", "99"), between("0", "1000")],
        [1, 2, 3]
    );
}

#[test]
fn positions_beyond_two_to_the_63_are_split_too() {
    let far = Quantity::whole(u64::MAX);
    let tiers = Tiers::new(vec![Tier::up_to(far, ()), Tier::open(())]).unwrap();
    let [below, above] = [1, 2].map(Quantity::whole);
    let parts: Vec<_> = tiers
        .split(far.beyond(below), Quantity::whole(3))
        .map(|part| part.quantity)
        .collect();
    assert_eq!(parts, [below, above]);
}

#[test]
fn tiers_that_leave_a_hole_are_refused_and_the_cure_is_named() {
    let refused = |tiers: Vec<Tier<usize>>| Tiers::new(tiers).unwrap_err().to_string();
    assert_eq!(Tiers::<()>::new(vec![]), Err(TierError::Empty));
    for (tiers, said) in [
        (vec![tier("10", 0)], "tier 1, the last, ends at 10"),
        (vec![Tier::open(0), tier("10", 1)], "tier 1 has no `up_to`"),
        (vec![tier("0", 0), Tier::open(1)], "begins and ends at 0"),
        (
            vec![tier("20", 0), tier("10", 1), Tier::open(2)],
            "tier 2 ends at 10, but the tier before it reaches to 20",
        ),
        (
            vec![Tier::open(0).with_flat(Exact::new(-1))],
            "tier 1 has a negative fee",
        ),
    ] {
        let error = refused(tiers);
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn stated_beginnings_must_be_the_ends_before_them() {
    let read = |json: &str| serde_json::from_str::<Tiers<u8>>(json);
    let tiers = read(r#"[{"up_to":"10","price":1,"flat":"2"},{"from":10,"price":2}]"#).unwrap();
    let text = serde_json::to_string(&tiers).unwrap();
    assert_eq!(
        text,
        r#"[{"up_to":"10","price":1,"flat":"2"},{"up_to":null,"price":2}]"#
    );
    assert_eq!(read(&text).unwrap(), tiers);
    for (json, said) in [
        (
            r#"[{"up_to":"10","price":1},{"from":"11","price":2}]"#,
            "has no price",
        ),
        (
            r#"[{"up_to":"10","price":1},{"from":"9","price":2}]"#,
            "they overlap",
        ),
        (
            r#"[{"from":"1","price":1}]"#,
            "the tier before it ends at 0",
        ),
        (r#"[{"upto":"10","price":1}]"#, "unknown field `upto`"),
        (r#"[{"up_to":"-10","price":1}]"#, "is not a quantity"),
        (r#"[{"up_to":1.5,"price":1}]"#, "a quantity is decimal text"),
    ] {
        let error = read(json).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
