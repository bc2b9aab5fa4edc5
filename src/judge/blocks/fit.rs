//! Whether a group fits the context, and the blocks that do if it does not.

use serde_json::Value;

use crate::config::{self, Reward, RubricMode, Settings};
use crate::decode::plan::Plan;
use crate::engine::{Engine, Input};
use crate::error::{Error, ErrorKind, Result};
use crate::prompt;
use crate::prompt::mask::AliasMap;
use crate::prompt::tokenize::Tokenizer;
use crate::request::{JudgeRequest, Response};

use super::super::Judge;
use super::super::count::output_tokens;
use super::super::prepare::{Draft, Drawn};
use super::{Group, Layout};

/// The context of an engine, if both its size and the tokens of a prompt are known.
struct Room<'a> {
    engine: &'a dyn Engine,
    tokenizer: &'a Tokenizer,
    context: usize,
}

impl Judge {
    /// The runs of a judgment: over the whole group, or over blocks of it if its settings ask for them and they are needed.
    ///
    /// # Errors
    /// [`ErrorKind::ContextOverflow`] if no blocks fit either; those of [`Judge::drawn`].
    pub(in crate::judge) fn fitted(&self, draft: &Draft<'_>) -> Result<(Drawn, Option<Layout>)> {
        let Draft { loaded, request, settings, .. } = *draft;
        if let Some(at_once) = self.kind.responses() {
            return self.compared(draft, at_once);
        }
        let Some(most) = most_at_once(settings)? else {
            return Ok((self.drawn(draft, None)?, None));
        };
        let tokenizer = loaded.prompter.tokenizer();
        let room = tokenizer.zip(self.capabilities.context_tokens).map(|(tokenizer, context)| Room {
            engine: loaded.engine.as_ref(),
            tokenizer,
            context,
        });
        let attempt = |layout: Option<&Layout>| -> Result<Drawn> {
            let drawn = self.drawn(draft, layout)?;
            room.as_ref().map_or(Ok(()), |room| room.check(&drawn))?;
            Ok(drawn)
        };
        let count = request.responses.len();
        if count == 1 {
            // Where it does not fit the engine says so.
            return Ok((self.drawn(draft, None)?, None));
        }
        if count <= most {
            match attempt(None) {
                Err(error) if error.kind() == ErrorKind::ContextOverflow => {}
                whole => return Ok((whole?, None)),
            }
        }
        // A calibrated judge takes its probabilities from scores; but the table of a rubric has no calibration.
        let separate = !request.rubric.is_empty() && settings.rubric_mode == RubricMode::Separate;
        if settings.reward == Some(Reward::Win) && (self.calibrated.is_none() || separate) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                "options: the group must be judged in blocks, and the reward \"win\" compares distributions, which have no common \
                 scale there: ask for \"expected_or_score\", \"rank\" or \"group\"",
            ));
        }
        let (weights, capacity) = match &room {
            Some(room) => self.measured(draft, room)?,
            None => (vec![1; count], usize::MAX),
        };
        let texts: Vec<&str> = request.responses.iter().map(|response| response.text.as_str()).collect();
        let anchors = settings.block_anchors as usize;
        let mut group =
            Group { weights: &weights, texts: &texts, room: capacity, most, anchors, seed: settings.mask_seed };
        let mut least = 2;
        loop {
            match group.form(least) {
                Ok(layout) => match attempt(Some(&layout)) {
                    Err(error)
                        if error.kind() == ErrorKind::ContextOverflow && layout.blocks.len() + anchors < count =>
                    {
                        least = layout.blocks.len() + 1;
                    }
                    drawn => return Ok((drawn?, Some(layout))),
                },
                Err(members) => {
                    let weight = members.iter().map(|&index| weights[index]).sum();
                    let smallest = Layout { count, anchors: Vec::new(), blocks: vec![members.clone()] };
                    // Weights are estimates: if the block does fit, they were too high.
                    if let Err(error) = attempt(Some(&smallest)) {
                        return Err(misfit(draft, &error, &members, &weights));
                    }
                    if members.len() == count || weight <= group.room {
                        return Err(Error::new(ErrorKind::Internal, "a group that fits has no blocks"));
                    }
                    group.room = weight;
                }
            }
        }
    }

    /// About how many tokens each response takes, and how many the responses of one block may take together.
    fn measured(&self, draft: &Draft<'_>, room: &Room<'_>) -> Result<(Vec<usize>, usize)> {
        let Draft { loaded, request, settings, .. } = *draft;
        let profile = self.profile();
        let entry = |shown: &str, text: &str| -> Result<usize> {
            let json = format!("{}: {}, ", Value::from(shown), Value::from(text));
            Ok(room.tokenizer.encode_text(&json)?.len())
        };
        let aliases = prompt::aliases(profile, request, settings);
        let count = aliases.len();
        let mut weights = vec![0; count];
        let mut longest = "";
        for (place, shown) in aliases.shown().iter().enumerate() {
            let index = aliases.request_index(place);
            weights[index] = entry(shown, &request.responses[index].text)?;
            longest = if shown.len() > longest.len() { shown } else { longest };
        }
        let single = AliasMap::new(vec![String::new()], vec![longest.to_owned()], vec![0]);
        let (mut base, mut of_each) = (0, 0);
        for part in request.parts(settings) {
            let nothing = vec![Response { name: String::new(), text: String::new() }];
            let without_text = JudgeRequest { responses: nothing, ..part.into_owned() };
            let (input, state) = loaded.prompter.input(&without_text, &single, settings)?;
            let Input::Tokens { ids, .. } = input else {
                return Err(Error::new(ErrorKind::Internal, "an engine with a tokenizer takes tokens"));
            };
            let output = |aliases: &AliasMap| {
                let plan = Plan::new(profile, settings, aliases, state);
                output_tokens(room.engine, &plan, room.tokenizer).map(|(tokens, _)| tokens)
            };
            let (least, all) = (output(&single)?, output(&aliases)?);
            of_each = of_each.max(all.saturating_sub(least).div_ceil(count.saturating_sub(1).max(1)));
            base = base.max(ids.len().saturating_sub(entry(longest, "")?) + least.saturating_sub(of_each));
        }
        // One token less than measured: what follows a text may join its last token. The prompts themselves are counted
        // before they are judged.
        let weights = weights.into_iter().map(|tokens| (tokens + of_each).saturating_sub(1).max(1)).collect();
        Ok((weights, room.context.saturating_sub(base)))
    }
}

impl Room<'_> {
    /// Checks that every prompt fits together with its answer.
    fn check(&self, drawn: &Drawn) -> Result<()> {
        for run in &drawn.runs {
            let Input::Tokens { ids, .. } = &run.job.input else { continue };
            let (output, _) = output_tokens(self.engine, &run.job.plan, self.tokenizer)?;
            let (prompt, context) = (ids.len(), self.context);
            let need = prompt + output;
            if need > context {
                return Err(Error::new(
                    ErrorKind::ContextOverflow,
                    format!(
                        "the prompt has {prompt} tokens and may be answered with {output}, {need} in all, but the context \
                         holds {context}"
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// Most responses of one prompt, if blocks are wanted.
pub(in crate::judge) fn most_at_once(settings: &Settings) -> Result<Option<usize>> {
    let (size, anchors) = (settings.block_size, settings.block_anchors);
    let wanted = match settings.blocks {
        Some(blocks) => blocks == config::Blocks::WhenNeeded,
        None => size > 0,
    };
    if !wanted {
        return Ok(None);
    }
    if size > 0 && size <= anchors {
        return Err(Error::new(
            ErrorKind::InvalidRequest,
            format!(
                "options: block_size is {size} and block_anchors is {anchors}: a block holds the anchors and at least one other \
                 response, so raise block_size or lower block_anchors"
            ),
        ));
    }
    Ok(Some(if size == 0 { usize::MAX } else { size as usize }))
}

/// The error of a group of which not even the smallest block, that of `members`, fits.
fn misfit(draft: &Draft<'_>, error: &Error, members: &[usize], weights: &[usize]) -> Error {
    let advice =
        "shorten the request, lower max_reasoning_tokens or block_anchors, or give the engine a longer context";
    let (request, anchors) = (draft.request, draft.settings.block_anchors);
    let whole = if members.len() == request.responses.len() {
        format!("{} responses are too few for blocks that share {anchors} anchors (block_anchors)", members.len())
    } else {
        let longest = members.iter().max_by_key(|&&index| weights[index]).copied().unwrap_or_default();
        let name = &request.responses[longest].name;
        format!("not even a block of {anchors} anchors (block_anchors) and the response {name:?} fits the context")
    };
    Error::new(error.kind(), format!("{whole}: {}: {advice}", error.message()))
}
