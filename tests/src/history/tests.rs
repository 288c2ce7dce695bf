//! Histories made by hand: good ones pass, and each rule finds what breaks it.

use super::*;

const BOUNDS: Bounds = Bounds {
    calm: Duration::from_secs(1),
    disturbed: Duration::from_secs(5),
    slowest: Duration::from_secs(3),
    settled: Duration::from_secs(8),
};

/// A history in tenths of a second.
#[derive(Default)]
struct Told(History);

impl Told {
    fn with(mut self, node: usize, (begun, ended): (u64, u64), act: Act, outcome: Outcome) -> Self {
        let (begun, ended) = (Duration::from_millis(begun * 100), Duration::from_millis(ended * 100));
        self.0.events.push(Event { begun, ended, node, is_retry: false, act, outcome });
        self
    }

    fn again(mut self) -> Self {
        self.0.events.last_mut().unwrap().is_retry = true;
        self
    }

    fn disturbed(mut self, (begun, ended): (u64, u64), node: Option<usize>) -> Self {
        let (begun, ended) = (Duration::from_millis(begun * 100), Duration::from_millis(ended * 100));
        self.0.disturbances.push(Disturbance { begun, ended, what: "kill".to_owned(), node });
        self
    }

    fn sign_in(self, at: (u64, u64), session: &str) -> Self {
        self.with(0, at, Act::SignIn { user: "ada".to_owned() }, done(Gave::Session(session.to_owned())))
    }

    fn uses(self, node: usize, at: (u64, u64), outcome: Outcome) -> Self {
        self.with(node, at, Act::Use { session: "s".to_owned() }, outcome)
    }

    fn ends(self, at: (u64, u64), outcome: Outcome) -> Self {
        self.with(0, at, Act::End { session: "s".to_owned(), by: "s".to_owned() }, outcome)
    }

    fn ends_all(self, at: (u64, u64), keeps_own: bool, outcome: Outcome) -> Self {
        self.with(0, at, Act::EndAll { user: "ada".to_owned(), by: "own".to_owned(), keeps_own }, outcome)
    }

    fn refreshes(self, node: usize, at: (u64, u64), token: &str, outcome: Outcome) -> Self {
        self.with(node, at, Act::Refresh { session: "s".to_owned(), token: token.to_owned() }, outcome)
    }

    fn assigns(self, at: (u64, u64), holds: bool, outcome: Outcome) -> Self {
        self.with(0, at, Act::Assign { member: "bob".to_owned(), holds, by: "owner".to_owned() }, outcome)
    }

    fn asks(self, node: usize, at: (u64, u64), verdict: bool) -> Self {
        self.with(node, at, Act::Check { member: "bob".to_owned(), by: "b".to_owned() }, done(Gave::Verdict(verdict)))
    }

    #[track_caller]
    fn breaks(self, rules: &[Rule]) {
        let violations = check(&self.0, &BOUNDS);
        let told: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert_eq!(violations.iter().map(|violation| violation.rule).collect::<Vec<_>>(), rules, "{told:#?}");
    }
}

fn answered(status: u16) -> Outcome {
    Outcome::Answered { status, code: String::new(), has_retry_after: status == 503, gave: Gave::Nothing }
}

fn done(gave: Gave) -> Outcome {
    Outcome::Answered { status: 200, code: String::new(), has_retry_after: false, gave }
}

fn token(token: &str) -> Outcome {
    done(Gave::Token(token.to_owned()))
}

fn lost() -> Outcome {
    Outcome::Lost("reset".to_owned())
}

#[test]
fn a_life_of_a_session_breaks_nothing() {
    let life = Told::default().sign_in((0, 1), "s").uses(1, (2, 3), done(Gave::Nothing));
    let life = life.refreshes(1, (3, 4), "r1", token("r2")).refreshes(2, (5, 6), "r2", token("r3"));
    life.ends((7, 8), answered(204)).uses(0, (9, 9), answered(401)).uses(1, (30, 31), answered(401)).breaks(&[]);
}

#[test]
fn a_credential_that_nobody_ended_may_not_be_refused() {
    for status in [401, 403, 404] {
        Told::default().sign_in((0, 1), "s").uses(1, (2, 3), answered(status)).breaks(&[Rule::RefusedLive]);
    }
    Told::default().with(0, (0, 1), Act::SignIn { user: "ada".to_owned() }, answered(401)).breaks(&[Rule::RefusedLive]);
    // Ended only after the refusal.
    let early = Told::default().sign_in((0, 1), "s").uses(1, (2, 3), answered(401)).ends((4, 5), answered(204));
    early.breaks(&[Rule::RefusedLive]);
    // An end that was refused ends nothing.
    let refused = Told::default().ends((4, 5), answered(401)).uses(1, (6, 7), answered(401));
    refused.breaks(&[Rule::RefusedLive, Rule::RefusedLive]);
}

#[test]
fn an_end_that_may_have_been_done_explains_both() {
    for outcome in [lost(), answered(503)] {
        let told = || Told::default().disturbed((3, 5), Some(0)).ends((4, 5), outcome.clone());
        told().uses(1, (60, 61), done(Gave::Nothing)).breaks(&[]);
        told().uses(1, (60, 61), answered(401)).breaks(&[]);
        told().uses(1, (6, 7), answered(401)).uses(2, (70, 71), done(Gave::Nothing)).breaks(&[Rule::Revived]);
    }
}

#[test]
fn an_acknowledged_end_holds_within_the_bound() {
    let told = || Told::default().sign_in((0, 1), "s").ends((2, 3), answered(204));
    told().uses(0, (4, 5), done(Gave::Nothing)).breaks(&[Rule::AcceptedRevoked]);
    told().uses(1, (12, 13), done(Gave::Nothing)).breaks(&[]);
    told().uses(1, (14, 15), done(Gave::Nothing)).breaks(&[Rule::AcceptedRevoked]);
    told().disturbed((5, 9), None).uses(1, (52, 53), done(Gave::Nothing)).breaks(&[]);
    told().disturbed((5, 9), None).uses(1, (54, 55), done(Gave::Nothing)).breaks(&[Rule::AcceptedRevoked]);
    // The database knows it at once.
    told().refreshes(1, (4, 5), "r1", token("r2")).breaks(&[Rule::AcceptedRevoked]);
}

#[test]
fn ending_all_ends_what_had_been_signed_in_before() {
    let told = |at| Told::default().sign_in(at, "s").ends_all((4, 6), true, answered(200));
    told((0, 1)).uses(1, (20, 21), done(Gave::Nothing)).breaks(&[Rule::AcceptedRevoked]);
    told((0, 1)).uses(1, (20, 21), answered(401)).breaks(&[]);
    // At the same time: either.
    told((3, 5)).uses(1, (20, 21), done(Gave::Nothing)).breaks(&[]);
    told((3, 5)).uses(1, (20, 21), answered(401)).breaks(&[]);
    // Later: not.
    told((7, 8)).uses(1, (20, 21), answered(401)).breaks(&[Rule::RefusedLive]);
    // Nor the one that asked for it, where it is kept.
    for (keeps_own, rules) in [(true, &[Rule::RefusedLive][..]), (false, &[])] {
        let told = Told::default().sign_in((0, 1), "own").ends_all((4, 6), keeps_own, answered(200));
        told.with(1, (20, 21), Act::Use { session: "own".to_owned() }, answered(401)).breaks(rules);
    }
}

#[test]
fn a_refresh_token_has_one_successor() {
    let told = || Told::default().refreshes(0, (0, 1), "r1", token("r2"));
    told().refreshes(1, (0, 1), "r1", token("r2")).refreshes(1, (2, 3), "r2", token("r3")).breaks(&[]);
    told().refreshes(1, (0, 1), "r1", token("r9")).breaks(&[Rule::Forked, Rule::Forked]);
    let used = || told().refreshes(1, (2, 3), "r2", token("r3"));
    used().refreshes(2, (4, 5), "r1", answered(401)).breaks(&[]);
    used().refreshes(2, (4, 5), "r1", token("r2")).breaks(&[Rule::TakenAgain]);
    // Its successor was never presented: a refusal would mean that the answer given is lost.
    told().refreshes(1, (2, 3), "r2", answered(401)).breaks(&[Rule::RefusedLive]);
}

#[test]
fn a_check_is_answered_by_what_the_member_holds() {
    let told = || Told::default().asks(1, (0, 1), false).assigns((2, 3), true, answered(200));
    told().asks(0, (4, 5), true).asks(1, (14, 15), true).breaks(&[]);
    told().asks(0, (4, 5), false).breaks(&[Rule::WrongVerdict]);
    told().asks(1, (12, 13), false).asks(1, (14, 15), false).breaks(&[Rule::WrongVerdict]);
    Told::default().asks(1, (0, 1), true).assigns((2, 3), true, answered(200)).breaks(&[Rule::WrongVerdict]);
    let taken = || told().assigns((20, 21), false, answered(200));
    taken().asks(1, (25, 26), true).asks(1, (40, 41), false).breaks(&[]);
    taken().asks(1, (40, 41), true).breaks(&[Rule::WrongVerdict]);
}

#[test]
fn an_assignment_that_was_not_answered_may_be_done_late() {
    let told = || Told::default().disturbed((0, 9), Some(0)).assigns((0, 1), true, lost());
    let told = || told().assigns((2, 3), false, answered(200));
    told().asks(1, (79, 80), true).breaks(&[]);
    told().assigns((90, 91), false, answered(200)).asks(0, (92, 93), true).breaks(&[Rule::WrongVerdict]);
}

#[test]
fn only_a_node_that_was_down_may_fail_to_answer() {
    Told::default().uses(1, (0, 1), lost()).breaks(&[Rule::NoAnswer]);
    Told::default().disturbed((1, 2), Some(1)).uses(1, (0, 1), lost()).breaks(&[]);
    Told::default().disturbed((1, 2), Some(2)).uses(1, (0, 1), lost()).breaks(&[Rule::NoAnswer]);
    Told::default().disturbed((1, 2), Some(1)).uses(2, (1, 2), lost()).again().breaks(&[Rule::RetryFailed]);
    Told::default().uses(2, (1, 2), answered(503)).again().breaks(&[Rule::RetryFailed]);
}

#[test]
fn an_outage_is_told_as_503_with_retry_after_and_in_time() {
    Told::default().uses(0, (0, 30), answered(503)).breaks(&[]);
    Told::default().uses(0, (0, 31), answered(503)).breaks(&[Rule::TooSlow]);
    for status in [400, 429, 500, 502, 504] {
        Told::default().uses(0, (0, 1), answered(status)).breaks(&[Rule::Unexpected]);
    }
    let bare = Outcome::Answered { status: 503, code: String::new(), has_retry_after: false, gave: Gave::Nothing };
    Told::default().uses(0, (0, 1), bare).breaks(&[Rule::Unexpected]);
}
