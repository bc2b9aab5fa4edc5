//! `dicast_settings`: configurations and options without hand-written JSON.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use serde_json::{Map, Number, Value};

use super::boundary::{array_mut, given, misuse};
use super::error::dicast_error;
use super::text::{Text, dicast_str};
use crate::config::JudgeConfig;
use crate::error::{Error, ErrorKind, Result};

/// A configuration or the options of a request, setting by setting. The other calls take its JSON.
///
/// Settings have the names of the documentation: `local.threads`, `options.temperature`, `profile`; in options of a request
/// without the section: `temperature`. Name, type and range are checked when a setting is set. Setting it again replaces the
/// value. Numbers are written the same in every locale.
///
/// You own it, until dicast_settings_free. Any number of threads may read one at once while none changes it.
pub struct dicast_settings {
    /// Whether these are the options of a request.
    of_request: bool,
    values: Map<String, Value>,
    json: OnceLock<Text>,
}

impl dicast_settings {
    fn give(of_request: bool, values: Map<String, Value>) -> *mut Self {
        Box::into_raw(Box::new(Self { of_request, values, json: OnceLock::new() }))
    }

    fn set(&mut self, name: &str, value: Value) -> Result<()> {
        let full = if self.of_request { format!("options.{name}") } else { name.to_owned() };
        let (section, key) = JudgeConfig::check_setting(&full, &value)?;
        let place = match section.filter(|_| !self.of_request) {
            None => &mut self.values,
            Some(section) => {
                let place = self.values.entry(section).or_insert_with(|| Map::new().into());
                place.as_object_mut().ok_or_else(|| misuse("a section is no object"))?
            }
        };
        place.insert(key.to_owned(), value);
        self.json = OnceLock::new();
        Ok(())
    }
}

/// Sets a value, or returns the error instead of it.
///
/// # Safety
/// The text lives during the call.
unsafe fn set(settings: Option<&mut dicast_settings>, name: dicast_str, value: Result<Value>) -> Result<()> {
    let settings = given(settings, "settings")?;
    // SAFETY: passed on.
    settings.set(unsafe { name.text("name", ErrorKind::InvalidConfig)? }, value?)
}

/// Begins a configuration for a model, for dicast_judge_open.
///
/// On success you own `*settings`. DICAST_INVALID_CONFIG if the text is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_new(
    model: dicast_str,
    settings: Option<&mut MaybeUninit<*mut dicast_settings>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(settings, "settings")?;
        // SAFETY: the text lives during the call.
        let model = unsafe { model.text("model", ErrorKind::InvalidConfig)? };
        out.write(dicast_settings::give(false, Map::from_iter([("model".to_owned(), model.into())])));
        Ok(())
    })
}

/// Begins the options of a request, for dicast_request_set_options and every `options_json`.
///
/// On success you own `*settings`.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_settings_new_options(
    settings: Option<&mut MaybeUninit<*mut dicast_settings>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given(settings, "settings")?.write(dicast_settings::give(true, Map::new()));
        Ok(())
    })
}

/// Frees settings. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_settings_free(settings: Option<Box<dicast_settings>>) {
    boundary!(else (); {
        drop(settings);
        Some(())
    });
}

/// Sets a whole number or a number: `local.threads`, `options.temperature`. DICAST_INVALID_CONFIG names the setting and what it must
/// be; nothing is changed then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_set_int(
    settings: Option<&mut dicast_settings>,
    name: dicast_str,
    value: i64,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    // SAFETY: the text lives during the call.
    boundary!(error; { unsafe { set(settings, name, Ok(value.into())) } })
}

/// Sets a number: `options.temperature`. As dicast_settings_set_int; NaN and infinity are refused.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_set_number(
    settings: Option<&mut dicast_settings>,
    name: dicast_str,
    value: f64,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let number = Number::from_f64(value).map(Value::from);
        let number = number.ok_or_else(|| Error::new(ErrorKind::InvalidConfig, format!("{value} is not a number in JSON")));
        // SAFETY: the text lives during the call.
        unsafe { set(settings, name, number) }
    })
}

/// Sets a switch: `options.guided`. As dicast_settings_set_int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_set_bool(
    settings: Option<&mut dicast_settings>,
    name: dicast_str,
    value: bool,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    // SAFETY: the text lives during the call.
    boundary!(error; { unsafe { set(settings, name, Ok(value.into())) } })
}

/// Sets a text, a path or a word: `profile`, `options.mask`. As dicast_settings_set_int. The text is escaped for JSON.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_set_text(
    settings: Option<&mut dicast_settings>,
    name: dicast_str,
    value: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the texts live during the call.
        unsafe { set(settings, name, value.text("value", ErrorKind::InvalidConfig).map(Value::from)) }
    })
}

/// Sets any value, given as JSON: lists such as `remote.api_keys`, objects such as `template_variables`, `null` for "not set". As
/// dicast_settings_set_int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_settings_set_json(
    settings: Option<&mut dicast_settings>,
    name: dicast_str,
    json: dicast_str,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the texts live during the call.
        unsafe {
            let value = json.text("json", ErrorKind::InvalidConfig).and_then(|json| {
                crate::json::read(json.as_bytes())
                    .map_err(|error| Error::new(ErrorKind::InvalidConfig, format!("the value is not JSON: {error}")))
            });
            set(settings, name, value)
        }
    })
}

/// The settings as JSON. Lives until the settings are changed or freed.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_settings_json(settings: Option<&dicast_settings>) -> dicast_str {
    boundary!(else dicast_str::NONE; {
        let settings = settings?;
        let text = || Text::new(&Value::from(settings.values.clone()).to_string());
        Some(settings.json.get_or_init(text).view())
    })
}

/// Writes a text as a JSON string, with quotation marks and a zero byte at the end, into `buffer`, which has `size` bytes. `*len`
/// becomes the number of bytes without the zero byte. With a `size` of 0, `buffer` may be NULL: only `*len` is written.
///
/// DICAST_TOO_LARGE if it does not fit: nothing is written then. DICAST_INVALID_ARGUMENT if the text is not UTF-8. Any thread, at
/// any time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_json_quote(
    text: dicast_str,
    buffer: *mut c_char,
    size: usize,
    len: Option<&mut MaybeUninit<usize>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let len = given(len, "len")?;
        // SAFETY: the text lives during the call.
        let quoted = Value::from(unsafe { text.text("text", ErrorKind::InvalidArgument)? }).to_string();
        if size > 0 {
            // SAFETY: the buffer has `size` bytes, which are the caller's.
            let buffer = unsafe { array_mut(buffer.cast::<u8>(), size, "buffer")? };
            if quoted.len() >= size {
                return Err(Error::new(
                    ErrorKind::TooLarge,
                    format!("the buffer has {size} bytes, but {} are needed", quoted.len() + 1),
                ));
            }
            for (place, byte) in buffer.iter_mut().zip(quoted.bytes().chain([0])) {
                place.write(byte);
            }
        }
        len.write(quoted.len());
        Ok(())
    })
}
