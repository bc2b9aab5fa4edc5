//! The fast path: an answer in exactly the profile's layout, as a guided judge writes it, needs no tolerant reading.
//! Names count exactly as written, even names that no tolerant reader could tell apart.

use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::prompt::mask::AliasMap;
use crate::prompt::profile::Profile;

/// JSON as far as a clean verdict needs it, with keys in order and equal keys kept.
enum Node {
    Object(Vec<(String, Node)>),
    Array(Vec<Node>),
    Number(f64),
    Text(String),
}

/// Scores and ranking by place in the order shown; the ranking is `None` if the answer ranks no response. The result is
/// `None` if the answer is anything but a clean verdict with all scores and a ranking that names all responses or none.
pub(super) fn read(answer: &str, names: &AliasMap, profile: &Profile) -> Option<(Vec<f64>, Option<Vec<usize>>)> {
    let (scores_key, ranking_key) = keys(&profile.verdict.layout)?;
    let Node::Object(entries) = serde_json::from_str(answer).ok()? else { return None };
    let [(first, Node::Object(written)), (second, Node::Array(order))] = <[_; 2]>::try_from(entries).ok()? else {
        return None;
    };
    let ranks = !order.is_empty();
    if first != scores_key
        || second != ranking_key
        || written.len() != names.len()
        || (ranks && order.len() != names.len())
    {
        return None;
    }
    let places: HashMap<&str, usize> = names.shown().iter().map(String::as_str).zip(0..).collect();
    let mut scores = vec![None; names.len()];
    for (name, score) in written {
        let Node::Number(score) = score else { return None };
        let place = &mut scores[*places.get(name.as_str())?];
        if place.is_some() || !profile.scale.contains(score) {
            return None;
        }
        *place = Some(score);
    }
    let mut ranked = vec![false; names.len()];
    let mut ranking = Vec::with_capacity(names.len());
    for name in order {
        let Node::Text(name) = name else { return None };
        let place = *places.get(name.as_str())?;
        if std::mem::replace(&mut ranked[place], true) {
            return None;
        }
        ranking.push(place);
    }
    Some((scores.into_iter().collect::<Option<_>>()?, ranks.then_some(ranking)))
}

/// The keys of scores and ranking in a layout that is JSON with nothing else in it.
fn keys(layout: &str) -> Option<(String, String)> {
    let example = layout.replace("%scores%", "").replace("%ranking%", "");
    let Node::Object(entries) = serde_json::from_str(&example).ok()? else { return None };
    match <[_; 2]>::try_from(entries).ok()? {
        [(scores, Node::Object(_)), (ranking, Node::Array(_))] => Some((scores, ranking)),
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNode;

        impl<'de> Visitor<'de> for AnyNode {
            type Value = Node;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object, an array, a number or a string")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Object(entries))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut nodes = Vec::new();
                while let Some(node) = items.next_element()? {
                    nodes.push(node);
                }
                Ok(Node::Array(nodes))
            }

            #[expect(clippy::cast_precision_loss, reason = "a score that large is off every scale")]
            fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
                Ok(Node::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "a score that large is off every scale")]
            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
                Ok(Node::Number(number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }
        }

        deserializer.deserialize_any(AnyNode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(answer: &str) -> Option<(Vec<f64>, Option<Vec<usize>>)> {
        let names = AliasMap::identity(["\u{e9}", "e\u{301}", ""].map(String::from).to_vec());
        read(answer, &names, &Profile::builtin())
    }

    #[test]
    fn a_clean_verdict_is_read_by_exact_names() {
        let answer = "\n\n{\"scores\": {\"e\u{301}\": 4, \"\u{e9}\": 2, \"\": 5}, \"best-to-worst\": [\"\", \"e\u{301}\", \"\u{e9}\"]}\n";
        assert_eq!(parse(answer), Some((vec![2.0, 4.0, 5.0], Some(vec![2, 1, 0]))));
        let unranked = "{\"scores\": {\"e\u{301}\": 4, \"\u{e9}\": 2, \"\": 5}, \"best-to-worst\": []}";
        assert_eq!(parse(unranked), Some((vec![2.0, 4.0, 5.0], None)));
    }

    #[test]
    fn anything_else_is_left_to_the_tolerant_reader() {
        let clean = "{\"scores\": {\"\u{e9}\": 4, \"e\u{301}\": 2, \"\": 5}, \"best-to-worst\": [\"\", \"\u{e9}\", \"e\u{301}\"]}";
        assert!(parse(clean).is_some());
        for (from, to) in [
            ("\"\": 5", "\"\u{e9}\": 5"),
            ("\"\": 5", "\"\": 6"),
            ("\"\": 5", "\"\": \"5\""),
            ("\"\": 5", "\"\": null"),
            ("[\"\", ", "[\"\u{e9}\", "),
            ("[\"\", ", "["),
            ("scores", "Scores"),
            ("]}", "], \"note\": 1}"),
            ("]}", "]"),
        ] {
            assert!(clean.contains(from));
            assert_eq!(parse(&clean.replacen(from, to, 1)), None, "{to}");
        }
    }
}
