//! `gcra`: the core's rate-limit decision, step by step. It is the bare decision, which believes any clock: the services
//! correct a moment that lies further ahead than a whole burst takes, after a clock was set back.

use std::time::Duration;

use authv2_core::{
    clock::Timestamp,
    limit::{Rate, Tat},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Unreadable;

/// A line: a rate, and requests in the order in which they come.
#[derive(Deserialize)]
struct Line {
    requests: u32,
    per_seconds: f64,
    /// `requests` if there is none.
    burst: Option<u32>,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    now_ms: i64,
    /// 1 if there is none.
    cost: Option<u32>,
}

/// Answers one line. Milliseconds are rounded up; a wait is -1 for a request that is not limited, and for one that costs
/// more than a burst and so never passes.
pub(super) fn limit_line(line: &Value) -> Result<Value, Unreadable> {
    let line: Line = Line::deserialize(line).map_err(|error| Unreadable(error.to_string()))?;
    let per = Duration::try_from_secs_f64(line.per_seconds).map_err(|error| Unreadable(error.to_string()))?;
    let rate = Rate::new(line.requests, per, line.burst).map_err(|error| Unreadable(error.to_string()))?;
    let mut tat = Tat::default();
    let steps = line.steps.iter().map(|step| {
        let now = Timestamp::from_micros(step.now_ms.saturating_mul(1_000));
        let decision = rate.decide(tat, now, step.cost.unwrap_or(1));
        if decision.allowed {
            tat = decision.tat;
        }
        json!({
            "limited": !decision.allowed,
            "remaining": decision.remaining,
            "reset_after_ms": millis_up(decision.reset_after),
            "retry_after_ms": decision.retry_after.map_or(-1, millis_up),
        })
    });
    Ok(json!({"steps": steps.collect::<Vec<_>>()}))
}

fn millis_up(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(line: &Value) -> Vec<(bool, i64, i64, i64)> {
        let answer = limit_line(line).unwrap();
        let number = |step: &Value, name: &str| step[name].as_i64().unwrap();
        let step = |step: &Value| {
            let limited = step["limited"].as_bool().unwrap();
            (limited, number(step, "remaining"), number(step, "reset_after_ms"), number(step, "retry_after_ms"))
        };
        answer["steps"].as_array().unwrap().iter().map(step).collect()
    }

    #[test]
    fn answers_each_step_as_cl_throttle_would() {
        // What redis-cell answers to `CL.THROTTLE key 2 1 3 quantity` at those times, in milliseconds.
        let line = json!({"requests": 1, "per_seconds": 3, "burst": 3, "steps": [
            {"now_ms": 10_000, "cost": 1},
            {"now_ms": 10_000, "cost": 2},
            {"now_ms": 11_000, "cost": 1},
            {"now_ms": 13_000, "cost": 1},
            {"now_ms": 13_000, "cost": 0},
            {"now_ms": 13_000, "cost": 4},
            {"now_ms": 60_000, "cost": 4},
        ]});
        assert_eq!(
            steps(&line),
            [
                (false, 2, 3_000, -1),
                (false, 0, 9_000, -1),
                (true, 0, 8_000, 2_000),
                (false, 0, 9_000, -1),
                (false, 0, 9_000, -1),
                (true, 0, 9_000, -1),
                (true, 3, 0, -1),
            ]
        );
    }

    #[test]
    fn a_burst_is_the_requests_unless_it_is_told() {
        let at_once = json!([{"now_ms": 0, "cost": 3}, {"now_ms": 0, "cost": 1}, {"now_ms": 334}]);
        let line = json!({"requests": 3, "per_seconds": 1, "steps": at_once});
        assert_eq!(steps(&line), [(false, 0, 1_000, -1), (true, 0, 1_000, 334), (false, 0, 1_000, -1)]);
        let line = json!({"requests": 3, "per_seconds": 1, "burst": null, "steps": at_once});
        assert_eq!(steps(&line)[0], (false, 0, 1_000, -1));
    }

    #[test]
    fn a_rate_that_means_nothing_is_unreadable() {
        for (name, value) in [
            ("requests", json!(0)),
            ("requests", json!(-1)),
            ("per_seconds", json!(0)),
            ("per_seconds", json!(-1)),
            ("burst", json!(0)),
            ("burst", json!("3")),
            ("steps", json!([{"cost": 1}])),
            ("steps", json!([{"now_ms": 0, "cost": -1}])),
        ] {
            let mut line = json!({"id": 1, "requests": 1, "per_seconds": 1, "burst": 1, "steps": []});
            assert!(limit_line(&line).is_ok());
            line[name] = value.clone();
            assert!(limit_line(&line).is_err(), "{name}: {value}");
        }
    }
}
