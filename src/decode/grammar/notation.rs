//! The notations of a grammar: llguidance's Lark, xgrammar's EBNF, llama.cpp's GBNF, and, if a server accepts nothing
//! else, JSON Schema.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Grammar, Part, VerdictGrammar, quoted};
use crate::decode::marks::Marks;

/// For up to this many names, a JSON schema lists every ranking: 120 for five names.
const MAX_LISTED: usize = 5;

impl Grammar {
    /// The grammar in llguidance's Lark dialect.
    pub fn lark(&self) -> String {
        let mut start = String::from("start:");
        let mut rules = String::new();
        let mut scored = false;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => {
                    let _ = write!(start, " {}", quoted(literal));
                }
                Part::Score => {
                    start.push_str(" score");
                    scored = true;
                }
                Part::Names { names, .. } if names.len() == 1 => {
                    let _ = write!(start, " {}", quoted(&names[0]));
                }
                Part::Names { names, take } => {
                    let rule = format!("names{index}");
                    let _ = write!(start, " {rule}::0x0");
                    rules += &lark_names(&rule, names, *take);
                }
            }
        }
        start.push('\n');
        if scored {
            let _ = writeln!(start, "score: /{}/", score_pattern(self.marks));
        }
        start + &rules
    }

    /// The grammar in xgrammar's EBNF. With `reasoning` it begins with any text up to that character, which stands for
    /// the token that closes the reasoning.
    pub fn ebnf(&self, reasoning: Option<char>) -> String {
        let mut root = String::from("root ::=");
        let mut rules = String::new();
        if let Some(close) = reasoning {
            let _ = write!(root, " thought \"{close}\"");
            let _ = writeln!(rules, "thought ::= [^{close}]*");
        }
        self.rules('_', root, rules)
    }

    /// The grammar in llama.cpp's GBNF. With `reasoning` it begins with any tokens up to the one with that id.
    pub fn gbnf(&self, reasoning: Option<u32>) -> String {
        let mut root = String::from("root ::=");
        let mut rules = String::new();
        if let Some(close) = reasoning {
            let _ = write!(root, " thought <[{close}]>");
            let _ = writeln!(rules, "thought ::= !<[{close}]>*");
        }
        self.rules('-', root, rules)
    }

    /// The rules of EBNF and GBNF, which differ in the letters that the name of a rule may have.
    fn rules(&self, separator: char, mut root: String, mut rules: String) -> String {
        let mut scored = false;
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => {
                    let _ = write!(root, " {}", ebnf_literal(literal));
                }
                Part::Score => {
                    root.push_str(" score");
                    scored = true;
                }
                Part::Names { names, take } => {
                    let _ = write!(root, " p{index}{separator}0");
                    rules += &ebnf_names(separator, index, names, *take);
                }
            }
        }
        root.push('\n');
        if scored {
            let _ = writeln!(root, "score ::= {}", ebnf_score(self.marks));
        }
        root + &rules
    }
}

/// The scores as a regular expression.
fn score_pattern(marks: Marks) -> String {
    let alternative = |(before, first, last): (String, char, char)| {
        if first == last { format!("{before}{first}") } else { format!("{before}[{first}-{last}]") }
    };
    marks.ranges().into_iter().map(alternative).collect::<Vec<_>>().join("|")
}

/// The scores in EBNF, which is GBNF too.
fn ebnf_score(marks: Marks) -> String {
    let alternative = |(before, first, last): (String, char, char)| match (before.as_str(), first == last) {
        (_, true) => format!("\"{before}{first}\""),
        ("", false) => format!("[{first}-{last}]"),
        (_, false) => format!("\"{before}\" [{first}-{last}]"),
    };
    marks.ranges().into_iter().map(alternative).collect::<Vec<_>>().join(" | ")
}

/// The GBNF of any tokens up to the one with this id.
pub fn gbnf_reasoning(close: u32) -> String {
    format!("root ::= !<[{close}]>* <[{close}]>\n")
}

impl VerdictGrammar {
    /// The verdicts as JSON Schema, and whether it admits only complete ones: the schema requires each score and the names of
    /// the ranking, but only for a few names can it require that none comes twice. `None` if the layout is not JSON, or
    /// has no names.
    pub fn json_schema(&self) -> Option<(Value, bool)> {
        let mut example = self.example();
        example.push_str(&self.left_out().unwrap_or_default());
        let example: Value = serde_json::from_str(example.trim_start()).ok()?;
        let complete = self.texts.names.len() <= MAX_LISTED || !self.ranks;
        // An empty list stands where no ranking is written.
        let (mut scored, mut ranked) = (false, !self.ranks);
        let schema = self.schema_of(&example, &mut scored, &mut ranked)?;
        (scored && ranked).then_some((schema, complete))
    }

    fn schema_of(&self, example: &Value, scored: &mut bool, ranked: &mut bool) -> Option<Value> {
        let names: Vec<Value> = self.texts.names.iter().filter_map(|name| serde_json::from_str(name).ok()).collect();
        match example {
            Value::Object(object) => {
                let is_scores = object.len() == names.len()
                    && !*scored
                    && names.iter().all(|name| name.as_str().is_some_and(|name| object.contains_key(name)));
                let mut properties = Map::new();
                for (key, value) in object {
                    let schema = if is_scores {
                        *scored = true;
                        json!({ "enum": self.marks.all().collect::<Vec<u8>>() })
                    } else {
                        self.schema_of(value, scored, ranked)?
                    };
                    properties.insert(key.clone(), schema);
                }
                let required: Vec<&String> = object.keys().collect();
                Some(json!({
                    "type": "object", "properties": properties, "required": required, "additionalProperties": false,
                }))
            }
            Value::Array(list) if *list == names && !*ranked => {
                *ranked = true;
                let most = names.len();
                Some(if most <= MAX_LISTED {
                    json!({ "enum": permutations(&names) })
                } else {
                    json!({ "type": "array", "items": { "enum": names }, "minItems": most, "maxItems": most })
                })
            }
            constant => Some(json!({ "const": constant })),
        }
    }
}

/// Every order of a list.
fn permutations(list: &[Value]) -> Vec<Vec<Value>> {
    let mut orders = vec![Vec::new()];
    for _ in list {
        let longer = |order: &Vec<Value>| -> Vec<Vec<Value>> {
            let left = list.iter().filter(|item| !order.contains(item));
            left.map(|item| order.iter().cloned().chain([item.clone()]).collect()).collect()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    orders
}

/// Rules for `take` different names, separated by commas. The parameter is the set of the names used.
fn lark_names(rule: &str, names: &[String], take: usize) -> String {
    let mut text = format!("{rule}::_ :");
    for (bit, name) in names.iter().enumerate() {
        let or = if bit == 0 { "" } else { "\n  |" };
        let _ = write!(text, "{or} {} {rule}_rest::set_bit({bit}) %if bit_clear({bit})", quoted(name));
    }
    let bits = format!("[0:{}]", names.len());
    let complete =
        if take == names.len() { format!("is_ones({bits})") } else { format!("bit_count_ge({bits}, {take})") };
    let _ = write!(text, "\n{rule}_rest::_ : \"\" %if {complete}\n  | \", \" {rule}::_ %if not({complete})\n");
    text
}

/// Rules for `take` different names, separated by commas: one for each possible set of used names.
fn ebnf_names(separator: char, index: usize, names: &[String], take: usize) -> String {
    let mut text = String::new();
    for (bit, name) in names.iter().enumerate() {
        let _ = writeln!(text, "n{index}{separator}{bit} ::= {}", ebnf_literal(name));
    }
    let mut sets = BTreeSet::from([0_u64]);
    for used in 0..take {
        let mut next = BTreeSet::new();
        for set in sets {
            let _ = write!(text, "p{index}{separator}{set:x} ::=");
            let mut or = "";
            for bit in (0..names.len()).filter(|bit| set & (1 << bit) == 0) {
                let _ = write!(text, "{or} n{index}{separator}{bit}");
                if used + 1 < take {
                    let grown = set | 1 << bit;
                    let _ = write!(text, " \", \" p{index}{separator}{grown:x}");
                    next.insert(grown);
                }
                or = " |";
            }
            text.push('\n');
        }
        sets = next;
    }
    text
}

/// A literal in EBNF. Only escapes that every release of xgrammar reads in the same way.
fn ebnf_literal(literal: &str) -> String {
    let mut text = String::from("\"");
    for letter in literal.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(text, "\\u{:04X}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompt::profile::{Scale, VerdictForm};

    fn grammar(names: &[&str]) -> VerdictGrammar {
        let shown: Vec<_> = names.iter().map(ToString::to_string).collect();
        VerdictGrammar::new(&VerdictForm::default(), Scale::default(), "\n\n", &shown)
    }

    #[test]
    fn gbnf_says_the_same_as_ebnf_in_its_own_letters() {
        let grammar = grammar(&["a", "b"]);
        let gbnf = grammar.whole().gbnf(None);
        assert_eq!(gbnf, grammar.whole().ebnf(None).replace('_', "-"));
        let reasoned = grammar.whole().gbnf(Some(7));
        assert!(reasoned.starts_with("root ::= thought <[7]> \"\\n\\n{"), "{reasoned}");
        assert!(reasoned.contains("\nthought ::= !<[7]>*\n"));
    }

    #[test]
    fn a_schema_admits_each_order_of_few_names_and_no_other() {
        let (schema, complete) = grammar(&["a\"", "b", "c"]).json_schema().unwrap();
        assert!(complete);
        assert_eq!(schema["properties"]["scores"]["required"], json!(["a\"", "b", "c"]));
        assert_eq!(schema["properties"]["scores"]["properties"]["b"], json!({ "enum": [1, 2, 3, 4, 5] }));
        let orders = schema["properties"]["best-to-worst"]["enum"].as_array().unwrap();
        assert_eq!(orders.len(), 6);
        assert_eq!(orders[5], json!(["c", "b", "a\""]));
        let names: Vec<_> = (0..6).map(|number| format!("model-{number}")).collect();
        let (schema, complete) = grammar(&names.iter().map(String::as_str).collect::<Vec<_>>()).json_schema().unwrap();
        assert!(!complete);
        assert_eq!(schema["properties"]["best-to-worst"]["minItems"], 6);
    }

    #[test]
    fn a_layout_that_is_no_json_has_no_schema() {
        let form = VerdictForm { layout: "Scores: {%scores%}\nRanking: [%ranking%]".into(), ..VerdictForm::default() };
        assert_eq!(VerdictGrammar::new(&form, Scale::default(), "", &["a".into()]).json_schema(), None);
    }
}
