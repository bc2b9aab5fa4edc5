//! `dicast_profile`: how one judge model must be prompted and read, for programs with their own engine.

use std::mem::MaybeUninit;
use std::path::Path;

use super::boundary::given;
use super::error::dicast_error;
use super::text::{Text, dicast_str};
use crate::error::{ErrorKind, Result};
use crate::prompt::import::import;
use crate::prompt::profile::Profile;

/// How one judge model must be prompted, and how its output is read: system prompt, message layout, score scale, form of the
/// verdict.
///
/// You own it, until dicast_profile_free. It never changes: any number of threads may use it at once.
pub struct dicast_profile {
    profile: Profile,
    json: Text,
}

impl dicast_profile {
    fn give(profile: Profile) -> *mut Self {
        let json = Text::new(&profile.to_json());
        Box::into_raw(Box::new(Self { profile, json }))
    }

    pub(super) fn get(&self) -> &Profile {
        &self.profile
    }
}

/// The profile of a general instruction-following model. On success you own `*profile`.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_profile_builtin(
    profile: Option<&mut MaybeUninit<*mut dicast_profile>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        given(profile, "profile")?.write(dicast_profile::give(Profile::builtin()));
        Ok(())
    })
}

/// Makes a profile from a text and hands it out. A NULL out-pointer is reported before invalid text.
fn read(
    profile: Option<&mut MaybeUninit<*mut dicast_profile>>,
    text: Result<&str>,
    make: impl FnOnce(&str) -> Result<Profile>,
) -> Result<()> {
    let out = given(profile, "profile")?;
    out.write(dicast_profile::give(make(text?)?));
    Ok(())
}

/// Reads a profile from JSON. On success you own `*profile`; DICAST_INVALID_PROFILE names what is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_profile_from_json(
    json: dicast_str,
    profile: Option<&mut MaybeUninit<*mut dicast_profile>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the text lives during the call.
        read(profile, unsafe { json.text("json", ErrorKind::InvalidProfile) }, Profile::from_json)
    })
}

/// Reads a profile from a file. On success you own `*profile`; DICAST_INVALID_PROFILE names what is wrong.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_profile_load(
    path: dicast_str,
    profile: Option<&mut MaybeUninit<*mut dicast_profile>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the text lives during the call.
        read(profile, unsafe { path.text("path", ErrorKind::InvalidProfile) }, |path| Profile::load(Path::new(path)))
    })
}

/// Makes the profile of RewardAnything: reads the system prompt of its training from the Python package `rewardanything`, a
/// wheel or a `.py` file at `path`. No code of it is run. Save the text of dicast_profile_json beside the model as
/// `<model without .gguf>.profile.json`; dicast_judge_open then uses it.
///
/// On success you own `*profile`. DICAST_IO if the file cannot be read, DICAST_INVALID_PROFILE if it has no such
/// prompt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_profile_import(
    path: dicast_str,
    profile: Option<&mut MaybeUninit<*mut dicast_profile>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        // SAFETY: the text lives during the call.
        read(profile, unsafe { path.text("path", ErrorKind::InvalidProfile) }, |path| import(Path::new(path)))
    })
}

/// The profile as JSON. Lives as long as the profile.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_profile_json(profile: Option<&dicast_profile>) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(profile?.json.view()) })
}

/// Frees a profile. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_profile_free(profile: Option<Box<dicast_profile>>) {
    boundary!(else (); {
        drop(profile);
        Some(())
    });
}
