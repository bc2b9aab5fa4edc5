//! `dicast_aliases`: which response has which alias.

use std::mem::MaybeUninit;

use super::boundary::{array, given, misuse};
use super::error::dicast_error;
use super::text::{Text, dicast_str};
use crate::config::Mask;
use crate::error::{ErrorKind, Result};
use crate::prompt::mask::{self, AliasMap};

/// Aliases in an order shuffled by the seed, as Python's `random.seed(seed); random.shuffle(responses)` does it.
pub const DICAST_MASK_SHUFFLE: u32 = 0;
/// Aliases in the order given.
pub const DICAST_MASK_GIVEN: u32 = 1;
/// The names themselves in the order given.
pub const DICAST_MASK_OFF: u32 = 2;

/// Which response the judge sees under which name. Places are numbered from 0 in the order in which the judge sees the
/// responses.
///
/// You own it, until dicast_aliases_free; its texts live as long as it does. It never changes: any number of threads may
/// read it at once.
pub struct dicast_aliases {
    map: AliasMap,
    shown: Vec<Text>,
    names: Vec<Text>,
}

impl dicast_aliases {
    pub(super) fn new(map: AliasMap) -> Self {
        let (shown, names) = map.pairs().map(|(shown, name)| (Text::new(shown), Text::new(name))).unzip();
        Self { map, shown, names }
    }

    pub(super) fn get(&self) -> &AliasMap {
        &self.map
    }
}

/// Reads a list of names.
///
/// # Safety
/// `names` has `count` entries whose texts live during the call.
unsafe fn names_of(names: *const dicast_str, count: usize, what: &str) -> Result<Vec<String>> {
    // SAFETY: passed on.
    let names = unsafe { array(names, count, what)? };
    let text = |(index, name): (usize, &dicast_str)| {
        // SAFETY: passed on.
        unsafe { name.text(&format!("{what}[{index}]"), ErrorKind::InvalidRequest) }.map(str::to_owned)
    };
    names.iter().enumerate().map(text).collect()
}

/// Masks `count` names, given in the order of the request. Each gets an alias of `prefix` and a number from 1, such as
/// `model-1`, in the order that `mode` (DICAST_MASK_SHUFFLE, …) sets. Only the shuffle uses `seed`; the reference system's
/// is 42.
///
/// On success you own `*aliases`. DICAST_INVALID_REQUEST if there are no names or one is given twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_aliases_mask(
    names: *const dicast_str,
    count: usize,
    prefix: dicast_str,
    mode: u32,
    seed: u64,
    aliases: Option<&mut MaybeUninit<*mut dicast_aliases>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(aliases, "aliases")?;
        let mode = match mode {
            DICAST_MASK_SHUFFLE => Mask::Shuffle,
            DICAST_MASK_GIVEN => Mask::Given,
            DICAST_MASK_OFF => Mask::Off,
            other => return Err(misuse(format!("mode is {other}: it must be one of DICAST_MASK_…"))),
        };
        // SAFETY: the array has `count` entries, and the texts live during the call.
        let (names, prefix) =
            unsafe { (names_of(names, count, "names")?, prefix.text("prefix", ErrorKind::InvalidRequest)?) };
        mask::check_names(&names)?;
        out.write(Box::into_raw(Box::new(dicast_aliases::new(mask::mask(names, prefix, mode, seed)))));
        Ok(())
    })
}

/// The aliases of a judgment made elsewhere: `shown[i]` is the name that the judge saw at place i, `names[i]` is the real name.
/// If no name was hidden, pass the same array twice.
///
/// On success you own `*aliases`. DICAST_INVALID_REQUEST if there are no names or one is given twice.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dicast_aliases_of(
    shown: *const dicast_str,
    names: *const dicast_str,
    count: usize,
    aliases: Option<&mut MaybeUninit<*mut dicast_aliases>>,
    error: Option<&mut MaybeUninit<*mut dicast_error>>,
) -> i32 {
    boundary!(error; {
        let out = given(aliases, "aliases")?;
        // SAFETY: the arrays have `count` entries, and the texts live during the call.
        let (shown, names) = unsafe { (names_of(shown, count, "shown")?, names_of(names, count, "names")?) };
        mask::check_names(&shown)?;
        mask::check_names(&names)?;
        let order = (0..names.len()).collect();
        out.write(Box::into_raw(Box::new(dicast_aliases::new(AliasMap::new(names, shown, order)))));
        Ok(())
    })
}

/// Number of responses. 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_aliases_count(aliases: Option<&dicast_aliases>) -> usize {
    boundary!(else 0; { Some(aliases?.map.len()) })
}

/// The name that the judge sees at `place`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_aliases_shown(aliases: Option<&dicast_aliases>, place: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(aliases?.shown.get(place)?.view()) })
}

/// Your name of the response shown at `place`; `data` is NULL out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_aliases_name(aliases: Option<&dicast_aliases>, place: usize) -> dicast_str {
    boundary!(else dicast_str::NONE; { Some(aliases?.names.get(place)?.view()) })
}

/// The index, in the order of the names given, of the response shown at `place`; DICAST_NONE out of range.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_aliases_index(aliases: Option<&dicast_aliases>, place: usize) -> usize {
    boundary!(else usize::MAX; {
        let map = &aliases?.map;
        (place < map.len()).then(|| map.request_index(place))
    })
}

/// Frees aliases. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn dicast_aliases_free(aliases: Option<Box<dicast_aliases>>) {
    boundary!(else (); {
        drop(aliases);
        Some(())
    });
}
