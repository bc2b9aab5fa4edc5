//! From a request to the input of the engine: mask the names, build the messages, render the chat template, tokenize.
//!
//! ```text
//! JudgeRequest -> mask.rs      AliasMap: order and aliases of the responses
//!              -> messages.rs  system and user message, by the profile
//!              -> template.rs  segments: text of the template, and text of users
//!              -> tokenize/    token ids; only the template's own text can yield control tokens
//! ```

pub mod import;
pub mod mask;
mod mersenne;
pub mod messages;
pub mod profile;
mod python;
pub(crate) mod reasoning;
pub mod template;
pub mod tokenize;

use std::sync::Arc;

use crate::config::{Mask, Settings};
use crate::engine::{Input, TextModel};
use crate::error::{Error, ErrorKind, Result};
use crate::request::{JudgeRequest, Response};
use mask::AliasMap;
use messages::Message;
use profile::{MessageLayout, Profile, VerdictKind};
use template::{ChatTemplate, Rendered};
use tokenize::{BpeVocab, Tokenizer};

/// What one judgment starts from, in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Token ids of the whole prompt, up to where the judge begins to write.
    pub tokens: Vec<u32>,
    /// How the responses are shown, and the way back.
    pub aliases: AliasMap,
    /// How the prompt leaves the judge's reasoning.
    pub reasoning: ReasoningState,
}

/// The part of the judge's reasoning that the chat template has already written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasoningState {
    /// Nothing: the judge writes the opening tag itself.
    Unopened,
    /// The opening tag: the judge continues inside its reasoning.
    Open,
    /// A complete, empty reasoning: the judge continues with its verdict.
    Closed,
}

/// Turns requests into the input of an engine, for one model. Any number of threads can share it; it is cheap to clone.
#[derive(Clone)]
pub struct Prompter {
    profile: Profile,
    text: Option<Arc<Text>>,
}

/// Makes tokens, if the engine does not do this itself.
struct Text {
    template: ChatTemplate,
    tokenizer: Arc<Tokenizer>,
    /// Number of leading tokens that all prompts have in common.
    shared_prefix: usize,
}

impl Prompter {
    /// A prompter for a model. It renders the template once, so that a template which this profile cannot use is found here.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidProfile`] if the profile is inconsistent, [`ErrorKind::InvalidModel`] if the template cannot
    /// render its messages.
    pub fn new(profile: Profile, template: ChatTemplate, tokenizer: Arc<Tokenizer>) -> Result<Self> {
        profile.check()?;
        let mut text = Text { template, tokenizer, shared_prefix: 0 };
        let reasons = profile.reasoning.is_some();
        // Two prompts that differ from the first letter of the user's text on have only the profile's part in common.
        let one = text.example(&profile, "a", reasons).map_err(|error| match profile.message_layout {
            MessageLayout::UserJson => error,
            MessageLayout::SystemUserJson => Error::new(
                error.kind(),
                format!(
                    "{} (if the model does not support system messages, set \"message_layout\": \"user_json\" in its profile)",
                    error.message()
                ),
            ),
        })?;
        let other = text.example(&profile, "B", reasons)?;
        text.shared_prefix = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
        Ok(Self { profile, text: Some(Arc::new(text)) })
    }

    /// A prompter for an opened model.
    ///
    /// # Errors
    /// Those of [`Self::new`] and of its chat template.
    pub fn of(profile: Profile, text: Option<&TextModel>) -> Result<Self> {
        if let Some(text) = text {
            let template = profile.template(&text.chat_template, text.bos.as_deref(), text.eos.as_deref())?;
            Self::new(profile, template, text.tokenizer.clone())
        } else {
            profile.check()?;
            Ok(Self { profile, text: None })
        }
    }

    /// The profile.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The tokenizer; `None` if the engine tokenizes itself.
    pub fn tokenizer(&self) -> Option<&Arc<Tokenizer>> {
        self.text.as_ref().map(|text| &text.tokenizer)
    }

    /// The prompt of a request, in tokens. See [`Self::input`]; the names are hidden as [`aliases`] decides.
    ///
    /// # Errors
    /// Those of [`Self::input`]; [`ErrorKind::Unsupported`] if the engine makes the tokens itself.
    pub fn prompt(&self, request: &JudgeRequest, settings: &Settings) -> Result<Prompt> {
        let aliases = aliases(&self.profile, request, settings);
        match self.input(request, &aliases, settings)? {
            (Input::Tokens { ids, .. }, reasoning) => Ok(Prompt { tokens: ids, aliases, reasoning }),
            (Input::Messages(_), _) => {
                Err(Error::new(ErrorKind::Unsupported, "this engine makes the tokens of a prompt itself"))
            }
        }
    }

    /// The input of the engine for a request whose responses are named and ordered by `aliases`, and how the input leaves the
    /// judge's reasoning. The judge reasons if `settings` say so and the profile has a form for it.
    ///
    /// The request must have passed [`JudgeRequest::check`]; the caller checks whether it fits the context.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidModel`] if the template cannot render the messages, or the vocabulary cannot write them.
    pub fn input(
        &self,
        request: &JudgeRequest,
        aliases: &AliasMap,
        settings: &Settings,
    ) -> Result<(Input, ReasoningState)> {
        let messages = messages::messages(&self.profile, request, aliases);
        let Some(text) = &self.text else {
            // Whoever renders the template also opens the reasoning.
            let state = if self.reasons(settings) { ReasoningState::Unopened } else { ReasoningState::Closed };
            return Ok((Input::Messages(messages), state));
        };
        let prompt = text.template.prompt(&messages, self.reasons(settings))?;
        let ids = text.tokenizer.encode_prompt(&prompt)?;
        let shared_prefix = text.shared_prefix.min(ids.len());
        Ok((Input::Tokens { ids, shared_prefix }, self.state(&prompt)))
    }

    /// The tokens that every prompt with the principle of `request` begins with, or, if it has a prompt, every one with that
    /// prompt too; `None` if the engine tokenizes itself. The responses do not matter. A prompt that continues in an unusual
    /// way may differ in the last of these tokens.
    ///
    /// # Errors
    /// Those of [`Self::input`].
    pub fn prefix(&self, request: &JudgeRequest, settings: &Settings) -> Result<Option<Vec<u32>>> {
        let Some(text) = &self.text else { return Ok(None) };
        // Two that differ in the first letter of what comes next.
        let with = |next: &str| {
            let mut request = JudgeRequest { responses: Vec::new(), ..request.clone() };
            request.responses.push(Response { name: next.to_owned(), text: next.to_owned() });
            if request.prompt.is_empty() {
                next.clone_into(&mut request.prompt);
            }
            text.tokens(&self.profile, &request, self.reasons(settings))
        };
        let (mut one, other) = (with("a")?, with("B")?);
        one.truncate(one.iter().zip(&other).take_while(|(one, other)| one == other).count());
        Ok(Some(one))
    }

    /// The messages of a request and its alias map.
    pub fn messages(&self, request: &JudgeRequest, settings: &Settings) -> (Vec<Message>, AliasMap) {
        masked_messages(&self.profile, request, settings)
    }

    /// Whether the judge reasons before its verdict with these settings.
    pub fn reasons(&self, settings: &Settings) -> bool {
        settings.reasoning && self.profile.reasoning.is_some()
    }

    /// Tokens of the shortest possible prompt, without any text of users; 0 if the engine tokenizes itself.
    ///
    /// # Errors
    /// Those of [`Self::input`].
    pub fn least_tokens(&self) -> Result<usize> {
        let reasons = self.profile.reasoning.is_some();
        self.text.as_ref().map_or(Ok(0), |text| Ok(text.example(&self.profile, "", reasons)?.len()))
    }

    /// Whether the chat template closes the reasoning although the judge should reason.
    ///
    /// # Errors
    /// Those of [`Self::input`].
    pub(crate) fn closes_reasoning(&self) -> Result<bool> {
        let (Some(text), Some(_)) = (&self.text, &self.profile.reasoning) else { return Ok(false) };
        let request = JudgeRequest::new("", "", [("", "")]);
        let messages = messages::messages(&self.profile, &request, &AliasMap::identity(vec![String::new()]));
        Ok(self.state(&text.template.prompt(&messages, true)?) == ReasoningState::Closed)
    }

    /// Finds out from the template's last words whether they open the reasoning or close it.
    fn state(&self, prompt: &Rendered) -> ReasoningState {
        let (Some(form), tail) = (&self.profile.reasoning, prompt.tail()) else { return ReasoningState::Unopened };
        match (tail.rfind(&form.open), tail.rfind(&form.close)) {
            (Some(open), Some(close)) if open > close => ReasoningState::Open,
            (Some(_), None) => ReasoningState::Open,
            (_, Some(_)) => ReasoningState::Closed,
            (None, None) => ReasoningState::Unopened,
        }
    }
}

impl Text {
    /// The tokens of a request with almost no text.
    fn example(&self, profile: &Profile, principle: &str, reasons: bool) -> Result<Vec<u32>> {
        self.tokens(profile, &JudgeRequest::new(principle, "", [("", "")]), reasons)
    }

    /// The tokens of a request that shows the names of its responses.
    fn tokens(&self, profile: &Profile, request: &JudgeRequest, reasons: bool) -> Result<Vec<u32>> {
        let messages = messages::messages(profile, request, &AliasMap::identity(names(request)));
        self.tokenizer.encode_prompt(&self.template.prompt(&messages, reasons)?)
    }
}

/// Creates in advance the values that this module and its libraries make only once.
pub(crate) fn warm() {
    let tokens = tokenize::alphabet();
    let vocab = BpeVocab { tokens, merges: Vec::new(), pre: "qwen2".into() };
    // A failure here comes again, with an error, when a model needs the value.
    let _ = Tokenizer::from_bpe(vocab).and_then(|tokenizer| tokenizer.encode_text("a word, 1"));
    let message = Message { role: "user", content: String::new() };
    let _ = ChatTemplate::new("{{ messages[0]['content'] | trim }}", None, None)
        .and_then(|template| template.render(&[message], true));
}

/// How the responses of a request are named and ordered. `request.mask_responses == Some(false)` shows the real names
/// whatever `settings` say.
pub fn aliases(profile: &Profile, request: &JudgeRequest, settings: &Settings) -> AliasMap {
    let mode = mask_mode(request, settings);
    named(profile.verdict.kind(), mask::mask(names(request), &profile.alias_prefix, mode, settings.mask_seed))
}

/// A judge that chooses one of two responses names it by its letter.
fn named(kind: VerdictKind, aliases: AliasMap) -> AliasMap {
    // More than two are judged two by two, each with names of its own.
    let letters = kind == VerdictKind::Choice && aliases.len() <= 26;
    if letters { mask::by_letters(aliases) } else { aliases }
}

/// The order in which [`aliases`] shows the responses.
pub(crate) fn order(request: &JudgeRequest, settings: &Settings) -> Vec<usize> {
    mask::order(request.responses.len(), mask_mode(request, settings), settings.mask_seed)
}

/// As [`aliases`], with the responses in this order; `kind` is that of the profile's verdicts.
pub(crate) fn aliases_in_order(
    profile: &Profile,
    kind: VerdictKind,
    request: &JudgeRequest,
    settings: &Settings,
    order: Vec<usize>,
) -> AliasMap {
    named(kind, mask::in_order(names(request), &profile.alias_prefix, mask_mode(request, settings), order))
}

fn mask_mode(request: &JudgeRequest, settings: &Settings) -> Mask {
    if request.mask_responses == Some(false) { Mask::Off } else { settings.mask }
}

fn names(request: &JudgeRequest) -> Vec<String> {
    request.responses.iter().map(|response| response.name.clone()).collect()
}

/// The messages of a request as the judge of `profile` reads them, and its alias map.
pub fn masked_messages(profile: &Profile, request: &JudgeRequest, settings: &Settings) -> (Vec<Message>, AliasMap) {
    let aliases = aliases(profile, request, settings);
    (messages::messages(profile, request, &aliases), aliases)
}
