//! Reading a verdict from existing text.

use std::mem::MaybeUninit;

use super::aliases::dicast_aliases;
use super::boundary::given;
use super::error::dicast_error;
use super::profile::dicast_profile;
use super::text::dicast_str;
use super::token::{dicast_token, positions};
use super::verdict::dicast_verdict;
use crate::config::VerdictPolicy;
use crate::decode::logprobs;
use crate::error::{Error, ErrorKind, Result};
use crate::prompt::profile::Profile;
use crate::verdict;

/// Reads a verdict from the whole output of a judge, for programs with their own engine.
///
/// `aliases` lists the names that must be scored and ranked. If `profile` is NULL, the built-in one is used. `policy_json`
/// is the `verdict` part of a configuration, such as `{"incomplete": "derive_ranking", "clamp": true}`; empty text is the
/// strict default. Bytes of `text` that are not UTF-8 are replaced by U+FFFD, so a character cut at the end does no harm.
///
/// On success you own `*verdict`; it has no expected scores: see dicast_parse_tokens. Any thread, at any time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_parse(
    text: dicast_str,
    aliases: Option<&dicast_aliases>,
    profile: Option<&dicast_profile>,
    policy_json: dicast_str,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (aliases, out) = (given(aliases, "aliases")?, given(verdict, "verdict")?);
        // SAFETY: the texts live during the call.
        let (text, policy) =
            unsafe { (text.bytes("text")?, policy_json.text("policy_json", ErrorKind::InvalidConfig)?) };
        let (policy, profile) = (policy_of(policy)?, profile_of(profile));
        let read = verdict::parse(&String::from_utf8_lossy(text), aliases.get(), &profile, &policy)?;
        out.write(dicast_verdict::give(read, profile.scale));
        Ok(())
    })
}

/// As dicast_parse, from the tokens of the output. If the tokens at the scores have their choices, the verdict has expected
/// scores and distributions. These are left out unless all scores are whole, each equals the score that was read, and they
/// stand in JSON, in the order in which the judge saw the names, or in the profile's layout, if that has no names: a number
/// never belongs to the wrong response.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_parse_tokens(
    tokens: *const dicast_token,
    count: usize,
    aliases: Option<&dicast_aliases>,
    profile: Option<&dicast_profile>,
    policy_json: dicast_str,
    verdict: Option<&mut MaybeUninit<*mut dicast_verdict>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (aliases, out) = (given(aliases, "aliases")?, given(verdict, "verdict")?);
        // SAFETY: the array has `count` entries, and everything in it lives during the call, as does the text.
        let (tokens, policy) =
            unsafe { (positions(tokens, count)?, policy_json.text("policy_json", ErrorKind::InvalidConfig)?) };
        let (policy, profile) = (policy_of(policy)?, profile_of(profile));
        let text: Vec<u8> = tokens.iter().flat_map(|position| position.token.bytes()).copied().collect();
        let mut read = verdict::parse(&String::from_utf8_lossy(&text), aliases.get(), &profile, &policy)?;
        logprobs::add_expected(&mut read, &tokens, aliases.get(), &profile);
        out.write(dicast_verdict::give(read, profile.scale));
        Ok(())
    })
}

fn policy_of(policy: &str) -> Result<VerdictPolicy> {
    if policy.is_empty() {
        return Ok(VerdictPolicy::default());
    }
    crate::json::read(policy.as_bytes())
        .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("the verdict policy is not valid: {error}")))
}

fn profile_of(profile: Option<&dicast_profile>) -> Profile {
    profile.map_or_else(Profile::builtin, |profile| profile.get().clone())
}
