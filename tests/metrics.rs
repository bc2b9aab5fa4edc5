//! Metrics compared with the results of scipy and scikit-learn for the same data (`scripts/metric_references.py`).

use dicast::eval::calibration::{self, LabelledPair, Method};
use dicast::eval::metrics::{self, Difference};
use dicast::eval::resampling;
use serde_json::Value;

fn cases(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("data/metrics.json")).unwrap();
    all[name].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
fn near(got: Option<f64>, wanted: &Value) {
    match (got, wanted.as_f64()) {
        (Some(got), Some(wanted)) => assert!((got - wanted).abs() < 1e-9, "{got} is not {wanted}"),
        (got, wanted) => assert_eq!(got, wanted),
    }
}

#[test]
fn metrics_are_those_of_scipy_and_scikit_learn() {
    for case in cases("kendall") {
        near(metrics::kendall_tau(&numbers(&case["one"]), &numbers(&case["other"])), &case["tau"]);
    }
    for case in cases("ndcg") {
        near(metrics::ndcg(&numbers(&case["values"]), &numbers(&case["relevance"])), &case["ndcg"]);
    }
    for case in cases("kappa") {
        let labels = |key: &str| case[key].as_array().unwrap().iter().map(Value::as_u64).collect::<Vec<_>>();
        near(metrics::cohen_kappa(&labels("one"), &labels("other")), &case["kappa"]);
    }
    for case in cases("brier") {
        let outcomes: Vec<bool> =
            case["outcomes"].as_array().unwrap().iter().map(|outcome| outcome.as_bool().unwrap()).collect();
        near(metrics::brier(&numbers(&case["probabilities"]), &outcomes), &case["brier"]);
    }
    for case in cases("holm") {
        let adjusted = resampling::holm(&numbers(&case["p"]));
        for (got, wanted) in adjusted.iter().zip(case["adjusted"].as_array().unwrap()) {
            near(Some(*got), wanted);
        }
    }
}

#[test]
fn alpha_is_krippendorffs_on_his_own_example() {
    const N: Option<f64> = None;
    let raters = [
        [Some(1.0), Some(2.0), Some(3.0), Some(3.0), Some(2.0), Some(1.0), Some(4.0), Some(1.0), Some(2.0), N, N, N],
        [
            Some(1.0),
            Some(2.0),
            Some(3.0),
            Some(3.0),
            Some(2.0),
            Some(2.0),
            Some(4.0),
            Some(1.0),
            Some(2.0),
            Some(5.0),
            N,
            Some(3.0),
        ],
        [
            N,
            Some(3.0),
            Some(3.0),
            Some(3.0),
            Some(2.0),
            Some(3.0),
            Some(4.0),
            Some(2.0),
            Some(2.0),
            Some(5.0),
            Some(1.0),
            N,
        ],
        [
            Some(1.0),
            Some(2.0),
            Some(3.0),
            Some(3.0),
            Some(2.0),
            Some(4.0),
            Some(4.0),
            Some(1.0),
            Some(2.0),
            Some(5.0),
            Some(1.0),
            N,
        ],
    ];
    let units: Vec<Vec<Option<f64>>> = (0..12).map(|unit| raters.iter().map(|rater| rater[unit]).collect()).collect();
    let nominal = metrics::krippendorff_alpha(&units, Difference::Nominal).unwrap();
    let interval = metrics::krippendorff_alpha(&units, Difference::Interval).unwrap();
    assert!((nominal - 0.743).abs() < 5e-4, "{nominal}");
    assert!((interval - 0.849).abs() < 5e-4, "{interval}");
    assert_eq!(metrics::krippendorff_alpha(&[vec![Some(1.0)]], Difference::Nominal), None);
}

#[test]
fn calibration_error_is_the_distance_of_said_and_seen() {
    let error = metrics::calibration_error(&[0.9, 0.9, 0.9, 0.9, 0.1], &[true, true, false, false, false], 10).unwrap();
    assert!((error - (4.0 * 0.4 + 0.1) / 5.0).abs() < 1e-12, "{error}");
    assert!(metrics::calibration_error(&[1.0], &[true], 10).unwrap() < 1e-12);
    assert_eq!(metrics::calibration_error(&[], &[], 10), None);
}

#[test]
fn maps_are_those_of_scikit_learn() {
    for case in cases("platt") {
        let map = Method::Platt.fit(&numbers(&case["differences"])).unwrap();
        let slope = case["slope"].as_f64().unwrap();
        for difference in [0.1, 1.0, 3.0] {
            let wanted = 1.0 / (1.0 + (-slope * difference).exp());
            let got = map.probability(difference);
            assert!((got - wanted).abs() < 1e-6, "{got} is not {wanted} at {difference}");
        }
    }
    for case in cases("symmetric_isotonic") {
        let map = Method::Isotonic.fit(&numbers(&case["differences"])).unwrap();
        for (at, wanted) in numbers(&case["at"]).into_iter().zip(numbers(&case["fit"])) {
            let got = map.probability(at);
            assert!((got - wanted).abs() < 1e-9, "{got} is not {wanted} at {at}");
        }
    }
}

#[test]
fn calibration_is_measured_as_numpy_and_scipy_do() {
    for case in cases("mass_error") {
        let probabilities = numbers(&case["probabilities"]);
        near(calibration::calibration_error(&probabilities), &case["error"]);
        let pairs: Vec<LabelledPair> = probabilities
            .iter()
            .enumerate()
            .map(|(prompt, &raw)| LabelledPair { prompt, difference: if prompt % 3 == 0 { -1.0 } else { 1.0 }, raw })
            .collect();
        let measured = calibration::measure(&pairs, Method::Platt, 5, 1).unwrap();
        near(Some(measured.before.brier.value), &case["brier"]);
        near(Some(measured.before.error.value), &case["error"]);
    }
    for case in cases("binomial") {
        let count = |key: &str| usize::try_from(case[key].as_u64().unwrap()).unwrap();
        let number = |key: &str| case[key].as_f64().unwrap();
        near(Some(calibration::binomial_cdf(count("hits"), count("count"), number("share"))), &case["cdf"]);
        near(Some(calibration::upper_bound(count("hits"), count("count"), number("tail"))), &case["bound"]);
    }
}
