//! The walk over all settings. Each is declared once; reading, checking limits and the schema are visitors of it, so
//! that they cannot drift apart.

use std::ops::RangeInclusive;

use super::{
    Problem,
    problem::{ConfigErrors, Problems},
    setting::Setting,
};

/// One setting, as it is declared.
pub(super) struct Declared {
    /// The dotted name.
    pub(super) name: &'static str,
    /// What it does, for the schema.
    pub(super) meaning: &'static str,
    /// The least and greatest value of a number.
    pub(super) limits: Option<RangeInclusive<u64>>,
}

/// Is shown every setting with the place where its value lives.
pub(super) trait Visitor {
    /// Looks at a setting.
    fn visit<T: Setting>(&mut self, declared: Declared, value: &mut T);

    /// Is told of a problem between settings that only the walk can see.
    fn report(&mut self, _setting: &'static str, _problem: Problem) {}

    /// Declares a setting.
    fn setting<T: Setting>(&mut self, name: &'static str, meaning: &'static str, value: &mut T) {
        self.visit(Declared { name, meaning, limits: None }, value);
    }

    /// Declares a number with its limits.
    fn number<T: Setting>(
        &mut self,
        name: &'static str,
        limits: RangeInclusive<u64>,
        meaning: &'static str,
        value: &mut T,
    ) {
        self.visit(Declared { name, meaning, limits: Some(limits) }, value);
    }
}

/// The problem of a number that is outside `limits`, or no number.
pub(super) fn out_of_range<T: Setting>(limits: &RangeInclusive<u64>) -> Problem {
    Problem::OutOfRange { unit: T::UNIT, min: *limits.start(), max: *limits.end() }
}

/// Checks that numbers are inside their limits, wherever they came from.
#[derive(Default)]
pub(super) struct LimitCheck(pub(super) Problems);

impl Visitor for LimitCheck {
    fn visit<T: Setting>(&mut self, declared: Declared, value: &mut T) {
        if let Some(limits) = declared.limits
            && !value.is_within(&limits)
        {
            self.0.report(declared.name, out_of_range::<T>(&limits));
        }
    }
}

impl LimitCheck {
    /// What was found, together with `rest`.
    pub(super) fn and(self, rest: Problems) -> Result<(), ConfigErrors> {
        let mut all = self.0;
        if let Err(rest) = rest.into_result() {
            all.add_unless_concerned(rest);
        }
        all.into_result()
    }
}
