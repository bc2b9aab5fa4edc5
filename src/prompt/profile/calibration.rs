//! What `dicast calibrate` has learned of a judge: how likely a difference of two scores is right, and below which difference
//! the judge abstains.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value};

use super::super::template::Date;
use super::Profile;
use crate::checksum::Checksum;
use crate::config::{Options, Settings};
use crate::error::{Error, ErrorKind, Result};

/// Most points of an isotonic map.
pub const MAX_POINTS: usize = 10_000;

/// The calibration of a judge: part of its profile, written by `dicast calibrate`.
///
/// A difference is the value of one response less that of another, on the judge's scale. The value is the expected score, or
/// the score as written if the engine gives no distributions ([`Self::expected_scores`]).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Calibration {
    /// From a difference to the probability that the first response is better.
    pub map: CalibrationMap,
    /// Where the judge abstains. `None`: it abstains only if two values are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Threshold>,
    /// Pairs of responses that it was learned from, at least 1.
    pub pairs: u64,
    /// Prompts of these pairs, at least 1.
    pub prompts: u64,
    /// The day on which it was learned, such as `2026-01-31`.
    pub date: String,
    /// Which model it was learned on: [`Source::brief_fingerprint`](crate::engine::source::Source::brief_fingerprint).
    pub model: Value,
    /// [`Profile::judging_checksum`] of the profile that it was learned with.
    pub profile: String,
    /// The options that it was learned with, as far as they change scores.
    pub options: Options,
    /// Whether it was learned on expected scores; else on scores as written.
    pub expected_scores: bool,
}

/// From a difference of two values to the probability that the first response is better. Symmetric by construction: with the
/// responses exchanged, the probability is one minus this one.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CalibrationMap {
    /// A logistic curve through 0.5 at no difference: `1 / (1 + exp(-slope * difference))`.
    Platt {
        /// Above 0.
        slope: f64,
    },
    /// Straight lines between points, level beyond the last one. For negative differences it is turned round.
    Isotonic {
        /// The places of the points: the first is 0, each is above the one before.
        differences: Vec<f64>,
        /// The probability at each point: the first is 0.5, none is below the one before or above 1.
        probabilities: Vec<f64>,
    },
}

/// Below which difference a judge abstains, and what that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// The judge abstains unless the values differ by more than this; 0 or more.
    pub difference: f64,
    /// The probability at this difference, from 0.5 to 1.
    pub probability: f64,
    /// Of the pairs that are answered, at most this share is wrong, above 0 and below 0.5 ...
    pub error_rate: f64,
    /// ... with this probability over the data that it was learned from, above 0 and below 1.
    pub confidence: f64,
    /// The share of the pairs that was answered when it was learned, from 0 to 1.
    pub answered: f64,
}

impl Calibration {
    /// Of a map, what it was learned from, and what judged; `expected_scores` says of which values. Without a threshold, dated
    /// 1970: set what else is known.
    pub fn new(
        map: CalibrationMap,
        pairs: u64,
        prompts: u64,
        model: Value,
        profile: &Profile,
        options: Options,
        expected_scores: bool,
    ) -> Self {
        Self {
            map,
            threshold: None,
            pairs,
            prompts,
            date: "1970-01-01".into(),
            model,
            profile: profile.judging_checksum(),
            options,
            expected_scores,
        }
    }

    /// Of settings those that change scores, as a calibration keeps them. Seeds do not count: they choose one of many judgments
    /// that are alike.
    pub fn relevant(settings: &Settings) -> Options {
        let sampled = settings.temperature > 0.0;
        Options {
            temperature: Some(settings.temperature),
            top_p: sampled.then_some(settings.top_p),
            top_k: sampled.then_some(settings.top_k),
            reasoning: Some(settings.reasoning),
            max_reasoning_tokens: settings.reasoning.then_some(settings.max_reasoning_tokens),
            adaptive_reasoning: (settings.reasoning && settings.adaptive_reasoning > 0.0)
                .then_some(settings.adaptive_reasoning),
            mask: Some(settings.mask),
            orders: Some(settings.orders),
            samples: Some(settings.samples),
            ..Options::default()
        }
    }

    /// The probability that a response is better than another one, by the difference of their values.
    pub fn probability(&self, difference: f64) -> f64 {
        self.map.probability(difference)
    }

    /// Whether the judge says which of two responses is better, or abstains.
    pub fn is_answered(&self, difference: f64) -> bool {
        difference.abs() > self.least_difference()
    }

    /// The judge answers if values differ by more than this.
    pub(crate) fn least_difference(&self) -> f64 {
        self.threshold.map_or(0.0, |threshold| threshold.difference)
    }

    /// Whether it was learned with these settings.
    pub(crate) fn is_of(&self, settings: &Settings) -> bool {
        self.options == Self::relevant(settings)
    }

    /// In what a judge differs from the one that it was learned on, in sentences. `model` is `None` if it is not known,
    /// `distributions` says whether the engine can give expected scores.
    pub(crate) fn notes(
        &self,
        model: Option<&Value>,
        profile: &Profile,
        settings: &Settings,
        distributions: bool,
    ) -> Vec<String> {
        let again = "learn it again with `dicast calibrate`";
        let mut notes = Vec::new();
        if model.is_some_and(|model| *model != self.model) {
            notes.push(format!("the calibration in the profile was learned on another model: {again}"));
        }
        if profile.judging_checksum() != self.profile {
            notes.push(format!("the profile has changed since its calibration was learned: {again}"));
        }
        if self.expected_scores && !(distributions && settings.guided != Some(false)) {
            notes.push(format!(
                "the calibration in the profile was learned on expected scores, and this judge gives only written ones: {again}"
            ));
        }
        let value = |options: &Options| serde_json::to_value(options).unwrap_or_default();
        let (then, now) = (value(&self.options), value(&Self::relevant(settings)));
        let keys = Options::ROWS.iter().map(|row| row.name);
        let changed: Vec<String> = keys
            .filter(|key| then[key] != now[key])
            .map(|key| format!("{key} was {}, it is {}", plain(&then[key]), plain(&now[key])))
            .collect();
        if !changed.is_empty() {
            let changed = changed.join("; ");
            notes.push(format!("the calibration in the profile was learned with other options ({changed}): {again}"));
        }
        notes
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] naming the key.
    pub fn check(&self) -> Result<()> {
        self.map.check()?;
        if let Some(Threshold { difference, probability, error_rate, confidence, answered }) = self.threshold {
            let key = |name: &str| format!("threshold.{name}");
            within(&key("difference"), difference, difference >= 0.0, "0 or more")?;
            within(&key("probability"), probability, (0.5..=1.0).contains(&probability), "from 0.5 to 1")?;
            within(&key("error_rate"), error_rate, error_rate > 0.0 && error_rate < 0.5, "above 0 and below 0.5")?;
            within(&key("confidence"), confidence, confidence > 0.0 && confidence < 1.0, "above 0 and below 1")?;
            within(&key("answered"), answered, (0.0..=1.0).contains(&answered), "from 0 to 1")?;
        }
        for (key, count) in [("pairs", self.pairs), ("prompts", self.prompts)] {
            if count == 0 {
                return Err(invalid(format!("{key} is 0: it must be at least 1")));
            }
        }
        if Date::parse(&self.date).is_none() {
            return Err(invalid(format!("date is {:?}: it must be a day, such as 2026-01-31", self.date)));
        }
        self.options.resolve().map_err(|error| invalid(format!("options: {}", error.message())))?;
        Ok(())
    }
}

impl CalibrationMap {
    /// Its name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Platt { .. } => "platt",
            Self::Isotonic { .. } => "isotonic",
        }
    }

    /// The probability that a response is better than another one, by the difference of their values; 0.5 if they do not
    /// differ.
    pub fn probability(&self, difference: f64) -> f64 {
        let far = difference.abs();
        let probability = match self {
            Self::Platt { slope } => 1.0 / (1.0 + (-slope * far).exp()),
            Self::Isotonic { differences, probabilities } => interpolated(differences, probabilities, far),
        };
        // One way round, so that both sum to 1 to the last digit.
        if difference < 0.0 { 1.0 - probability } else { probability }
    }

    fn check(&self) -> Result<()> {
        match self {
            Self::Platt { slope } => {
                within("map.platt.slope", *slope, *slope > 0.0 && slope.is_finite(), "a number above 0")
            }
            Self::Isotonic { differences, probabilities } => {
                let key = "map.isotonic";
                if differences.is_empty() || differences.len() > MAX_POINTS {
                    let count = differences.len();
                    return Err(invalid(format!(
                        "{key}.differences has {count} numbers: it must have 1 to {MAX_POINTS}"
                    )));
                }
                if probabilities.len() != differences.len() {
                    return Err(invalid(format!(
                        "{key}.probabilities has {} numbers, {key}.differences {}: they must have as many",
                        probabilities.len(),
                        differences.len()
                    )));
                }
                let rising = differences.windows(2).all(|pair| pair[0] < pair[1]);
                if differences[0] != 0.0 || !rising || !differences.iter().all(|one| one.is_finite()) {
                    return Err(invalid(format!("{key}.differences must begin with 0 and rise")));
                }
                let rising = probabilities.windows(2).all(|pair| pair[0] <= pair[1]);
                let last = probabilities[probabilities.len() - 1];
                if (probabilities[0] - 0.5).abs() > 1e-12 || !rising || last > 1.0 || last.is_nan() {
                    return Err(invalid(format!(
                        "{key}.probabilities must begin with 0.5, never fall, and end at 1 or below"
                    )));
                }
                Ok(())
            }
        }
    }
}

/// On the lines between the points; level beyond them.
fn interpolated(places: &[f64], values: &[f64], at: f64) -> f64 {
    let value = |index: usize| values.get(index).copied().unwrap_or(0.5);
    let next = places.partition_point(|place| *place <= at);
    match (next.checked_sub(1), places.get(next)) {
        (None, _) => value(0),
        (Some(before), None) => value(before),
        (Some(before), Some(place)) => {
            let share = (at - places[before]) / (place - places[before]);
            value(before) + share * (value(next) - value(before))
        }
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidProfile, format!("calibration.{}", message.into()))
}

fn within(key: &str, value: f64, is_right: bool, range: &str) -> Result<()> {
    if is_right { Ok(()) } else { Err(invalid(format!("{key} is {value}: it must be {range}"))) }
}

/// A value of an option, for people.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        // Fractions come from floats of half the size, whose digits would show.
        #[expect(clippy::cast_possible_truncation, reason = "for people")]
        Value::Number(number) => number.as_f64().map_or_else(String::new, |number| (number as f32).to_string()),
        Value::String(word) => word.clone(),
        other => other.to_string(),
    }
}

/// The checksum of a text.
fn checksum(text: &str) -> String {
    let mut checksum = Checksum::default();
    checksum.add(text.as_bytes());
    checksum.to_string()
}

impl Profile {
    /// A checksum of what of this profile changes scores: all but its name, its default options and its calibration.
    pub fn judging_checksum(&self) -> String {
        let judging = Self { name: String::new(), decoding: Options::default(), calibration: None, ..self.clone() };
        checksum(&judging.to_json())
    }
}

/// One object of the file, with its place, such as `map.platt`.
struct Fields<'a> {
    place: String,
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn of(place: &str, value: &'a Value, known: &[&str]) -> Result<Self> {
        let named = |key: &str| if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") };
        let Value::Object(fields) = value else {
            return Err(Error::new(
                ErrorKind::InvalidProfile,
                format!("calibration{}{place} must be an object", if place.is_empty() { "" } else { "." }),
            ));
        };
        if let Some(key) = fields.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(invalid(format!("{} is unknown: the keys are {}", named(key), known.join(", "))));
        }
        Ok(Self { place: place.to_owned(), fields })
    }

    fn named(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    fn get(&self, key: &str) -> Result<&'a Value> {
        self.fields.get(key).ok_or_else(|| invalid(format!("{} is missing", self.named(key))))
    }

    fn wrong(&self, key: &str, value: &Value, must: &str) -> Error {
        invalid(format!("{} is {}: it must be {must}", self.named(key), crate::config::shown(value)))
    }

    fn number(&self, key: &str) -> Result<f64> {
        let value = self.get(key)?;
        value.as_f64().ok_or_else(|| self.wrong(key, value, "a number"))
    }

    fn switch(&self, key: &str) -> Result<bool> {
        let value = self.get(key)?;
        value.as_bool().ok_or_else(|| self.wrong(key, value, "true or false"))
    }

    fn count(&self, key: &str) -> Result<u64> {
        let value = self.get(key)?;
        value.as_u64().ok_or_else(|| self.wrong(key, value, "a whole number"))
    }

    fn text(&self, key: &str) -> Result<String> {
        let value = self.get(key)?;
        value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, value, "text"))
    }

    fn numbers(&self, key: &str) -> Result<Vec<f64>> {
        let value = self.get(key)?;
        let list = value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        list.ok_or_else(|| self.wrong(key, value, "a list of numbers"))
    }
}

/// Read key by key, so that an error names the key.
fn read(value: &Value) -> Result<Calibration> {
    let whole = Fields::of(
        "",
        value,
        &["map", "threshold", "pairs", "prompts", "date", "model", "profile", "options", "expected_scores"],
    )?;
    let map = Fields::of("map", whole.get("map")?, &["platt", "isotonic"])?;
    let map = match (map.fields.get("platt"), map.fields.get("isotonic")) {
        (Some(platt), None) => {
            let slope = Fields::of("map.platt", platt, &["slope"])?.number("slope")?;
            CalibrationMap::Platt { slope }
        }
        (None, Some(isotonic)) => {
            let fields = Fields::of("map.isotonic", isotonic, &["differences", "probabilities"])?;
            let (differences, probabilities) = (fields.numbers("differences")?, fields.numbers("probabilities")?);
            CalibrationMap::Isotonic { differences, probabilities }
        }
        _ => return Err(invalid("map must have one of the keys platt and isotonic")),
    };
    let threshold = match whole.fields.get("threshold") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let known = ["difference", "probability", "error_rate", "confidence", "answered"];
            let fields = Fields::of("threshold", value, &known)?;
            Some(Threshold {
                difference: fields.number("difference")?,
                probability: fields.number("probability")?,
                error_rate: fields.number("error_rate")?,
                confidence: fields.number("confidence")?,
                answered: fields.number("answered")?,
            })
        }
    };
    let options =
        serde_json::from_value(whole.get("options")?.clone()).map_err(|error| invalid(format!("options: {error}")))?;
    Ok(Calibration {
        map,
        threshold,
        pairs: whole.count("pairs")?,
        prompts: whole.count("prompts")?,
        date: whole.text("date")?,
        model: whole.get("model")?.clone(),
        profile: whole.text("profile")?,
        options,
        expected_scores: whole.switch("expected_scores")?,
    })
}

impl<'de> Deserialize<'de> for Calibration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        read(&value).map_err(|error| de::Error::custom(error.message()))
    }
}
