//! The judge's words with the real names instead of the aliases that the judge saw.

use dicast::Verdict;

/// The reasoning with every alias replaced by the name behind it; none where no names were hidden.
pub(crate) fn named_reasoning(verdict: &Verdict) -> Option<String> {
    let is_hidden = verdict.aliases.iter().any(|(alias, name)| alias != name);
    (is_hidden && !verdict.reasoning.is_empty()).then(|| named(&verdict.reasoning, &verdict.aliases))
}

/// Replaces aliases that stand as words of their own, in any case of letters.
fn named(text: &str, aliases: &[(String, String)]) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut named = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(first) = rest.chars().next() {
        // The longest one: `model-1` stands at the start of `model-10`.
        let found = aliases
            .iter()
            .filter(|(alias, _)| {
                !alias.is_empty() && rest.get(..alias.len()).is_some_and(|start| start.eq_ignore_ascii_case(alias))
            })
            .filter(|(alias, _)| !rest[alias.len()..].starts_with(is_word))
            .max_by_key(|(alias, _)| alias.len())
            .filter(|_| !before.is_some_and(|before| is_word(before) || before == '-'));
        let taken = if let Some((alias, name)) = found {
            named.push_str(name);
            alias.len()
        } else {
            named.push(first);
            first.len_utf8()
        };
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_replaced_where_they_stand_as_words() {
        let pair = |alias: &str, name: &str| (alias.to_owned(), name.to_owned());
        let aliases = [pair("model-1", "short"), pair("model-10", "length"), pair("model-2", "model-1")];
        let text = "Model-1 beats model-10, model-100 and my-model-1; model-2's is \"model-1\". 短model-1";
        assert_eq!(
            named(text, &aliases),
            "short beats length, model-100 and my-model-1; model-1's is \"short\". 短model-1"
        );
    }
}
