//! Chooses a token from logits.

use llguidance::toktrie::SimpleVob;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::engine::Sampling;
use crate::error::{Error, ErrorKind, Result};

/// A token whose logit is this many temperatures below the best has less than e^-30 of its weight. Such tokens are
/// dropped before sorting, which would otherwise take longer than the rest of the step.
const NEGLIGIBLE: f32 = 30.0;

/// Which tokens may be chosen.
pub(super) enum Allowed<'a> {
    /// All except those marked, by id. Ids past the end of the list are banned too.
    AllBut(&'a [bool]),
    /// Only these.
    Only(&'a SimpleVob),
}

/// The sampler of one job.
pub(super) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    candidates: Vec<(u32, f32)>,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling) -> Self {
        Self { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed), candidates: Vec::new() }
    }

    /// Chooses one of the allowed tokens.
    ///
    /// # Errors
    /// [`ErrorKind::Engine`] if no allowed token has a number for a logit: the model is broken.
    pub(super) fn choose(&mut self, logits: &[f32], allowed: &Allowed<'_>) -> Result<u32> {
        if self.sampling.temperature == 0.0 { greedy(logits, allowed) } else { self.sample(logits, allowed) }
            .ok_or_else(|| {
                Error::new(ErrorKind::Engine, "the model gave no usable logits (NaN): its weights are damaged")
            })
    }

    /// Chooses what comes after digits that are a score and may be the beginning of another one. The number goes on only if the
    /// judge itself writes another digit here. Whatever else it writes ends the number, also what the grammar does not admit: among
    /// the admitted tokens alone, a judge that means 1.5 or ends its text could be led to 10.
    ///
    /// `digits` marks, by id, the tokens that begin with a digit. `ends`: whether the text may end here; if it does, there is no token.
    ///
    /// # Errors
    /// As [`Self::choose`].
    pub(super) fn go_on_or_end(
        &mut self,
        logits: &[f32],
        allowed: &SimpleVob,
        digits: &[bool],
        ends: bool,
    ) -> Result<Option<u32>> {
        let is_digit = |id: u32| digits.get(id as usize).copied().unwrap_or(false);
        // Digits that leave the scale are no end of the number.
        let off_scale: Vec<bool> = (0..).zip(digits).map(|(id, &digit)| digit && !allowed.is_allowed(id)).collect();
        let token = self.choose(logits, &Allowed::AllBut(&off_scale))?;
        if is_digit(token) {
            return Ok(Some(token));
        }
        if ends {
            return Ok(None);
        }
        if allowed.is_allowed(token) {
            return Ok(Some(token));
        }
        let mut rest = allowed.clone();
        allowed.iter().filter(|&id| is_digit(id)).for_each(|id| rest.disallow_token(id));
        self.choose(logits, &Allowed::Only(&rest)).map(Some)
    }

    fn sample(&mut self, logits: &[f32], allowed: &Allowed<'_>) -> Option<u32> {
        let best = logits[greedy(logits, allowed)? as usize];
        let Sampling { temperature, top_p, top_k, .. } = self.sampling;
        let floor = best - NEGLIGIBLE * temperature;
        let candidates = &mut self.candidates;
        candidates.clear();
        each(logits, allowed, |id, logit| {
            if logit >= floor {
                candidates.push((id, logit));
            }
        });
        let by_weight = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if top_k > 0 && (top_k as usize) < candidates.len() {
            candidates.select_nth_unstable_by(top_k as usize, by_weight);
            candidates.truncate(top_k as usize);
        }
        let mut total = 0.0;
        for (_, logit) in candidates.iter_mut() {
            *logit = ((*logit - best) / temperature).exp();
            total += f64::from(*logit);
        }
        if top_p < 1.0 {
            candidates.sort_unstable_by(by_weight);
            let wanted = total * f64::from(top_p);
            let mut sum = 0.0;
            let kept = candidates.iter().position(|(_, weight)| {
                sum += f64::from(*weight);
                sum >= wanted
            });
            if let Some(last) = kept {
                candidates.truncate(last + 1);
                total = sum;
            }
        }
        // 53 random bits make every multiple of 2^-53 in [0, 1).
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let uniform = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let mut left = uniform * total;
        for (id, weight) in candidates.iter() {
            left -= f64::from(*weight);
            if left < 0.0 {
                return Some(*id);
            }
        }
        candidates.last().map(|(id, _)| *id)
    }
}

/// The allowed token with the highest logit; among equals, the one with the lowest id.
fn greedy(logits: &[f32], allowed: &Allowed<'_>) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    each(logits, allowed, |id, logit| {
        if best.is_none_or(|(_, high)| logit > high) {
            best = Some((id, logit));
        }
    });
    best.map(|(id, _)| id)
}

/// Calls `f` with every allowed token whose logit is a number.
fn each(logits: &[f32], allowed: &Allowed<'_>, mut f: impl FnMut(u32, f32)) {
    match allowed {
        Allowed::AllBut(banned) => {
            for (id, (&logit, &banned)) in (0..).zip(logits.iter().zip(*banned)) {
                if !banned && !logit.is_nan() {
                    f(id, logit);
                }
            }
        }
        Allowed::Only(set) => {
            for id in set.iter() {
                if let Some(&logit) = logits.get(id as usize)
                    && !logit.is_nan()
                {
                    f(id, logit);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, top_k: u32) -> Sampler {
        Sampler::new(Sampling { temperature, top_p, top_k, seed: 7 })
    }

    #[test]
    fn greedy_takes_the_best_allowed() {
        let logits = [1.0, f32::NAN, 3.0, 3.0, 9.0];
        let banned = [false, false, false, false, true];
        assert_eq!(sampler(0.0, 1.0, 0).choose(&logits, &Allowed::AllBut(&banned)).unwrap(), 2);
        let all_nan = [f32::NAN; 5];
        let error = sampler(0.0, 1.0, 0).choose(&all_nan, &Allowed::AllBut(&banned)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Engine);
    }

    #[test]
    fn sampling_follows_the_weights_and_the_seed() {
        let logits = [0.0f32, 2.0f32.ln(), 5.0f32.ln()];
        let free = [false; 3];
        let draw = |sampler: &mut Sampler| {
            (0..8000).map(|_| sampler.choose(&logits, &Allowed::AllBut(&free)).unwrap()).collect::<Vec<_>>()
        };
        let tokens = draw(&mut sampler(1.0, 1.0, 0));
        let share = |id| tokens.iter().filter(|&&token| token == id).count();
        assert!(share(0).abs_diff(1000) < 120 && share(1).abs_diff(2000) < 160, "{} {}", share(0), share(1));
        assert_eq!(tokens, draw(&mut sampler(1.0, 1.0, 0)), "the same seed draws the same");
        assert!(draw(&mut sampler(1.0, 1.0, 1)).iter().all(|&token| token == 2));
        assert!(draw(&mut sampler(1.0, 0.7, 0)).iter().all(|&token| token != 0));
    }
}
