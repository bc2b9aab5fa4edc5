//! Ranks in words: `2nd place`, `Best`, `Platz 1`, `premier`, `第一名`, `1位`.

use super::chars;

/// Words for ranks from the first on.
const ORDINALS: &[&[&str]] = &[
    &[
        "first",
        "best",
        "winner",
        "top",
        "erster",
        "erste",
        "bester",
        "beste",
        "premier",
        "première",
        "meilleur",
        "meilleure",
        "primero",
        "primera",
        "mejor",
        "primeiro",
        "melhor",
        "primo",
        "migliore",
        "最好",
        "最佳",
        "冠军",
        "第一",
        "最良",
        "первый",
        "первое",
        "лучший",
        "الأول",
    ],
    &[
        "second",
        "runner up",
        "runnerup",
        "zweiter",
        "zweite",
        "deuxième",
        "segundo",
        "segunda",
        "secondo",
        "第二",
        "второй",
        "второе",
        "الثاني",
    ],
    &[
        "third",
        "dritter",
        "dritte",
        "troisième",
        "tercero",
        "tercera",
        "terceiro",
        "terzo",
        "第三",
        "третий",
        "третье",
        "الثالث",
    ],
    &["fourth", "vierter", "vierte", "quatrième", "cuarto", "cuarta", "第四", "четвёртый"],
    &["fifth", "fünfter", "fünfte", "cinquième", "quinto", "quinta", "第五", "пятый"],
    &["sixth", "sechster", "sixième", "sexto", "第六"],
    &["seventh", "siebter", "septième", "séptimo", "第七"],
    &["eighth", "achter", "huitième", "octavo", "第八"],
];
/// Words for the last rank.
const LAST: &[&str] = &[
    "worst",
    "last",
    "schlechtester",
    "schlechteste",
    "letzter",
    "pire",
    "dernier",
    "dernière",
    "peor",
    "último",
    "pior",
    "peggiore",
    "最差",
    "最後",
    "最后",
    "最悪",
    "худший",
    "последний",
];
/// Words around the number of a rank.
const BEFORE: &[&str] = &[
    "rank",
    "place",
    "position",
    "platz",
    "rang",
    "puesto",
    "lugar",
    "number",
    "no",
    "nr",
    "place no",
    "第",
    "順位",
    "排名",
    "место",
];
const AFTER: &[&str] = &[
    "place",
    "rank",
    "position",
    "platz",
    "st",
    "nd",
    "rd",
    "th",
    "er",
    "ère",
    "e",
    "ème",
    "º",
    "ª",
    "o",
    "a",
    "名",
    "位",
    "st place",
    "nd place",
    "rd place",
    "th place",
    "место",
    "е место",
    "ое место",
    "е",
    "й",
    "등",
    "위",
];

/// The rank that the text before a name gives to it, among `count` responses.
pub(super) fn read(before: &str, count: usize) -> Option<usize> {
    let text: String = before.to_lowercase().chars().map(chars::fold).collect();
    let text = text.trim_matches(|c: char| !c.is_alphanumeric());
    if text.is_empty() || text.len() > 48 {
        return None;
    }
    let plain = text.strip_prefix("the ").unwrap_or(text);
    let core = AFTER
        .iter()
        .filter_map(|word| plain.strip_suffix(word))
        .map(str::trim_end)
        .find(|core| ORDINALS.iter().any(|words| words.contains(core)));
    let word = |text: &str| ORDINALS.iter().position(|words| words.contains(&text)).map(|rank| rank + 1);
    if let Some(rank) = word(plain).or_else(|| core.and_then(word)) {
        return (rank <= count).then_some(rank);
    }
    if LAST.contains(&plain)
        || LAST.iter().any(|last| plain.strip_suffix("place").is_some_and(|core| core.trim_end() == *last))
    {
        return Some(count);
    }
    let start = plain.find(|c: char| c.is_ascii_digit())?;
    let digits = plain[start..].bytes().take_while(u8::is_ascii_digit).count();
    let (head, tail) = (
        plain[..start].trim_matches(|c: char| !c.is_alphanumeric()),
        plain[start + digits..].trim_matches(|c: char| !c.is_alphanumeric() && !matches!(c, 'º' | 'ª')),
    );
    let rank: usize = plain[start..start + digits].parse().ok()?;
    let marked = BEFORE.contains(&head) || AFTER.contains(&tail);
    let known = (head.is_empty() || BEFORE.contains(&head)) && (tail.is_empty() || AFTER.contains(&tail));
    (marked && known && (1..=count).contains(&rank)).then_some(rank)
}
