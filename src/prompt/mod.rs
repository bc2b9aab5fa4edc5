//! From a request to what the engine reads: mask the names, build the messages, render the chat template, tokenize.
//!
//! ```text
//! JudgeRequest -> mask.rs      AliasMap: order and aliases of the responses
//!              -> messages.rs  system and user message, by the profile
//!              -> template.rs  segments: what the template wrote, what people wrote
//!              -> tokenize/    token ids; only the template's own text can yield control tokens
//! ```

pub mod import;
pub mod mask;
pub mod messages;
pub mod profile;
mod python;
pub mod template;
pub mod tokenize;

use std::sync::Arc;

use crate::config::{Mask, Settings};
use crate::error::{Error, Result};
use crate::request::JudgeRequest;
use mask::AliasMap;
use messages::Message;
use profile::{MessageLayout, Profile};
use template::{ChatTemplate, Segment};
use tokenize::Tokenizer;

/// What one judgment starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids of the whole prompt, up to where the judge begins to write.
    pub tokens: Vec<u32>,
    /// How the responses are shown, and the way back.
    pub aliases: AliasMap,
    /// Where the prompt leaves the judge's reasoning.
    pub reasoning: Opening,
}

/// What the chat template has already written of the judge's reasoning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing: the judge writes the opening tag itself.
    Unopened,
    /// The opening tag: the judge goes on inside its reasoning.
    Open,
    /// A whole, empty reasoning: the judge goes on with its verdict.
    Closed,
}

/// Turns requests into prompts for one model. Shared by any number of threads.
pub struct Prompter {
    profile: Profile,
    template: ChatTemplate,
    tokenizer: Arc<Tokenizer>,
}

impl Prompter {
    /// A prompter for a model; renders its template once, so that a template this profile cannot use is found here.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`](crate::ErrorKind::InvalidProfile) where the profile does not hold together,
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where the template cannot carry its messages.
    pub fn new(profile: Profile, template: ChatTemplate, tokenizer: Arc<Tokenizer>) -> Result<Self> {
        profile.check()?;
        let this = Self { profile, template, tokenizer };
        let probe = JudgeRequest::new("", "", [("", "")]);
        let messages = messages::messages(&this.profile, &probe, &AliasMap::identity(vec![String::new()]));
        let rendered = this.template.render(&messages, this.profile.reasoning.is_some());
        rendered.map_err(|error| match this.profile.message_layout {
            MessageLayout::UserJson => error,
            MessageLayout::SystemUserJson => Error::new(
                error.kind(),
                format!(
                    "{} (if the model knows no system messages, set \"message_layout\": \"user_json\" in its profile)",
                    error.message()
                ),
            ),
        })?;
        Ok(this)
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The prompt of a request. `request.mask_responses == Some(false)` shows the real names whatever `settings` say;
    /// the judge reasons where `settings` want it and the profile has a form for it.
    ///
    /// The request must have passed [`JudgeRequest::check`]; whether the tokens fit the context is for the caller.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`](crate::ErrorKind::InvalidModel) where the template or the vocabulary cannot carry the
    /// messages.
    pub fn prompt(&self, request: &JudgeRequest, settings: &Settings) -> Result<Prompt> {
        let (messages, aliases) = self.messages(request, settings);
        let segments = self.template.render(&messages, self.reasons(settings))?;
        let tokens = self.tokenizer.encode(&segments)?;
        Ok(Prompt { tokens, aliases, reasoning: self.opening(&segments) })
    }

    /// The messages of a request and its alias map, for engines that render and tokenize themselves.
    pub fn messages(&self, request: &JudgeRequest, settings: &Settings) -> (Vec<Message>, AliasMap) {
        masked_messages(&self.profile, request, settings)
    }

    /// Whether the judge thinks before its verdict under these settings.
    pub fn reasons(&self, settings: &Settings) -> bool {
        settings.reasoning && self.profile.reasoning.is_some()
    }

    /// Reads off the template's last words whether they open the reasoning or close it.
    fn opening(&self, segments: &[Segment]) -> Opening {
        let (Some(form), Some(Segment::Template(tail))) = (&self.profile.reasoning, segments.last()) else {
            return Opening::Unopened;
        };
        match (tail.rfind(&form.open), tail.rfind(&form.close)) {
            (Some(open), Some(close)) if open > close => Opening::Open,
            (Some(_), None) => Opening::Open,
            (_, Some(_)) => Opening::Closed,
            (None, None) => Opening::Unopened,
        }
    }
}

/// The messages of a request as the judge of `profile` reads them, and its alias map.
pub fn masked_messages(profile: &Profile, request: &JudgeRequest, settings: &Settings) -> (Vec<Message>, AliasMap) {
    let mode = if request.mask_responses == Some(false) { Mask::Off } else { settings.mask };
    let names = request.responses.iter().map(|response| response.name.clone()).collect();
    let aliases = mask::mask(names, &profile.alias_prefix, mode, settings.mask_seed);
    (messages::messages(profile, request, &aliases), aliases)
}
