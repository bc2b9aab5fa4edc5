//! What is known about a server.

use crate::engine::Guidance;

/// Which program serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    Vllm,
    Sglang,
    TrtllmServe,
    LlamaServer,
    /// Another program that speaks the protocol.
    #[default]
    Other,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::TrtllmServe => "trtllm-serve",
            Self::LlamaServer => "llama-server",
            Self::Other => "another server",
        }
    }

    /// The most alternatives for a token that it gives by default.
    fn most_alternatives(self) -> u32 {
        match self {
            Self::LlamaServer => 1000,
            _ => 20,
        }
    }
}

/// How a constraint is sent to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Notation {
    /// It supports none.
    #[default]
    None,
    /// `response_format` with a JSON schema.
    JsonSchema,
    /// `grammar` in GBNF.
    Gbnf,
    /// `structured_outputs` with a grammar in EBNF.
    Structured,
    /// `ebnf`.
    Ebnf,
    /// `response_format` of type `ebnf`.
    EbnfFormat,
}

impl Notation {
    pub(super) fn guidance(self) -> Guidance {
        match self {
            Self::None => Guidance::None,
            Self::JsonSchema => Guidance::Schema,
            _ => Guidance::Grammar,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "no constraint",
            Self::JsonSchema => "JSON schema",
            Self::Gbnf => "grammar (GBNF)",
            Self::Structured | Self::Ebnf | Self::EbnfFormat => "grammar (EBNF)",
        }
    }
}

/// How requests reach a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// Token ids of this process's own tokenizer.
    Tokens,
    /// Token ids: this process renders the template, the server tokenizes piece by piece.
    Pieces,
    /// Token ids: the server renders and tokenizes.
    Rendered,
    /// Messages.
    #[default]
    Chat,
}

impl Way {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens, by the tokenizer in remote.tokenizer",
            Self::Pieces => "tokens, by the server's tokenizer",
            Self::Rendered => "tokens, rendered by the server",
            Self::Chat => "messages",
        }
    }

    /// Whether text that looks like a control token stays text.
    pub(super) fn keeps_text(self) -> bool {
        matches!(self, Self::Tokens | Self::Pieces)
    }
}

/// Which probabilities a server gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Logprobs {
    #[default]
    None,
    /// The probabilities of the model: a part of them goes to what the constraint forbids.
    BeforeMask,
    /// The probabilities under the constraint.
    AfterMask,
}

impl Logprobs {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "no probabilities",
            Self::BeforeMask => "probabilities before the constraint",
            Self::AfterMask => "probabilities under the constraint",
        }
    }
}

/// What is known about a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) version: Option<String>,
    /// The name of the model there.
    pub(super) model: String,
    pub(super) context: Option<usize>,
    /// How many generations it works on at once, if it says so.
    pub(super) slots: Option<usize>,
    pub(super) way: Way,
    pub(super) notation: Notation,
    /// Whether the constraint begins after the reasoning, so that one request holds both.
    pub(super) gated: bool,
    /// Whether a verdict is written choice by choice, each a request.
    pub(super) by_choice: bool,
    /// Whether answers come with token ids.
    pub(super) ids: bool,
    pub(super) logprobs: Logprobs,
    /// The most alternatives for a token, if it refused as many as its kind gives by default.
    pub(super) fewer: Option<u32>,
    /// The tokens of the tags around reasoning, if the server tokenizes.
    pub(super) tags: Option<Tags>,
}

/// Tokens of the tags around reasoning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tags {
    pub(super) open: u32,
    pub(super) prefix: Vec<u32>,
    pub(super) close: u32,
    /// A line end.
    pub(super) line: Vec<u32>,
    /// Whether it gives the text of tokens too.
    pub(super) detokenized: bool,
}

impl Facts {
    /// The path for completions of token ids.
    pub(super) fn completions(&self) -> &'static str {
        if self.kind == Kind::LlamaServer { "/completion" } else { "/v1/completions" }
    }

    /// The most alternatives for a token that it gives.
    pub(super) fn most_alternatives(&self) -> u32 {
        self.fewer.unwrap_or(self.kind.most_alternatives())
    }

    /// How many prompts of so many tokens go into one request. llama-server works on each prompt in a slot of its own, which has not
    /// computed what they share.
    pub(super) fn prompts(&self, tokens: usize) -> usize {
        const MOST: usize = 8;
        const MOST_TOKENS: usize = 1 << 16;
        if self.kind == Kind::Vllm { (MOST_TOKENS / tokens.max(1)).clamp(1, MOST) } else { 1 }
    }

    /// One line for people to read.
    pub(super) fn in_words(&self) -> String {
        let version = self.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
        let context = self.context.map(|tokens| format!(", {tokens} tokens of context")).unwrap_or_default();
        let slots = self.slots.map(|slots| format!(", {slots} at once")).unwrap_or_default();
        let text = if self.way.keeps_text() { "" } else { " (the server keeps control tokens apart)" };
        let requests = match (self.notation.guidance(), self.gated) {
            (Guidance::None, _) => "",
            (Guidance::Grammar, _) if self.by_choice => ", verdict choice by choice where single tokens decide",
            (_, true) => ", reasoning and verdict in one request where no probabilities are taken",
            (_, false) => ", verdict in a request of its own",
        };
        let few =
            self.fewer.filter(|&few| few > 0).map(|few| format!(", {few} for a token at most")).unwrap_or_default();
        format!(
            "{}{version}, model {}{context}{slots}; {}{text}; {}{requests}; {}{few}",
            self.kind.name(),
            self.model,
            self.way.name(),
            self.notation.name(),
            self.logprobs.name()
        )
    }
}
