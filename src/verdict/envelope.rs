//! Takes the answer out of what a server may wrap it in: typed blocks of content, messages with roles. Blocks of
//! reasoning are not part of the answer.

use super::interpret::is_thought_type;
use super::keys::{Key, Keys};
use super::names::Names;
use super::tolerant::{self, Group, Node, Work};

/// How deep a server's wrapping is followed.
const MAX_DEPTH: usize = 12;
/// Keys that hold the answer, or lead to it.
const CONTENT: &[&str] = &[
    "text",
    "content",
    "message",
    "messages",
    "choices",
    "output",
    "outputs",
    "parts",
    "candidates",
    "delta",
    "response",
    "completion",
    "generated_text",
    "output_text",
    "data",
    "value",
    "body",
    "result",
    "results",
    "generations",
    "predictions",
];
/// Keys that hold reasoning.
const THOUGHTS: &[&str] = &[
    "thinking",
    "reasoning",
    "reasoning_content",
    "reasoningContent",
    "reasoning_details",
    "reasoningText",
    "thought",
    "thoughts",
    "summary",
    "redacted_thinking",
    "analysis",
];
/// Keys that only such a wrapping has.
const SIGNS: &[&str] = &[
    "type",
    "role",
    "choices",
    "message",
    "messages",
    "parts",
    "candidates",
    "reasoning_content",
    "reasoningContent",
    "thinking",
    "content",
    "generated_text",
    "finish_reason",
    "delta",
    "output_text",
    "stop_reason",
];

/// The content of a wrapping.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) reasoning: String,
    pub(super) answer: String,
}

/// Opens the wrapping if the whole text is one; `None` if it is none, or holds no text.
pub(super) fn open<'n>(text: &str, keys: &Keys, names: impl FnOnce() -> Names<'n>) -> Option<Opened> {
    let trimmed = text.trim();
    if !trimmed.starts_with(['[', '{']) || !SIGNS.iter().any(|sign| trimmed.contains(sign)) {
        return None;
    }
    let names = &names();
    let root = tolerant::read(trimmed, 0, &mut Work::for_len(trimmed.len(), names.len())).ok()?;
    if !root.closed || root.end != trimmed.len() {
        return None;
    }
    let mut opener = Opener { keys, names, found: Opened::default(), foreign: false, signs: false };
    opener.node(&root.node, 0);
    let Opener { found, foreign, signs, .. } = opener;
    (signs && !foreign && !found.answer.trim().is_empty()).then_some(found)
}

struct Opener<'k> {
    keys: &'k Keys,
    names: &'k Names<'k>,
    found: Opened,
    /// Whether anything other than text was found: a verdict's own key, a tool call.
    foreign: bool,
    signs: bool,
}

impl Opener<'_> {
    fn node(&mut self, node: &Node<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            self.foreign = true;
            return;
        }
        match node {
            Node::Text(text) => {
                if !self.found.answer.is_empty() {
                    self.found.answer.push('\n');
                }
                self.found.answer.push_str(text);
            }
            Node::Word { .. } => {}
            Node::Group(group) if group.object => self.object(group, depth),
            Node::Group(group) => {
                let messages: Vec<&Group<'_>> = group.entries.iter().filter_map(|entry| entry.value.group()).collect();
                let role = |group: &Group<'_>, role: &str| field(group, "role").is_some_and(|found| found == role);
                if messages.iter().any(|message| field(message, "role").is_some()) {
                    // In a conversation, only the judge's last turn counts.
                    match messages.iter().rev().find(|message| role(message, "assistant") || role(message, "model")) {
                        Some(last) => self.object(last, depth + 1),
                        None => self.foreign = true,
                    }
                    return;
                }
                if group.entries.iter().any(|entry| entry.key.is_some() || entry.value.group().is_none()) {
                    self.foreign = true;
                    return;
                }
                for message in messages {
                    self.object(message, depth + 1);
                }
            }
        }
    }

    fn object(&mut self, group: &Group<'_>, depth: usize) {
        let kind = field(group, "type").unwrap_or_default();
        let thought = is_thought_type(&kind)
            || field(group, "thought").is_some_and(|thought| thought.eq_ignore_ascii_case("true"));
        if thought {
            self.signs = true;
            for entry in &group.entries {
                if !matches!(entry.key.as_deref(), Some("type" | "signature" | "id" | "data")) {
                    self.thoughts(&entry.value, depth + 1);
                }
            }
            return;
        }
        let tool = ["tool", "function"].iter().any(|word| kind.contains(word));
        if tool || matches!(field(group, "role").as_deref(), Some("user" | "system" | "tool")) {
            self.foreign = true;
            return;
        }
        for entry in &group.entries {
            let Some(key) = entry.key.as_deref() else {
                self.foreign = true;
                return;
            };
            self.signs |= SIGNS.contains(&key);
            if THOUGHTS.contains(&key) {
                self.thoughts(&entry.value, depth + 1);
            } else if CONTENT.contains(&key) {
                self.node(&entry.value, depth + 1);
            } else if self.names.resolve(key, false).place().is_some() {
                self.foreign = true;
            } else if matches!(self.keys.read(key).0, Key::Score | Key::Overall { .. } | Key::Rank(_))
                || key == "tool_calls"
            {
                // An empty list of calls does not count.
                self.foreign |= entry.value.group().is_none_or(|group| !group.entries.is_empty());
            }
        }
    }

    fn thoughts(&mut self, node: &Node<'_>, depth: usize) {
        match node {
            Node::Text(text) => {
                if !self.found.reasoning.is_empty() {
                    self.found.reasoning.push('\n');
                }
                self.found.reasoning.push_str(text);
            }
            Node::Group(group) if depth <= MAX_DEPTH => {
                for entry in &group.entries {
                    self.thoughts(&entry.value, depth + 1);
                }
            }
            _ => {}
        }
    }
}

/// The text of a field.
fn field(group: &Group<'_>, name: &str) -> Option<String> {
    let entry = group.entries.iter().find(|entry| entry.key.as_deref() == Some(name))?;
    match &entry.value {
        Node::Text(text) => Some(text.to_string()),
        Node::Word { text, .. } => Some((*text).to_owned()),
        Node::Group(_) => None,
    }
}
