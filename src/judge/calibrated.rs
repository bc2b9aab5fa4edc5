//! The calibration of a judge's profile at work: what it says of each two responses, and whether it is of this judge.

use serde_json::Value;

use crate::config::Settings;
use crate::prompt::profile::{Calibration, Profile};
use crate::sync::Arc;
use crate::verdict::{Flag, Verdict};

/// The calibration of an opened judge.
pub(super) struct Calibrated {
    calibration: Calibration,
    /// Whether it was learned on another model.
    other_model: bool,
    /// Whether it was learned with another profile.
    other_profile: bool,
}

impl Calibrated {
    /// That of a profile, if it has one; `model` is the fingerprint of the judge's model, `None` if nobody knows it.
    pub(super) fn of(profile: &Profile, model: Option<&Value>) -> Option<Arc<Self>> {
        let calibration = profile.calibration.as_deref()?.clone();
        let other_model = model.is_some_and(|model| *model != calibration.model);
        let other_profile = profile.judging_checksum() != calibration.profile;
        Some(Arc::new(Self { calibration, other_model, other_profile }))
    }

    /// As it is for a judgment with these settings.
    pub(super) fn applied(self: &Arc<Self>, settings: &Settings) -> Applied {
        let other_options = self.other_profile || !self.calibration.is_of(settings);
        Applied { calibrated: self.clone(), other_options }
    }
}

/// The calibration of one judgment.
#[derive(Clone)]
pub(super) struct Applied {
    calibrated: Arc<Calibrated>,
    other_options: bool,
}

impl Applied {
    /// Of scores that came about in another way than those that it was learned on.
    pub(super) fn elsewhere(self) -> Self {
        Self { other_options: true, ..self }
    }

    /// Puts what the calibration says into the verdict, with a flag if it was learned elsewhere.
    pub(super) fn apply(&self, verdict: &mut Verdict) {
        verdict.set_preferences(&self.calibrated.calibration);
        // Expected scores lie between the written ones, so that a difference of one kind says nothing of the other.
        let learned_on = self.calibrated.calibration.expected_scores;
        let other_values = verdict.scores.iter().any(|scored| scored.expected.is_some() != learned_on);
        let elsewhere = [
            (self.calibrated.other_model, Flag::CalibrationOfOtherModel),
            (self.other_options || other_values, Flag::CalibrationOfOtherOptions),
        ];
        verdict.flags.extend(elsewhere.into_iter().filter(|(is_so, _)| *is_so).map(|(_, flag)| flag));
    }
}

/// Marks a verdict by weights that have come since the judge was opened.
pub(super) fn mark_other_weights(verdict: &mut Verdict) {
    if verdict.preferences.is_some() && !verdict.flags.contains(&Flag::CalibrationOfOtherModel) {
        verdict.flags.push(Flag::CalibrationOfOtherModel);
    }
}
