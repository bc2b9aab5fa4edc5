//! The messages of one judgment, byte for byte as the reference system writes them.

use super::mask::AliasMap;
use super::profile::{MessageLayout, Profile};
use crate::json::push_string;
use crate::request::JudgeRequest;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system` or `user`.
    pub role: &'static str,
    /// Its text.
    pub content: String,
}

/// The messages of `request` as the judge of `profile` reads them, with the responses named and ordered by `aliases`.
///
/// The user's part is what Python's `json.dumps({"principle", "prompt", "responses"}, ensure_ascii=False)` writes.
/// A profile with an empty system prompt gets no system message, and one with a `user_message` that message instead of the
/// JSON.
pub fn messages(profile: &Profile, request: &JudgeRequest, aliases: &AliasMap) -> Vec<Message> {
    let shown = aliases.shown().iter().enumerate();
    let shown =
        shown.map(|(place, name)| (name.as_str(), request.responses[aliases.request_index(place)].text.as_str()));
    let asked = match &profile.user_message {
        Some(message) => message.fill(&request.principle, &request.prompt, shown),
        None => request_json(request, aliases),
    };
    let system = &profile.system_prompt;
    match profile.message_layout {
        _ if system.is_empty() => vec![Message { role: "user", content: asked }],
        MessageLayout::SystemUserJson => {
            vec![Message { role: "system", content: system.clone() }, Message { role: "user", content: asked }]
        }
        MessageLayout::UserJson => vec![Message { role: "user", content: format!("{system}\n\n{asked}") }],
    }
}

/// The JSON of what is judged, with a blank after each comma and colon.
fn request_json(request: &JudgeRequest, aliases: &AliasMap) -> String {
    let text: usize = request.responses.iter().map(|response| response.text.len() + 24).sum();
    let mut json = String::with_capacity(request.principle.len() + request.prompt.len() + text + 64);
    json.push_str("{\"principle\": ");
    push_string(&mut json, &request.principle);
    json.push_str(", \"prompt\": ");
    push_string(&mut json, &request.prompt);
    json.push_str(", \"responses\": {");
    for (place, shown) in aliases.shown().iter().enumerate() {
        if place > 0 {
            json.push_str(", ");
        }
        push_string(&mut json, shown);
        json.push_str(": ");
        push_string(&mut json, &request.responses[aliases.request_index(place)].text);
    }
    json.push_str("}}");
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mask;
    use crate::prompt::mask::mask;

    fn request() -> JudgeRequest {
        JudgeRequest::new(
            "be \"brief\"",
            "a\\b",
            [("x", "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}"), ("y", "\u{7f}é\u{2028}😀/")],
        )
    }

    fn content(profile: &Profile, mode: Mask) -> Vec<Message> {
        let request = request();
        let names = request.responses.iter().map(|response| response.name.clone()).collect();
        messages(profile, &request, &mask(names, &profile.alias_prefix, mode, 42))
    }

    #[test]
    fn the_json_is_pythons() {
        let messages = content(&Profile::builtin(), Mask::Given);
        assert_eq!(
            messages[1].content,
            "{\"principle\": \"be \\\"brief\\\"\", \"prompt\": \"a\\\\b\", \"responses\": {\"model-1\": \
             \"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\", \"model-2\": \"\u{7f}é\u{2028}😀/\"}}"
        );
        assert_eq!((messages[0].role, messages[1].role), ("system", "user"));
    }

    #[test]
    fn real_names_are_shown_where_nothing_is_masked() {
        let messages = content(&Profile::builtin(), Mask::Off);
        assert!(messages[1].content.contains("\"responses\": {\"x\": "));
    }

    #[test]
    fn layouts_place_the_system_prompt() {
        let mut profile = Profile::builtin();
        profile.system_prompt = "S".into();
        profile.message_layout = MessageLayout::UserJson;
        let one = content(&profile, Mask::Given);
        assert_eq!(one.len(), 1);
        assert!(one[0].content.starts_with("S\n\n{\"principle\""));
        profile.system_prompt.clear();
        for layout in [MessageLayout::UserJson, MessageLayout::SystemUserJson] {
            profile.message_layout = layout;
            let bare = content(&profile, Mask::Given);
            assert_eq!((bare.len(), bare[0].role), (1, "user"));
            assert!(bare[0].content.starts_with("{\"principle\""));
        }
    }
}
