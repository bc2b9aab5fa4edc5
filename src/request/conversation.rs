//! Conversations as text. A judge reads one prompt and one text for each response, so a list of messages is written as
//! text, in the same way everywhere.

use super::node::Node;

/// What a message may hold besides text. A verdict on the text without these would be about something else.
const UNREADABLE: [(&str, &str); 9] = [
    ("tool_calls", "tool calls"),
    ("function_call", "a function call"),
    ("tool_call_id", "the result of a tool call"),
    ("images", "images"),
    ("image", "an image"),
    ("audio", "audio"),
    ("video", "video"),
    ("videos", "videos"),
    ("files", "files"),
];

/// The text of a prompt. A conversation with one message becomes the content of this message; a longer one becomes all
/// messages as `role: content`, with a blank line between them.
///
/// # Errors
/// What cannot be read, in words that follow the name of the field.
pub(super) fn prompt(node: Node) -> Result<String, String> {
    let messages = match node {
        Node::Text(text) => return Ok(text),
        Node::List(messages) => messages,
        other => return Err(format!("is {}: it must be text or a list of messages", other.what())),
    };
    let messages =
        messages.iter().enumerate().map(|(index, message)| read(message, index)).collect::<Result<Vec<_>, _>>()?;
    match messages.as_slice() {
        [] => Err("is an empty list: a conversation has one message or more".into()),
        [(_, only)] => Ok(only.clone()),
        several => Ok(joined(several.iter().map(|(role, text)| format!("{role}: {text}")))),
    }
}

/// The text of a response; for a conversation, what the assistant says.
///
/// # Errors
/// As [`prompt`].
pub(super) fn response(node: Node) -> Result<String, String> {
    let messages = match node {
        Node::Text(text) => return Ok(text),
        Node::List(messages) => messages,
        message @ Node::Object(_) if message.get("content").is_some() => vec![message],
        other => return Err(format!("is {}: it must be text or a list of messages", other.what())),
    };
    let messages =
        messages.iter().enumerate().map(|(index, message)| read(message, index)).collect::<Result<Vec<_>, _>>()?;
    if messages.is_empty() {
        return Err("is an empty list: a conversation has one message or more".into());
    }
    let has_assistant = messages.iter().any(|(role, _)| role == "assistant");
    Ok(joined(messages.into_iter().filter(|(role, _)| !has_assistant || role == "assistant").map(|(_, text)| text)))
}

fn joined(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join("\n\n")
}

/// Role and text of one message.
fn read(message: &Node, index: usize) -> Result<(String, String), String> {
    let number = index + 1;
    let Node::Object(entries) = message else {
        return Err(format!(
            "is a list whose entry {number} is {}: a conversation is a list of {{\"role\", \"content\"}}",
            message.what()
        ));
    };
    for (key, what) in UNREADABLE {
        if entries.iter().any(|(name, value)| name == key && !value.is_nothing()) {
            return Err(format!("has {what} in message {number} ({key:?}): the judge reads text only"));
        }
    }
    let Some(Node::Text(role)) = message.get("role") else {
        return Err(format!("has no \"role\" in message {number}: a message is {{\"role\", \"content\"}}"));
    };
    if role == "tool" || role == "function" {
        return Err(format!("has the result of a tool call in message {number}: the judge reads text only"));
    }
    let text = match message.get("content") {
        None => return Err(format!("has no \"content\" in message {number}: a message is {{\"role\", \"content\"}}")),
        Some(Node::Text(text)) => text.clone(),
        Some(Node::List(parts)) => parts
            .iter()
            .map(part)
            .collect::<Result<String, _>>()
            .map_err(|what| format!("has {what} in message {number}"))?,
        Some(other) => return Err(format!("has {} as the content of message {number}: it must be text", other.what())),
    };
    Ok((role.clone(), text))
}

/// The text of a part of a message.
fn part(part: &Node) -> Result<String, String> {
    if let Node::Text(text) = part {
        return Ok(text.clone());
    }
    let kind = match part.get("type") {
        Some(Node::Text(kind)) => kind.as_str(),
        _ => "",
    };
    match (kind, part.get("text")) {
        ("" | "text" | "input_text" | "output_text", Some(Node::Text(text))) => Ok(text.clone()),
        _ if kind.contains("image") => Err(format!("an image ({kind:?}), which the judge cannot read,")),
        ("" | "text" | "input_text" | "output_text", _) => Err("a part without \"text\"".into()),
        _ => Err(format!("a part of the type {kind:?}, which the judge cannot read,")),
    }
}
