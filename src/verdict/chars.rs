//! Characters as models vary them: blanks, full-width forms, quotes.

use std::borrow::Cow;

/// The digits zero of the scripts that have decimal digits of their own; the other nine follow each.
const ZEROS: &[u32] = &[
    0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6, 0x0E50,
    0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40, 0x1C50,
    0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0,
    0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x11730, 0x118E0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6,
    0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];
/// Numbers in circles and on black discs, from one on.
const CIRCLED: &[u32] = &[0x2460, 0x2776, 0x2780, 0x278A];

/// The ASCII form of a full-width character; any other is returned as it is.
pub(super) fn fold(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '、' => ',',
        _ => fold_script(c).unwrap_or(c),
    }
}

/// The ASCII form of a digit or separator of a non-Latin script.
pub(super) fn fold_script(c: char) -> Option<char> {
    if c < '\u{600}' {
        return None;
    }
    match c {
        '،' | '﹐' | '︐' => return Some(','),
        '؛' | '﹔' => return Some(';'),
        '٫' => return Some('.'),
        '٪' => return Some('%'),
        '﹕' | '︓' => return Some(':'),
        _ => {}
    }
    let code = u32::from(c);
    let of = |zero: &u32, first: u32| code.checked_sub(*zero).filter(|&digit| digit < 10 - first).map(|d| d + first);
    let circled = CIRCLED.iter().find_map(|one| of(one, 1));
    ZEROS.iter().find_map(|zero| of(zero, 0)).or(circled).and_then(|digit| char::from_digit(digit, 10))
}

/// Whether a character is invisible: marks of direction and of joining, variation selectors, tags, the frame of a
/// keycap.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}'
            | '\u{34F}'
            | '\u{61C}'
            | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}'
            | '\u{20E3}'
            | '\u{FE00}'..='\u{FE0F}'
            | '\u{FEFF}'
            | '\u{E0000}'..='\u{E01EF}'
    )
}

/// The text without invisible characters if `unseen` is set, and with digits and separators in ASCII if `digits` is
/// set. Also gives whether anything was dropped, and whether any digit or separator was changed to ASCII.
pub(super) fn plain(text: &str, unseen: bool, digits: bool) -> (Cow<'_, str>, bool, bool) {
    let dropped = |c: char| unseen && is_invisible(c);
    let folded = |c: char| if digits { fold_script(c) } else { None };
    let any = |test: &dyn Fn(char) -> bool| !text.is_ascii() && text.chars().any(test);
    let (drops, folds) = (any(&dropped), any(&|c| folded(c).is_some()));
    if !drops && !folds {
        return (Cow::Borrowed(text), false, false);
    }
    let plain = text.chars().filter(|&c| !dropped(c)).map(|c| folded(c).unwrap_or(c)).collect();
    (Cow::Owned(plain), drops, folds)
}

/// Whether a character belongs to a script that is written without blanks between words.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}' | '\u{F900}'..='\u{FAFF}' | '\u{E00}'..='\u{E7F}' | '\u{20000}'..='\u{2FFFF}')
}

/// Whether a character takes up room and carries no meaning: white space, zero-width characters, control characters.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{FEFF}' | '\u{200B}'..='\u{200F}' | '\u{2060}')
}

/// Length in bytes of the blanks at the start of a text.
pub(super) fn blank_prefix(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte > 0x20 && byte < 0x7F {
            return at;
        }
        if byte < 0x80 {
            at += 1;
            continue;
        }
        match text[at..].chars().next() {
            Some(c) if is_blank(c) => at += c.len_utf8(),
            _ => return at,
        }
    }
    at
}

/// The text without the blanks at its start.
pub(super) fn trim_blank_start(text: &str) -> &str {
    &text[blank_prefix(text)..]
}

/// The greatest character boundary of `text` that is not past `at`.
pub(super) fn floor_boundary(text: &str, at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    (0..=at).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0)
}

/// A kind of quotation mark that may open a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quote {
    Double,
    Single,
    Backtick,
    TypographicDouble,
    TypographicSingle,
    Angled,
}

impl Quote {
    pub(super) const COUNT: usize = 6;

    pub(super) fn of(c: char) -> Option<Self> {
        match c {
            '"' | '\u{FF02}' => Some(Self::Double),
            '\'' | '\u{FF07}' => Some(Self::Single),
            '`' => Some(Self::Backtick),
            '“' | '”' | '„' | '‟' => Some(Self::TypographicDouble),
            '‘' | '’' | '‚' => Some(Self::TypographicSingle),
            '«' | '»' | '「' | '」' | '『' | '』' => Some(Self::Angled),
            _ => None,
        }
    }

    /// Whether a character ends a string that this one opened.
    pub(super) fn closes(self, c: char) -> bool {
        match Self::of(c) {
            Some(Self::TypographicSingle | Self::Single) if self == Self::TypographicSingle => true,
            Some(Self::TypographicDouble | Self::Double) if self == Self::TypographicDouble => true,
            Some(kind) => kind == self,
            None => false,
        }
    }
}

/// Whether a line holds a number and no word.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.trim_start_matches(|c: char| is_blank(c) || matches!(fold(c), ':' | '='));
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '.' | '/')) && !text.contains(char::is_alphabetic)
}
