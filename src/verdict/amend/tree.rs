//! Entries of a structure that change the verdict in it.

use super::numbers::number;
use super::words::CORRECTED;
use super::{Chosen, MAX_SENTENCE, Stand, contradicts, given};
use crate::verdict::interpret::Context;
use crate::verdict::keys::Key;
use crate::verdict::tolerant::{Group, Node};

/// Whether an entry of a structure gives a response another score than `scores`: `"correction": "model-1 should be 3"`,
/// `"adjusted": {"model-1": 3}`. Reasoning may hold drafts, and does not count.
pub(in crate::verdict) fn is_in_tree(node: &Node<'_>, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    is_in(node, None, chosen, context)
}

/// `about`: the response that the structure is about.
fn is_in(node: &Node<'_>, about: Option<usize>, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    let Node::Group(group) = node else { return false };
    let label = group.entries.iter().find_map(|entry| match (entry.key.as_deref(), &entry.value) {
        (Some(key), Node::Text(text)) if context.keys.read(key).0 == Key::Label => {
            context.names.resolve(text, true).place()
        }
        _ => None,
    });
    let about = label.or(about);
    let other =
        |number: f64| about.is_some_and(|place| chosen.scores.contains_key(&place) && !chosen.gives(place, number));
    group.entries.iter().any(|entry| {
        let Some(key) = entry.key.as_deref() else { return is_in(&entry.value, about, chosen, context) };
        let kind = context.keys.read(key).0;
        if kind == Key::Thought {
            return false;
        }
        let corrected = is_corrected(key);
        match &entry.value {
            Node::Group(inner) if corrected => differs(inner, context.keys.read_heading(key), chosen, context),
            Node::Group(inner) if matches!(kind, Key::Rank(_)) => holds_other(inner, chosen, context),
            Node::Group(_) => {
                let named = context.names.resolve(key, false).place();
                is_in(&entry.value, named.or(about), chosen, context)
            }
            Node::Text(text) if corrected => {
                contradicts(&format!("correction: {text}"), chosen, Stand::Beside, context)
            }
            Node::Text(text) if matches!(kind, Key::Other | Key::Marks) => {
                let about = context.names.resolve(key, false).place().or(about);
                contradicts(
                    text,
                    chosen,
                    if about.is_some() {
                        Stand::Within
                    } else if context.names.mentions(text).is_empty() {
                        Stand::After
                    } else {
                        Stand::Beside
                    },
                    context,
                ) || (text.len() <= MAX_SENTENCE
                    && context.names.mentions(text).is_empty()
                    && given(&text.to_lowercase()).is_some_and(other))
            }
            Node::Word { text, .. } if corrected => {
                text.parse().is_ok_and(other)
                    || contradicts(&format!("correction: {key} {text}"), chosen, Stand::Beside, context)
            }
            _ => false,
        }
    })
}

/// Whether a key says that what it holds was corrected.
fn is_corrected(key: &str) -> bool {
    let key = key.to_lowercase();
    key.len() <= 64
        && key.split(|c: char| !c.is_alphanumeric()).any(|word| CORRECTED.iter().any(|known| word.starts_with(known)))
}

/// Whether a structure that corrects a verdict gives a response another score, or another ranking.
fn differs(group: &Group<'_>, kind: Key, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    let places = |node: &Node<'_>| match node {
        Node::Text(text) => context.names.resolve(text, false).place(),
        _ => None,
    };
    let listed: Vec<usize> = group.entries.iter().filter_map(|entry| places(&entry.value)).collect();
    let ranks = matches!(kind, Key::Rank(_)) && listed.len() == group.entries.len();
    ranks && chosen.ranking.is_some_and(|ranking| ranking != listed)
        || group.entries.iter().any(|entry| {
            let Some(key) = entry.key.as_deref() else { return false };
            match &entry.value {
                Node::Group(inner) => differs(inner, Key::Other, chosen, context),
                Node::Text(_) => false,
                Node::Word { text, .. } => {
                    let place = context.names.resolve(key, true).place();
                    place.zip(text.parse().ok()).is_some_and(|(place, number)| {
                        chosen.scores.contains_key(&place) && !chosen.gives(place, number)
                    })
                }
            }
        })
}

/// Whether the items of a ranking say that they belong elsewhere, or give other scores: `model-1 (3)`. The numbers may be
/// ranks too.
fn holds_other(items: &Group<'_>, chosen: Chosen<'_>, context: &Context<'_>) -> bool {
    let texts: Vec<&str> = items
        .entries
        .iter()
        .filter_map(|entry| if let Node::Text(text) = &entry.value { Some(&**text) } else { None })
        .collect();
    let mut numbered = texts.iter().filter_map(|text| {
        let (mention, after) = match &context.names.mentions(text)[..] {
            [only] => (only.place, text[only.end..].trim_start_matches([' ', '(', ':', '-', '—'])),
            _ => return None,
        };
        number(after).map(|(number, _)| (mention, number))
    });
    let mut ranks: Vec<f64> = numbered.clone().map(|(_, number)| number).collect();
    ranks.sort_unstable_by(f64::total_cmp);
    let ranks = ranks.into_iter().eq((1_u32..).take(texts.len()).map(f64::from));
    texts.iter().any(|text| contradicts(text, chosen, Stand::Within, context))
        || !ranks && numbered.any(|(place, number)| chosen.scores.contains_key(&place) && !chosen.gives(place, number))
}
