//! `dicast_prompt`: the messages of a judgment, for programs with their own engine.

use std::mem::MaybeUninit;

use super::aliases::dicast_aliases;
use super::boundary::given;
use super::error::dicast_error;
use super::profile::dicast_profile;
use super::request::dicast_request;
use super::text::{Text, dicast_str};
use crate::config::{Limits, MAX_RESPONSES};
use crate::prompt;

/// The messages that a judge reads for one request, before a chat template, and the aliases of its responses.
///
/// You own it, until dicast_prompt_free; its texts live as long as it does. It never changes: any number of threads may read
/// it at once.
pub struct dicast_prompt {
    messages: Vec<(Text, Text)>,
    aliases: dicast_aliases,
}

/// Builds the messages of a request as a judge of `profile` was trained to read them. Of the options only `mask` and
/// `mask_seed` matter here; those of the request override those of the profile.
///
/// On success you own `*prompt`. DICAST_INVALID_REQUEST, DICAST_TOO_LARGE (more than 64 responses, 1 GiB of text).
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_new(
    profile: Option<&dicast_profile>,
    request: Option<&dicast_request>,
    prompt: Option<&mut MaybeUninit<*mut dicast_prompt>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let (profile, request) = (given(profile, "profile")?.get(), given(request, "request")?.get());
        let out = given(prompt, "prompt")?;
        request.check(&Limits { max_responses: MAX_RESPONSES, max_request_bytes: 1 << 30, ..Limits::default() })?;
        let settings = request.options.or(&profile.decoding).resolve_request()?;
        let (messages, aliases) = prompt::masked_messages(profile, request, &settings);
        let messages =
            messages.iter().map(|message| (Text::new(message.role), Text::from(&message.content))).collect();
        out.write(Box::into_raw(Box::new(dicast_prompt { messages, aliases: dicast_aliases::new(aliases) })));
        Ok(())
    })
}

/// Number of messages: 1 or 2. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_count(prompt: Option<&dicast_prompt>) -> usize {
    boundary!(else 0; { Some(prompt?.messages.len()) })
}

/// The role of the message at `index`: `system` or `user`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_role(prompt: Option<&dicast_prompt>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(prompt?.messages.get(index)?.0.view()) })
}

/// The text of the message at `index`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_content(prompt: Option<&dicast_prompt>, index: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(prompt?.messages.get(index)?.1.view()) })
}

/// The aliases of the prompt, which dicast_parse needs to read the answer. They belong to the prompt: do not free them.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_aliases(prompt: Option<&dicast_prompt>) -> *const dicast_aliases {
    boundary!(else std::ptr::null(); { Some(&raw const prompt?.aliases) })
}

/// Frees a prompt and its aliases. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_prompt_free(prompt: Option<Box<dicast_prompt>>) {
    boundary!(else (); {
        drop(prompt);
        Some(())
    });
}
