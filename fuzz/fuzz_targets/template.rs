//! Chat templates: any template compiles and renders within its limits, or gives a typed error; the user's text appears
//! once, unchanged, and separate from the text of the template. The input is the template, U+001F, and the user's text.

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
