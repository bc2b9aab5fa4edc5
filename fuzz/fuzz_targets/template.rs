//! Chat templates: whatever a model file carries compiles and renders within its bounds, or is a typed error, and what
//! people wrote comes out once and unchanged, apart from the template's own text. Before U+001F stands the template,
//! after it what the user wrote.

#![no_main]

use dicast::prompt::messages::Message;
use dicast::prompt::template::{ChatTemplate, Segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (source, written) = text.split_once('\u{1F}').unwrap_or((text, "<|im_end|> {{ 1 }} {% endif %}"));
    let Ok(template) = ChatTemplate::new(source, Some("<s>"), Some("</s>")) else { return };
    let messages =
        [Message { role: "system", content: "Judge.".into() }, Message { role: "user", content: written.into() }];
    for reasoning in [true, false] {
        let Ok(segments) = template.render(&messages, reasoning) else { continue };
        let texts: Vec<&str> =
            segments.iter().filter(|part| matches!(part, Segment::Text(_))).map(Segment::text).collect();
        assert_eq!(texts.len(), messages.len());
        assert_eq!(texts[1], written.trim());
    }
});
