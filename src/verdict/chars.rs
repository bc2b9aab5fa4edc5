//! Characters as models vary them: blanks, full-width forms, quotes.

/// The ASCII form of a full-width character; any other is returned as it is.
pub(super) fn fold(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        '、' => ',',
        _ => c,
    }
}

/// Whether a character takes room and says nothing: white space, zero-width characters, control characters.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{FEFF}' | '\u{200B}'..='\u{200D}' | '\u{2060}')
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
