//! `dicast_request`: what to judge.

use std::mem::MaybeUninit;

use super::boundary::given;
use super::error::dicast_error;
use super::text::dicast_str;
use crate::config::Options;
use crate::error::{Error, ErrorKind};
use crate::request::{JudgeRequest, Response};

/// What to judge: a principle, a prompt, responses in order, options.
///
/// You own it, until dicast_request_free. The library copies it and does not keep it: you may change it, use it again or
/// free it as soon as a call returns. Any number of threads may use one request at once while none changes it.
pub struct dicast_request(JudgeRequest);

impl dicast_request {
    pub(super) fn get(&self) -> &JudgeRequest {
        &self.0
    }
}

/// Makes a request without responses: the principle to judge by, in plain language, and the prompt that the responses answer.
///
/// On success you own `*request`. DICAST_INVALID_REQUEST if a text is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_request_new(
    principle: dicast_str,
    prompt: dicast_str,
    request: Option<&mut MaybeUninit<*mut dicast_request>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(request, "request")?;
        // SAFETY: the texts live during the call.
        let (principle, prompt) = unsafe {
            (principle.text("principle", ErrorKind::InvalidRequest)?, prompt.text("prompt", ErrorKind::InvalidRequest)?)
        };
        let made = JudgeRequest { principle: principle.into(), prompt: prompt.into(), ..JudgeRequest::default() };
        out.write(Box::into_raw(Box::new(dicast_request(made))));
        Ok(())
    })
}

/// Makes a request from JSON: `{"principle", "prompt", "responses": {name: text, …}, "rubric"?, "mask_responses"?,
/// "options"?}`. The order of the responses is kept.
///
/// On success you own `*request`. DICAST_INVALID_REQUEST names the line, the column and what is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_request_from_json(
    json: dicast_str,
    request: Option<&mut MaybeUninit<*mut dicast_request>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(request, "request")?;
        // SAFETY: the text lives during the call.
        let made = JudgeRequest::from_json(unsafe { json.bytes("json")? })?;
        out.write(Box::into_raw(Box::new(dicast_request(made))));
        Ok(())
    })
}

/// Adds a response. `name` is your name for it and must be unique within the request; this is checked when the request is
/// judged. The judge does not see the name. Either text may be empty.
///
/// DICAST_INVALID_REQUEST if a text is not UTF-8; the request is then unchanged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_request_add(
    request: Option<&mut dicast_request>,
    name: dicast_str,
    text: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let request = given(request, "request")?;
        // SAFETY: the texts live during the call.
        let (name, text) = unsafe {
            (name.text("name", ErrorKind::InvalidRequest)?, text.text("text", ErrorKind::InvalidRequest)?)
        };
        request.0.responses.push(Response { name: name.into(), text: text.into() });
        Ok(())
    })
}

/// Sets the options of this request, and drops those set before: `{"temperature": 0.6, "seed": 7, "timeout_ms": 30000, …}`.
/// Options that are not set have the values of the judge's configuration. An empty text sets no option.
///
/// DICAST_INVALID_REQUEST for an unknown key; the request is then unchanged. Ranges are checked when it is judged.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_request_set_options(
    request: Option<&mut dicast_request>,
    options_json: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let request = given(request, "request")?;
        // SAFETY: the text lives during the call.
        request.0.options = unsafe { options(options_json)? };
        Ok(())
    })
}

/// Reads the options of a request; none for empty text.
///
/// # Safety
/// The text lives during the call.
pub(super) unsafe fn options(json: dicast_str) -> crate::Result<Options> {
    // SAFETY: passed on.
    let json = unsafe { json.text("options_json", ErrorKind::InvalidRequest)? };
    if json.is_empty() {
        return Ok(Options::default());
    }
    crate::json::read(json.as_bytes())
        .map_err(|error| Error::new(ErrorKind::InvalidRequest, format!("the options are not valid: {error}")))
}

/// Frees a request. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_request_free(request: Option<Box<dicast_request>>) {
    boundary!(else (); {
        drop(request);
        Some(())
    });
}
