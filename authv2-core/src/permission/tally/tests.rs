//! The tally alone: what is kept, merged and bounded.

use super::*;

fn label(organization: OrgId, permission: &str) -> Label {
    Label {
        organization,
        permission: permission.to_owned(),
        role: String::new(),
        granted: String::new(),
        outcome: Outcome::Denied,
    }
}

fn taken(tally: &Tally, seconds: i64) -> Pending {
    let mut batch = tally.take(Timestamp::from_seconds(seconds));
    batch.take_all()
}

#[test]
fn keys_of_one_label_are_one_row() {
    let (tally, organization) = (Tally::new(0), OrgId::new());
    for key in [3, 4, 3] {
        tally.count(key, || label(organization, "orders:read"));
    }
    let rows = taken(&tally, 86_400 * 5 + 1).decisions;
    assert_eq!(rows, HashMap::from([((label(organization, "orders:read"), 5), 3)]));
    assert!(taken(&tally, 0).decisions.is_empty());
}

#[test]
fn a_label_is_worked_out_once() {
    let (tally, organization) = (Tally::new(0), OrgId::new());
    let mut worked_out = 0;
    for round in 0..10 {
        tally.count(3, || {
            worked_out += 1;
            label(organization, "orders:read")
        });
        if round % 2 == 0 {
            taken(&tally, 0);
        }
    }
    assert_eq!(worked_out, 1);
}

#[test]
fn labels_go_with_the_decisions_that_nobody_makes_any_more() {
    let (tally, organization) = (Tally::new(0), OrgId::new());
    for key in 1..100 {
        tally.count(key, || label(organization, "orders:read"));
    }
    (0..4).for_each(|_| drop(taken(&tally, 0)));
    assert!(lock(&tally.labels).by_key.is_empty());
}

#[test]
fn rows_that_nobody_takes_stay_within_bounds() {
    let (tally, organization) = (Tally::new(0), OrgId::new());
    for index in 0..KEPT_ROWS + 500 {
        let rest = HashMap::from([((label(organization, &format!("orders:act-{index}")), 1), 1)]);
        tally.put_back(Pending { decisions: rest, ..Pending::default() });
    }
    let again = HashMap::from([((label(organization, "orders:act-0"), 1), 1)]);
    tally.put_back(Pending { decisions: again, ..Pending::default() });
    let kept = taken(&tally, 0).decisions;
    assert_eq!(kept.len(), KEPT_ROWS);
    assert_eq!(kept[&(label(organization, "orders:act-0"), 1)], 2, "what is kept already goes on counting");
}

#[test]
fn what_is_left_of_a_batch_goes_back() {
    let (tally, organization) = (Tally::new(0), OrgId::new());
    tally.count(3, || label(organization, "orders:read"));
    drop(tally.take(Timestamp::from_seconds(0)));
    assert_eq!(taken(&tally, 0).decisions.len(), 1);
}

#[test]
fn samples_so_many_denials_a_minute() {
    let tally = Tally::new(2);
    let at = |seconds: i64| Timestamp::from_seconds(1_700_000_040 + seconds);
    let sampled = |seconds| (0..5).filter(|_| tally.is_sampled(at(seconds))).count();
    assert_eq!([sampled(0), sampled(59), sampled(60), sampled(0), sampled(120)], [2, 0, 2, 0, 2]);
    assert!(!Tally::new(0).is_sampled(at(0)));
}
