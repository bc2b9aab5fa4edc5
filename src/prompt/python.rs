//! Reads a string constant from Python source without running it.
//!
//! It supports enough of the language to find a module-level assignment and to read string literals byte for byte; anything
//! else is an error, never a guess.

/// Deepest nesting of parentheses around a constant.
const MAX_DEPTH: u32 = 32;

/// The string that `source` assigns to `name` at module level, or `None` if there is no assignment.
///
/// It reads string literals with any quotes, raw or not, adjacent or added, in parentheses, with `.strip()`,
/// `.lstrip()` and `.rstrip()` after them.
///
/// # Errors
/// A message with the line, if the value is anything else or is assigned more than once.
pub(super) fn assigned_string(source: &str, name: &str) -> Result<Option<String>, String> {
    // Python reads every line end as one line feed, in literals too.
    let source = source.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = Reader { source: &source, at: 0 };
    let mut value = None;
    while reader.at < source.len() {
        let start = reader.at;
        if let Some(found) = reader.assignment(name).map_err(|what| format!("line {}: {what}", reader.line()))?
            && value.replace(found).is_some()
        {
            return Err(format!("line {}: {name} is assigned a second time", line_of(&source, start)));
        }
        reader.skip_statement();
    }
    Ok(value)
}

fn line_of(source: &str, at: usize) -> usize {
    source[..at].matches('\n').count() + 1
}

fn is_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn line(&self) -> usize {
        line_of(self.source, self.at)
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += letter.len_utf8();
        Some(letter)
    }

    fn take(&mut self, text: &str) -> bool {
        let there = self.rest().starts_with(text);
        if there {
            self.at += text.len();
        }
        there
    }

    /// Reads `name = <string>` or `name: type = <string>`, standing at the start of a statement.
    fn assignment(&mut self, name: &str) -> Result<Option<String>, String> {
        let start = self.at;
        if !self.take(name) || self.peek().is_some_and(is_name) {
            self.at = start;
            return Ok(None);
        }
        self.blanks(false);
        if self.rest().starts_with("+=") {
            return Err(format!("{name} is added to: only a plain string can be read"));
        }
        if self.take(":") {
            let line = self.rest().find('\n').unwrap_or(self.rest().len());
            let Some(equals) = self.rest()[..line].find('=') else {
                return Ok(None);
            };
            self.at += equals;
        }
        if self.rest().starts_with("==") || !self.take("=") {
            return Ok(None);
        }
        let value = self.sum(0)?;
        self.blanks(false);
        match self.peek() {
            None | Some('\n' | ';') => Ok(Some(value)),
            Some(other) => Err(format!("{name} is more than a plain string: {other:?} follows")),
        }
    }

    /// Literals and parentheses joined by `+`.
    fn sum(&mut self, depth: u32) -> Result<String, String> {
        let mut value = self.term(depth)?;
        loop {
            self.blanks(depth > 0);
            if !self.take("+") {
                return Ok(value);
            }
            value += &self.term(depth)?;
        }
    }

    /// Adjacent literals, or a sum in parentheses, and the methods called on it.
    fn term(&mut self, depth: u32) -> Result<String, String> {
        if depth > MAX_DEPTH {
            return Err("the parentheses nest too deep".into());
        }
        self.blanks(depth > 0);
        let mut value = if self.take("(") {
            let value = self.sum(depth + 1)?;
            self.blanks(true);
            if !self.take(")") {
                return Err("not a plain string: a closing parenthesis is expected".into());
            }
            value
        } else {
            let mut value = self.literal()?.ok_or("not a plain string: a string literal is expected")?;
            loop {
                let before = self.at;
                self.blanks(depth > 0);
                let Some(more) = self.literal()? else {
                    self.at = before;
                    break;
                };
                value += &more;
            }
            value
        };
        loop {
            let before = self.at;
            self.blanks(depth > 0);
            if self.take(".strip()") {
                value = value.trim_matches(is_python_space).to_owned();
            } else if self.take(".lstrip()") {
                value = value.trim_start_matches(is_python_space).to_owned();
            } else if self.take(".rstrip()") {
                value = value.trim_end_matches(is_python_space).to_owned();
            } else {
                self.at = before;
                return Ok(value);
            }
        }
    }

    /// One literal, or `None` if none begins.
    fn literal(&mut self) -> Result<Option<String>, String> {
        let letters = self.rest().find(['"', '\'']).filter(|&length| length <= 2);
        let Some(prefix) = letters.map(|length| &self.rest()[..length]) else { return Ok(None) };
        if !prefix.chars().all(|letter| letter.is_ascii_alphabetic()) {
            return Ok(None);
        }
        let raw = match prefix.to_ascii_lowercase().as_str() {
            "" | "u" => false,
            "r" => true,
            other => return Err(format!("a string with the prefix {other:?} is not a plain string")),
        };
        self.at += prefix.len();
        let quote = self.opening_quote();
        let mut value = String::new();
        loop {
            if self.take(quote) {
                return Ok(Some(value));
            }
            match self.next() {
                Some('\\') if raw => {
                    value.push('\\');
                    value.extend(self.next());
                }
                Some('\\') => self.escape(&mut value)?,
                Some('\n') if quote.len() == 1 => return Err("a string does not end on its line".into()),
                Some(letter) => value.push(letter),
                None => return Err("a string does not end".into()),
            }
        }
    }

    /// Takes the quote at this place: `"`, `'` or three of them.
    fn opening_quote(&mut self) -> &'a str {
        let quote = &self.rest()[..1];
        let tripled =
            self.rest().len() >= 3 && self.rest().as_bytes()[..3].iter().all(|byte| *byte == quote.as_bytes()[0]);
        let quote = if tripled { &self.rest()[..3] } else { quote };
        self.at += quote.len();
        quote
    }

    /// Reads the escape after a backslash.
    fn escape(&mut self, value: &mut String) -> Result<(), String> {
        let letter = self.next().ok_or("a string does not end")?;
        let plain = match letter {
            '\n' => return Ok(()),
            '\\' | '\'' | '"' => letter,
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'x' => self.code_point(2, 16)?,
            'u' => self.code_point(4, 16)?,
            'U' => self.code_point(8, 16)?,
            '0'..='7' => {
                self.at -= 1;
                let digits = self.rest().chars().take(3).take_while(|digit| digit.is_digit(8)).count();
                self.code_point(digits, 8)?
            }
            'N' => return Err("a character is given by its Unicode name (\\N): write the character itself".into()),
            other => {
                value.push('\\');
                other
            }
        };
        value.push(plain);
        Ok(())
    }

    /// The character whose number stands here in `digits` digits.
    fn code_point(&mut self, digits: usize, radix: u32) -> Result<char, String> {
        let number = self.rest().get(..digits).filter(|text| text.chars().all(|digit| digit.is_digit(radix)));
        let letter = number.and_then(|text| u32::from_str_radix(text, radix).ok()).and_then(char::from_u32);
        let letter = letter.ok_or("an escape does not give a character")?;
        self.at += digits;
        Ok(letter)
    }

    /// Skips blanks, comments, continued lines and, in parentheses, line ends.
    fn blanks(&mut self, line_ends: bool) {
        loop {
            match self.peek() {
                Some(' ' | '\t' | '\u{c}') => self.at += 1,
                Some('\n') if line_ends => self.at += 1,
                Some('\\') if self.rest().starts_with("\\\n") => self.at += 2,
                Some('#') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    /// Skips to the start of the next line that begins a statement.
    fn skip_statement(&mut self) {
        let mut depth = 0_u32;
        while let Some(letter) = self.next() {
            match letter {
                '\n' if depth == 0 => return,
                '\\' => {
                    self.next();
                }
                '#' => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                '(' | '[' | '{' => depth += 1,
                ')' | ']' | '}' => depth = depth.saturating_sub(1),
                '"' | '\'' => {
                    self.at -= 1;
                    self.skip_string();
                }
                _ => {}
            }
        }
    }

    /// Skips a string, whatever its prefix: a backslash keeps the next quote from ending it, in raw strings too.
    fn skip_string(&mut self) {
        let quote = self.opening_quote();
        while !self.take(quote) {
            match self.next() {
                Some('\\') => {
                    self.next();
                }
                Some('\n') if quote.len() == 1 => return,
                Some(_) => {}
                None => return,
            }
        }
    }
}

/// What Python's `str.strip` removes: white space, and the separators U+001C to U+001F.
fn is_python_space(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> Result<Option<String>, String> {
        assigned_string(source, "P")
    }

    #[track_caller]
    fn reads(source: &str, value: &str) {
        assert_eq!(read(source), Ok(Some(value.to_owned())), "{source}");
    }

    #[test]
    fn literals_are_read_to_the_byte() {
        reads("P = 'a\"b'", "a\"b");
        reads("P = \"\"\"\n a \"quoted\" 'b'\\\n c\n\"\"\"\n", "\n a \"quoted\" 'b' c\n");
        reads("P=''", "");
        reads("P = ''''a'\\''''", "'a''");
        reads(
            r#"P = "\a\b\f\n\r\t\v\\\'\"\x41\u00e9\U0001F600\101\0\08\q""#,
            "\u{7}\u{8}\u{c}\n\r\t\u{b}\\'\"Aé😀A\0\u{0}8\\q",
        );
        reads(r#"P = r"\n\"x""#, "\\n\\\"x");
        reads("P = R'''a\\\n'''", "a\\\n");
        reads("P = u'é'", "é");
        reads("P = '''a\r\nb\rc'''", "a\nb\nc");
    }

    #[test]
    fn literals_are_joined_as_python_joins_them() {
        reads("P = 'a' \"b\" r'\\c'", "ab\\c");
        reads("P = (  # why\n  'a'\n  # more\n  'b' + (\n'c')\n)\n", "abc");
        reads("P = 'a' \\\n 'b'", "ab");
        reads("P: str = ' a' ' b '.strip()", "a b");
        reads("P = ('\\x1c a ').lstrip().rstrip() + ' '", "a ");
        reads("P = 'a'; Q = 'b'", "a");
        reads("P = 'a'  # a comment with ' in it", "a");
    }

    #[test]
    fn only_the_assignment_at_module_level_counts() {
        let source = "\u{feff}'''\nP = 'in a docstring'\n'''\nPP = 'x'\n# P = 'in a comment'\ndef f(\nP='default'):\n    P = \
                      'local'\nx = {'a': 'it\\'s',\nP: 1}\nP = 'this'\nif P == 'y': pass\n";
        reads(source, "this");
        assert_eq!(read("Q = 'P'\nprint(P)\nP.x = 'a'\nP: str\n"), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_an_error_with_its_line() {
        for (source, what) in [
            ("\nP = f'{x}'", "line 2: a string with the prefix \"f\""),
            ("P = b'x'", "prefix \"b\""),
            ("P = other", "a string literal is expected"),
            ("P = 'a' % x", "'%' follows"),
            ("P = ('a', 'b')", "closing parenthesis"),
            ("P = 'a'.upper()", "'.' follows"),
            ("P = 'a'\nP += 'b'", "line 2: P is added to"),
            ("P = 'a'\n\nP = 'b'", "line 3: P is assigned a second time"),
            ("P = '\\N{DASH}'", "Unicode name"),
            ("P = '\\ud800'", "does not give a character"),
            ("P = '\\x4'", "does not give a character"),
            ("P = 'a\n'", "does not end on its line"),
            ("P = '''a", "does not end"),
            ("P = '", "does not end"),
        ] {
            let error = read(source).expect_err(source);
            assert!(error.contains(what), "{source}: {error}");
        }
        assert!(read(&format!("P = {}", "(".repeat(100_000))).is_err());
    }
}
