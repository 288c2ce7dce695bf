//! Which sessions have ended, or may have.

use std::collections::HashMap;

use super::{Act, Event, Gave, History, Moment, Outcome};

/// The ends of all sessions of a history.
pub(super) struct Sessions<'a> {
    ends: HashMap<&'a str, Vec<End<'a>>>,
    refusals: HashMap<&'a str, Vec<&'a Event>>,
}

/// Something that ended a session, or may have.
struct End<'a> {
    event: &'a Event,
    is_certain: bool,
}

impl<'a> Sessions<'a> {
    pub(super) fn of(history: &'a History, settled: Moment) -> Self {
        let mut sign_ins: HashMap<&str, Vec<(&str, &Event)>> = HashMap::new();
        for event in &history.events {
            if let (Act::SignIn { user }, Outcome::Answered { gave: Gave::Session(session), .. }) =
                (&event.act, &event.outcome)
            {
                sign_ins.entry(user).or_default().push((session, event));
            }
        }
        let mut ends: HashMap<&str, Vec<End<'_>>> = HashMap::new();
        let mut refusals: HashMap<&str, Vec<&Event>> = HashMap::new();
        for event in &history.events {
            if let (Outcome::Answered { status: 401, .. }, Some(session)) = (&event.outcome, event.act.credential())
                && !matches!(event.act, Act::Refresh { .. })
            {
                refusals.entry(session).or_default().push(event);
            }
            if !event.is_done() && !event.is_unknown() {
                continue;
            }
            match &event.act {
                Act::End { session, .. } => {
                    ends.entry(session).or_default().push(End { event, is_certain: event.is_done() });
                }
                Act::EndAll { user, by, keeps_own } => {
                    let latest = if event.is_done() { event.ended } else { event.begun + settled };
                    let of_user = sign_ins.get(user.as_str()).into_iter().flatten();
                    for (session, sign_in) in of_user.filter(|(session, _)| !(*keeps_own && session == by)) {
                        if sign_in.begun <= latest {
                            // A sign-in at the same time may come before or after.
                            let is_certain = event.is_done() && sign_in.ended < event.begun;
                            ends.entry(session).or_default().push(End { event, is_certain });
                        }
                    }
                }
                _ => {}
            }
        }
        Self { ends, refusals }
    }

    /// Whether anything that may have ended it had begun by then.
    pub(super) fn may_have_ended(&self, session: &str, by: Moment) -> bool {
        self.ends.get(session).into_iter().flatten().any(|end| end.event.begun <= by)
    }

    /// What has ended it for certain.
    pub(super) fn ended_by(&self, session: &str) -> impl Iterator<Item = &'a Event> {
        self.ends.get(session).into_iter().flatten().filter(|end| end.is_certain).map(|end| end.event)
    }

    /// The requests that its credential was refused to, as dead.
    pub(super) fn refusals(&self, session: &str) -> impl Iterator<Item = &'a Event> {
        self.refusals.get(session).into_iter().flatten().copied()
    }
}
