//! The counts of rate limits: taken from and given back by scripts, each one step, by the server's time.

use redis::Cmd;

use super::{
    Failure, Redis,
    script::{Key, Script},
};
use crate::{
    clock::Timestamp,
    store::shared::{Granted, LimitAnswer, LimitQuestion, Parts},
    telemetry,
};

/// Takes from all keys or from none. For each key there are nine arguments: the rate's requests; then, in microseconds and
/// parts of one (one over those requests), how far ahead of now the key may be, how far the request moves it, how far a
/// lease does, and what must fit for that. A negative distance stands for none.
///
/// A key holds the moment at which it is full again, and ends with it. Answers the time, then for each key: 0 refused,
/// 1 granted, 2 granted with the lease; its moment; whether it was there.
///
/// Numbers are doubles in Lua: exact up to 2^53 microseconds. Only the moments of the slowest rates lie beyond that, which
/// are known to within a few microseconds.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answer, fresh, all = {now}, {}, true
local function set(key, at, part)
    redis.call('SET', key, struct.pack('>i8I4', at, part), 'PX', math.ceil((at - now) / 1000) + 1)
end
for i = 1, #KEYS do
    local a = {}
    for j = 1, 9 do a[j] = tonumber(ARGV[(i - 1) * 9 + j]) end
    local requests, last, last_part = a[1], now + a[2], a[3]
    local function add(at, part, by, by_part)
        local sum = part + by_part
        if sum >= requests then return at + by + 1, sum - requests end
        return at + by, sum
    end
    local at, part, was_there = now, 0, 0
    local there = redis.call('GET', KEYS[i])
    if there and #there == 12 then
        was_there = 1
        at, part = struct.unpack('>i8I4', there)
        if part >= requests then part = requests - 1 end
        -- It was set by a clock that was ahead, or by a slower rate.
        if at > last + 5000000 then
            at, part = last, last_part
            set(KEYS[i], at, part)
        end
        if at < now then at, part = now, 0 end
    end
    local function fits(by, by_part)
        if by < 0 then return false end
        local to, to_part = add(at, part, by, by_part)
        return to < last or (to == last and to_part <= last_part)
    end
    local granted = 0
    if fits(a[8], a[9]) then
        granted = 2
        fresh[i] = {add(at, part, a[6], a[7])}
    elseif fits(a[4], a[5]) then
        granted = 1
        fresh[i] = {add(at, part, a[4], a[5])}
    else
        all = false
    end
    local n = (i - 1) * 4 + 1
    answer[n + 1], answer[n + 2], answer[n + 3], answer[n + 4] = granted, at, part, was_there
end
if all then
    for i = 1, #KEYS do
        local at, part = fresh[i][1], fresh[i][2]
        local n = (i - 1) * 4 + 1
        if at > answer[n + 2] or part > answer[n + 3] then
            set(KEYS[i], at, part)
        end
        answer[n + 2], answer[n + 3] = at, part
    end
end
return answer
";

/// Gives back what was taken. For each key there are five arguments: the rate's requests, how far back it moves, and the
/// moment that it had been moved to. What has come back by itself meanwhile is not given back again: others may have taken
/// it.
const GIVE_BACK: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
for i = 1, #KEYS do
    local a = {}
    for j = 1, 5 do a[j] = tonumber(ARGV[(i - 1) * 5 + j]) end
    local requests, by, by_part, left, left_part = a[1], a[2], a[3], a[4] - now, a[5]
    if left < by or (left == by and left_part < by_part) then by, by_part = left, left_part end
    local there = redis.call('GET', KEYS[i])
    if by >= 0 and there and #there == 12 then
        local at, part = struct.unpack('>i8I4', there)
        at, part = at - by, part - by_part
        if part < 0 then at, part = at - 1, part + requests end
        redis.call('SET', KEYS[i], struct.pack('>i8I4', at, part), 'PX', math.max(math.ceil((at - now) / 1000) + 1, 1))
    end
end
return 1
";

/// How many times as long as for other questions an answer is waited for: there is no other place to ask, and what is
/// granted without one is granted beside the count.
const PATIENCE: u32 = 10;

/// The scripts.
pub(super) struct Scripts {
    take: Script,
    give_back: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self { take: Script::new(TAKE), give_back: Script::new(GIVE_BACK) }
    }
}

/// Questions that one script can ask.
struct Group<'a> {
    questions: &'a [LimitQuestion<'a>],
    keys: Vec<Key>,
}

impl Redis {
    pub(crate) async fn take_limits(&self, questions: &[LimitQuestion<'_>]) -> Option<Vec<Option<LimitAnswer>>> {
        let groups: Vec<&[LimitQuestion<'_>]> = if self.is_cluster {
            questions.chunk_by(|one, other| one.name.tag == other.name.tag).collect()
        } else {
            vec![questions]
        };
        let mut answers: Vec<Option<LimitAnswer>> = Vec::new();
        let mut taken: Vec<(Group<'_>, Vec<LimitAnswer>)> = Vec::new();
        let mut outcome = "allowed";
        for questions in groups {
            let group = Group { questions, keys: questions.iter().map(|question| self.limit_key(question)).collect() };
            let granted = match self.take_group(&group).await {
                Ok(granted) => granted,
                Err(failure) => {
                    // Who decides now cannot know what these counts have; they keep what was taken.
                    telemetry::count_shared("take_limits", failure.as_outcome());
                    return None;
                }
            };
            let is_refused = granted.iter().any(|answer| answer.granted == Granted::Refused);
            answers.extend(granted.iter().copied().map(Some));
            if is_refused {
                outcome = "denied";
                for (group, granted) in &taken {
                    self.give_back(group, granted).await;
                }
                break;
            }
            taken.push((group, granted));
        }
        telemetry::count_shared("take_limits", outcome);
        answers.resize(questions.len(), None);
        Some(answers)
    }

    async fn take_group(&self, group: &Group<'_>) -> Result<Vec<LimitAnswer>, Failure> {
        let call = self.limits.take.call(&group.keys, |arguments| {
            for question in group.questions {
                arguments.arg(question.requests);
                let (lease, guard) = question.lease.unzip();
                for distance in [Some(question.tolerance), question.cost, lease, guard] {
                    add(arguments, distance);
                }
            }
        });
        let first = group.keys.first();
        let numbers: Vec<i64> =
            self.ask_within(self.timeout * PATIENCE, first, async move |connection| call.run(connection).await).await?;
        read(&numbers).filter(|answers| answers.len() == group.questions.len()).ok_or(Failure::Failed)
    }

    async fn give_back(&self, group: &Group<'_>, granted: &[LimitAnswer]) {
        let call = self.limits.give_back.call(&group.keys, |arguments| {
            for (question, answer) in group.questions.iter().zip(granted) {
                let taken = match answer.granted {
                    Granted::Refused => None,
                    Granted::Alone => question.cost,
                    Granted::WithLease => question.lease.map(|(lease, _)| lease),
                };
                arguments.arg(question.requests);
                add(arguments, Some(taken.unwrap_or_default()));
                add(arguments, Some(answer.tat));
            }
        });
        let first = group.keys.first();
        let given: Result<i64, _> =
            self.ask_within(self.timeout * PATIENCE, first, async move |connection| call.run(connection).await).await;
        telemetry::count_shared("give_back_limits", given.map_or_else(Failure::as_outcome, |_| "stored"));
    }

    fn limit_key(&self, question: &LimitQuestion<'_>) -> Key {
        Key::new(&self.prefix, "limit", &question.name.tag).which(&question.name.key)
    }
}

fn add(arguments: &mut Cmd, distance: Option<Parts>) {
    match distance {
        Some((micros, part)) => arguments.arg(micros).arg(part),
        None => arguments.arg(-1).arg(0),
    };
}

/// The script's answer; nothing if it is none.
fn read(numbers: &[i64]) -> Option<Vec<LimitAnswer>> {
    let (now, answers) = numbers.split_first()?;
    let (answers, rest) = answers.as_chunks::<4>();
    let answers = answers.iter().map(|[granted, micros, part, was_there]| {
        let granted = match granted {
            0 => Granted::Refused,
            1 => Granted::Alone,
            2 => Granted::WithLease,
            _ => return None,
        };
        let tat = (u64::try_from(*micros).ok()?, u32::try_from(*part).ok()?);
        Some(LimitAnswer { granted, tat, was_there: *was_there == 1, now: Timestamp::from_micros(*now) })
    });
    rest.is_empty().then(|| answers.collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_answers_and_nothing_else() {
        let answers = read(&[5, 2, 7, 1, 1, 0, 9, 0, 0]).unwrap();
        assert_eq!((answers[0].granted, answers[0].tat, answers[0].was_there), (Granted::WithLease, (7, 1), true));
        assert_eq!((answers[1].granted, answers[1].tat, answers[1].was_there), (Granted::Refused, (9, 0), false));
        for wrong in [&[][..], &[1, 2], &[1, 3, 0, 0, 0], &[1, 1, -1, 0, 0], &[1, 1, 0, 0, 1, 5]] {
            assert!(read(wrong).is_none(), "{wrong:?}");
        }
    }
}
