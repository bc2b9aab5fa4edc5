//! Reading JSON into structs, with fields by name only.
//!
//! Serde's derive also reads a struct from an array, field by field in the order of the source code. So `[0.5, 1]` would be
//! sampling options, and could mean something else in the next release. Here a struct at any depth must be an object.

use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess,
};

/// Reads a value from JSON text. A struct at any depth must be an object; an array in its place is an error.
///
/// # Errors
/// Those of `serde_json`, with line and column.
pub fn read<T: DeserializeOwned + Send>(json: &[u8]) -> serde_json::Result<T> {
    with_room(json, || {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = T::deserialize(Named(&mut reader))?;
        reader.end()?;
        Ok(value)
    })
}

/// Nesting up to this depth is read on any stack.
const SHALLOW: usize = 16;

/// Reads JSON when the caller's stack may be small: each of the 128 levels of nesting that are allowed takes some hundred bytes.
pub(crate) fn with_room<T: Send>(
    json: &[u8],
    read: impl FnOnce() -> serde_json::Result<T> + Send,
) -> serde_json::Result<T> {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in json {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => continue,
        }
        deepest = deepest.max(depth);
    }
    if deepest <= SHALLOW {
        return read();
    }
    crate::thread::on_stack(crate::thread::ROOMY, read)
        .unwrap_or_else(|error| Err(de::Error::custom(format!("there is no thread to read it on: {error}"))))
}

/// Appends a text as a JSON string.
///
/// What is escaped is what `serde_json` and Python's `json.dumps(..., ensure_ascii=False)` escape: quote, backslash, and the
/// characters under U+0020, those by `\b \t \n \f \r` or four lower-case hex digits; all else stays as it is, U+007F too. Unlike
/// `serde_json` it appends to a string: every judgment writes some of them.
pub(crate) fn push_string(json: &mut String, text: &str) {
    /// So many bytes are looked at together, which compilers turn into a few instructions.
    const TOGETHER: usize = 32;
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    let bytes = text.as_bytes();
    json.reserve(text.len() + 2);
    json.push('"');
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        if let Some(chunk) = bytes[at..].first_chunk::<TOGETHER>()
            && !chunk.iter().fold(false, |any, &byte| any | special(byte))
        {
            at += TOGETHER;
            continue;
        }
        let until = bytes.len().min(at + TOGETHER);
        while at < until {
            let byte = bytes[at];
            if special(byte) {
                json.push_str(&text[done..at]);
                done = at + 1;
                json.push('\\');
                match byte {
                    b'"' | b'\\' => json.push(char::from(byte)),
                    0x08 => json.push('b'),
                    b'\t' => json.push('t'),
                    b'\n' => json.push('n'),
                    0x0c => json.push('f'),
                    b'\r' => json.push('r'),
                    _ => {
                        json.push_str(if byte < 0x10 { "u000" } else { "u001" });
                        json.push(char::from(b"0123456789abcdef"[usize::from(byte % 16)]));
                    }
                }
            }
            at += 1;
        }
    }
    json.push_str(&text[done..]);
    json.push('"');
}

/// A deserializer, visitor, seed or access whose structs are read only from objects.
struct Named<T>(T);

/// Methods of a deserializer that only pass a wrapped visitor on.
macro_rules! hand_on {
    ($($method:ident)*) => {
        $(fn $method<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.0.$method(Named(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Named<D> {
    type Error = D::Error;

    hand_on! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_seq deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_struct<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Fields { visitor, fields })
    }

    fn deserialize_unit_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, Named(visitor))
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, Named(visitor))
    }

    fn deserialize_tuple<V: de::Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, Named(visitor))
    }

    fn deserialize_tuple_struct<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, Named(visitor))
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, Named(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

/// The visitor of a struct, which takes an object and nothing else.
struct Fields<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: de::Visitor<'de>> de::Visitor<'de> for Fields<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name is enough to show what kind of object it is.
        match self.fields {
            [] => formatter.write_str("an object"),
            [first] => write!(formatter, "an object with the key {first:?}"),
            [first, second] => write!(formatter, "an object with keys such as {first:?} and {second:?}"),
            [first, second, third, ..] => {
                write!(formatter, "an object with keys such as {first:?}, {second:?} and {third:?}")
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.visitor.visit_map(Named(map))
    }
}

/// Methods of a visitor that only pass a plain value on.
macro_rules! plain {
    ($($method:ident: $type:ty,)*) => {
        $(fn $method<E: de::Error>(self, value: $type) -> Result<Self::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: de::Visitor<'de>> de::Visitor<'de> for Named<V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(formatter)
    }

    plain! {
        visit_bool: bool, visit_i8: i8, visit_i16: i16, visit_i32: i32, visit_i64: i64, visit_i128: i128, visit_u8: u8,
        visit_u16: u16, visit_u32: u32, visit_u64: u64, visit_u128: u128, visit_f32: f32, visit_f64: f64,
        visit_char: char, visit_str: &str, visit_borrowed_str: &'de str, visit_string: String, visit_bytes: &[u8],
        visit_borrowed_bytes: &'de [u8], visit_byte_buf: Vec<u8>,
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        self.0.visit_none()
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        self.0.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        self.0.visit_some(Named(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        self.0.visit_newtype_struct(Named(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        self.0.visit_seq(Named(seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        self.0.visit_map(Named(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Self::Value, A::Error> {
        self.0.visit_enum(Named(data))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Named<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(Named(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(Named(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(Named(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(Named(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for Named<A> {
    type Error = A::Error;
    type Variant = Named<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.0.variant_seed(Named(seed))?;
        Ok((value, Named(variant)))
    }
}

/// Reads the fields of a variant as those of a struct.
struct Variant<V> {
    visitor: V,
    fields: &'static [&'static str],
}

impl<'de, V: de::Visitor<'de>> DeserializeSeed<'de> for Variant<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Named(deserializer).deserialize_struct("", self.fields, self.visitor)
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Named<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(Named(seed))
    }

    fn tuple_variant<V: de::Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, Named(visitor))
    }

    fn struct_variant<V: de::Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.newtype_variant_seed(Variant { visitor, fields })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::{JudgeConfig, JudgeRequest, Options, Profile};

    #[test]
    fn numbers_are_read_to_the_last_digit() {
        // Bits of all kinds, by a multiplicative generator.
        let mut bits = 1_u64;
        for _ in 0..20_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            for number in [f64::from_bits(bits), f64::from_bits(0x3fe0_0000_0000_0000 | bits >> 12)] {
                if number.is_finite() {
                    let text = serde_json::to_string(&number).unwrap();
                    assert_eq!(read::<f64>(text.as_bytes()).unwrap().to_bits(), number.to_bits(), "{text}");
                }
            }
        }
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        a: u8,
        b: Option<Box<Inner>>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Unit,
        One(Inner),
        Two(u8, u8),
        Named { inner: Inner },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        list: Vec<Inner>,
        map: BTreeMap<String, Inner>,
        pair: (u8, Inner),
        choice: Vec<Choice>,
    }

    const WHOLE: &str = r#"{"list": [{"a": 1, "b": {"a": 2, "b": null}}], "map": {"x": {"a": 3}}, "pair": [4, {"a": 5}],
        "choice": ["unit", {"one": {"a": 6}}, {"two": [7, 8]}, {"named": {"inner": {"a": 9}}}]}"#;

    #[test]
    fn a_string_is_written_as_by_serde_json() {
        let every: String = (0..=0x2ff_u32).filter_map(char::from_u32).collect();
        let mut texts = vec![every.clone(), "x".repeat(200), "\u{2028}😀é\"".repeat(20)];
        // Each character at each place of a piece that is looked at together.
        for special in every.chars().take(0x80) {
            texts.extend((0..40).map(|place| format!("{}{special}{}", "é".repeat(place), "a".repeat(40 - place))));
        }
        for text in texts {
            let mut json = String::from("[");
            push_string(&mut json, &text);
            assert_eq!(json, format!("[{}", serde_json::Value::from(text.as_str())));
        }
    }

    #[test]
    fn objects_are_read_as_by_serde_json() {
        assert_eq!(read::<Outer>(WHOLE.as_bytes()).unwrap(), serde_json::from_str(WHOLE).unwrap());
        let value: serde_json::Value = read(WHOLE.as_bytes()).unwrap();
        assert_eq!(value, serde_json::from_str::<serde_json::Value>(WHOLE).unwrap());
        assert!(read::<Inner>(br#"{"a": 1} x"#).unwrap_err().to_string().contains("trailing characters"));
        assert!(read::<Inner>(br#"{"a": 1, "a": 2}"#).unwrap_err().to_string().contains("duplicate field"));
    }

    #[test]
    fn an_array_is_no_struct_at_any_depth() {
        for (object, array) in [
            (r#"{"a": 1, "b": {"a": 2, "b": null}}"#, r"[1, null]"),
            (r#"{"a": 2, "b": null}"#, r"[2, null]"),
            (r#"{"a": 3}"#, r"[3, null]"),
            (r#"{"a": 5}"#, r"[5, null]"),
            (r#"{"a": 6}"#, r"[6, null]"),
            (r#"{"a": 9}"#, r"[9, null]"),
            (r#"{"inner": {"a": 9}}"#, r#"[{"a": 9}]"#),
        ] {
            let json = WHOLE.replacen(object, array, 1);
            assert_ne!(json, WHOLE, "{object}");
            assert!(serde_json::from_str::<Outer>(&json).is_ok(), "serde_json alone reads {json}");
            let error = read::<Outer>(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("invalid type: sequence, expected an object with"), "{error}");
        }
    }

    #[test]
    fn nothing_that_is_read_takes_an_array_for_a_struct() {
        let options = format!("[{}]", vec!["null"; Options::ROWS.len()].join(", "));
        for config in [
            r#"["judge.gguf"]"#.to_owned(),
            format!(r#"{{"model": "judge.gguf", "options": {options}}}"#),
            r#"{"model": "judge.gguf", "limits": [1, 1, 1]}"#.to_owned(),
            r#"{"model": "judge.gguf", "local": [0, 1, 0, 32, 16, 1, 0]}"#.to_owned(),
            r#"{"model": "judge.gguf", "verdict": ["error", true]}"#.to_owned(),
            r#"{"model": "judge.gguf", "trtllm": [0.5]}"#.to_owned(),
        ] {
            let error = JudgeConfig::from_json(&config).unwrap_err();
            assert!(error.message().contains("expected an object"), "{config}: {error}");
        }
        for request in [
            r#"["Be short.", "Hi", {"a": "Hello"}, null, {}]"#.to_owned(),
            format!(r#"{{"principle": "p", "prompt": "q", "responses": {{"a": "b"}}, "options": {options}}}"#),
        ] {
            let error = JudgeRequest::from_json(request.as_bytes()).unwrap_err();
            assert!(error.message().contains("expected an object"), "{request}: {error}");
        }
        // A list is a conversation, whose turns are objects.
        let request = r#"{"principle": "p", "prompt": "q", "responses": [["a", "b"]]}"#;
        let error = JudgeRequest::from_json(request.as_bytes()).unwrap_err();
        assert!(error.message().contains("a conversation is a list of"), "{error}");
        let profile = Profile::builtin().to_json();
        for (key, array) in [("scale", "[1, 5]"), ("decoding", "[0.5]"), ("verdict", r#"["", ""]"#)] {
            let mut value: serde_json::Value = serde_json::from_str(&profile).unwrap();
            value[key] = serde_json::from_str(array).unwrap();
            let error = Profile::from_json(&value.to_string()).unwrap_err();
            assert!(error.message().contains("expected an object"), "{key}: {error}");
        }
    }
}
