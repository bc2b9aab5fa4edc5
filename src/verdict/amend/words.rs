//! The words by which a remark on a verdict is known.

use crate::verdict::lexicon::Lexicon;

/// With what a sentence begins that takes something back.
#[rustfmt::skip]
pub(super) const OPENINGS: &[&str] = &[
    "wait", "hold on", "actually", "hmm", "correction", "correcting", "on reflection", "upon reflection",
    "on second thought", "on second thoughts", "on closer", "upon closer", "at closer", "after a second",
    "after another", "after a closer", "after rereading", "after re-reading", "rereading", "re-reading", "on rereading",
    "on re-reading", "looking again", "looking back", "looking closer", "thinking again", "thinking about it",
    "come to think", "in hindsight", "in retrospect", "after reconsidering", "after reconsideration", "reconsidering",
    "scratch that", "strike that", "make that", "make it", "let me take", "oops", "whoops", "thinking it over",
    "thinking this over", "having thought", "having reread", "sorry", "apologies", "my apologies", "my bad", "pardon",
    "i change", "i'd change", "i'll change", "i will change", "i would change", "i'm changing", "i am changing",
    "i have to change", "i need to change", "i need to correct", "i need to fix", "i have to correct", "i must correct",
    "i should correct", "i'd like to change", "i'd like to correct", "i'd like to revise", "i would like to change",
    "i would like to correct", "i would like to revise", "i want to change", "i want to correct", "i want to revise",
    "let me change", "let me correct", "let me revise", "let me adjust", "let me fix", "let me update", "i revise",
    "i correct", "i raise", "i lower", "i'm lowering", "i'm raising", "i'm bumping", "i am lowering", "i am raising",
    "i meant", "i just noticed", "i just realized", "i just realised", "i realize", "i realise", "i now think",
    "i now believe", "i now see", "i accidentally", "i mistakenly", "i was wrong", "i misread", "i misjudged", "i gave",
    "rather", "or rather", "better:", "typo", "there is a typo", "there's a typo", "p.s.", "ps:", "changed", "revised",
    "revision", "amended", "update:", "edit:", "erratum", "it should", "that should", "this should", "no,", "nein,",
    "non,", "moment", "warte", "halt", "eigentlich", "korrektur", "doch", "besser gesagt", "nach nochmaligem",
    "nach erneutem", "bei genauerem", "bei näherem", "bei nochmaligem", "entschuldigung", "ich ändere",
    "ich korrigiere", "quatsch", "stimmt nicht", "en fait", "attends", "attendez", "correctif", "à la réflexion",
    "après réflexion", "après relecture", "finalement", "je corrige", "je change", "espera", "pensándolo",
    "en realidad", "corrección", "rectificación", "perdón", "rectifico", "correção", "espere", "na verdade",
    "pensando melhor", "desculp", "aspetta", "in realtà", "correzione", "ripensandoci", "scusa", "подожди", "поправка",
    "исправление", "на самом деле", "хотя нет", "等等", "等一下", "不对", "不，", "更正", "修正：", "修正:", "其实",
    "实际上", "再想", "再看", "抱歉", "对不起", "不好意思", "仔细", "重新考虑", "重新看", "我改", "我修改", "訂正",
    "待って", "やはり", "実は", "いや", "すみません", "失礼しました", "よく考え", "よく見", "考え直", "잠깐", "정정",
    "사실", "다시 생각", "تصحيح", "انتظر", "في الواقع",
];
/// Words that may stand before such words.
#[rustfmt::skip]
pub(super) const LEADS: &[&str] = &[
    "oh", "ah", "but", "and", "so", "no", "well", "hmm", "note", "please", "bitte", "aber", "mais", "pero", "attention",
];
/// Words after which such words begin something else: `hold on to`, `wait for`, `I correct for length`.
pub(super) const ELSE: &[&str] = &["to ", "for ", "until ", "about ", "than ", "por ", "für ", "pour "];
/// Words that are followed by what a score ought to be.
#[rustfmt::skip]
pub(super) const CHANGES: &[&str] = &[
    "should be", "should get", "should really be", "should really get", "should have", "should receive",
    "should rather", "should read", "should actually", "should instead", "should come", "should go", "should rank",
    "deserves", "ought to", "must be", "change", "changed", "changing", "actually", "raise", "raised", "lower",
    "lowered", "reduce", "reduced", "increase", "increased", "revise", "revised", "corrected", "sollte", "verdient",
    "devrait", "mérite", "debería", "merece", "deveria", "dovrebbe", "merita", "должен", "заслуживает", "应该", "应为",
    "应得", "应给", "改为", "改成", "只能得", "すべき", "べき", "ではなく",
];
pub(super) static CHANGED: Lexicon = Lexicon::new(CHANGES);
/// Words right after a name that are followed by its score.
#[rustfmt::skip]
pub(super) const STATES: &[&str] = &[
    "is a", "is an", "is only a", "is now", "is just a", "drops to", "goes up to", "goes down to", "should go up to",
    "falls to", "rises to", "moves to", "becomes", "only deserves", "was a", "->", "=>", "→", "ist eine",
    "ist doch eine", "est un", "vaut", "es un", "é um", "给", "得", "降为", "升为", "降到", "升到", "は",
];
pub(super) static STATED: Lexicon = Lexicon::new(STATES);
/// Words after a number that make it a new score.
#[rustfmt::skip]
pub(super) static MADE: Lexicon = Lexicon::new(&[
    "点に修正", "点に変更", "点に訂正", "点に下げ", "点に上げ", "点に改め", "点にし", "に修正します", "に下げます",
    "に上げます", "に変更します", "に訂正します",
]);
/// Words that lead to a list of scores.
#[rustfmt::skip]
pub(super) static SCORES: Lexicon = Lexicon::new(&[
    "scores are", "scores should", "ratings are", "ratings should", "grades are", "scores to", "punkte sind",
    "notes sont", "分数是", "分数应", "评分是", "评分应",
]);
/// Words that put one response above or below another.
#[rustfmt::skip]
pub(super) static COMPARED: Lexicon = Lexicon::new(&[
    "higher", "lower", "above", "below", "ahead of", "swap", "switch", "better than", "worse than", "should be ranked",
    "should rank", "should come", "should be first", "should be last", "should win", "deserves to", "deserves more",
    "deserves less", "change", "instead", "tie", "equal", ">", "other way", "reversed", "first place",
    "the wrong order", "order should", "ranking should", "order is", "after all", "on top", "be first", "be last",
    "höher", "niedriger", "besser", "schlechter", "vertauscht", "meilleur", "moins bon", "inversé", "mejor que",
    "peor que", "invertid", "melhor que", "выше", "ниже", "лучше", "хуже", "更好", "更高", "更差", "更低", "高于",
    "低于", "应排", "应该排", "应在", "反了", "より", "逆",
]);
/// Words between two names, of which the first is the better one.
#[rustfmt::skip]
pub(super) static BETTER: Lexicon = Lexicon::new(&[
    "better than", "above", "higher than", "ahead of", "more highly than", "besser als", "höher als", "meilleur que",
    "meilleure que", "mejor que", "melhor que", "лучше", "выше", "优于", "高于", "好于", " > ",
]);
/// Words between two names, of which the first is the worse one.
#[rustfmt::skip]
pub(super) static WORSE: Lexicon = Lexicon::new(&[
    "worse than", "below", "lower than", "behind", "schlechter als", "niedriger als", "pire que", "moins bon que",
    "moins bonne que", "peor que", "pior que", "хуже", "ниже", "劣于", "低于", "差于",
]);
/// Words for the first and the last place.
#[rustfmt::skip]
pub(super) const BEST: &[&str] = &[
    "best", "first", "top", "highest", "winner", "strongest", "1st", "meilleure", "meilleur", "mejor", "melhor",
    "beste", "besten",
];
pub(super) const WORST: &[&str] =
    &["worst", "last", "lowest", "weakest", "bottom", "pire", "peor", "pior", "schlechteste", "schlechtesten"];
/// Words that make two responses change places.
#[rustfmt::skip]
pub(super) static SWAPPED: Lexicon = Lexicon::new(&[
    "should switch", "should swap", "should trade", "should be swapped", "should be switched", "should be exchanged",
    "should be reversed", "other way around", "other way round", "are swapped", "were swapped", "got swapped",
    "are switched", "swap \u{1}", "switch \u{1}", "exchange \u{1}", "sind vertauscht", "vertauschen",
]);
/// Words of what a judge only thought of, or what others may think.
#[rustfmt::skip]
pub(super) static IMAGINED: Lexicon = Lexicon::new(&[
    "i considered", "i was considering", "i was tempted", "i thought about", "might argue", "could argue", "may argue",
    "would argue", "one might", "one could", "would have given", "would have gotten", "would have scored",
    "would have received", "would have earned", "would have been", "could have earned", "could have been", "如果",
    "もし", "であれば",
]);
/// Words after which a sentence comes to what holds.
pub(super) const TURNS: &[&str] = &[" but ", " however", " aber ", " mais ", " pero ", "但"];
/// Words between the name of a response and what its score ought to be.
#[rustfmt::skip]
pub(super) const ADVERBS: &[&str] = &[
    "s", "score", "rating", "really", "actually", "probably", "clearly", "now", "then", "also", "rather", "in", "fact",
    "doch", "only", "just", "therefore", "thus", "the", "of", "for", "to", "的", "分数", "的分数", "得分", "的得分",
    "评分", "的评分", "的分数应", "的评分应", "的得分应", "应",
];
/// Words that may stand between what a sentence changes and the number that it gives.
#[rustfmt::skip]
pub(super) const FILLERS: &[&str] = &[
    "a", "an", "the", "score", "rating", "rated", "scored", "given", "got", "gotten", "of", "really", "only", "just",
    "at", "least", "most", "about", "around", "closer", "to", "from", "lowered", "raised", "reduced", "increased",
    "changed", "more", "like", "maybe", "rather", "even", "been", "be", "get", "instead", "its", "it", "actually",
    "eher", "ein", "eine", "einen", "doch", "nur", "auf", "un", "une", "una", "um", "uma", "plutôt", "à", "en", "it's",
    "und", "s", "was", "not", "punkte", "noch", "note", "nota", "sein", "haben", "bekommen", "avoir", "être", "ser",
    "tener", "оценку", "балл", "быть", "come", "ranked", "placed", "rank", "have",
];
/// Numbers in words.
pub(super) const WORDS: &[&str] =
    &["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"];
/// Words that may follow the number of a score.
#[rustfmt::skip]
pub(super) const AFTER: &[&str] = &[
    "because", "since", "as", "instead", "not", "for", "rather", "due", "given", "and", "but", "out", "of", "point",
    "points", "star", "stars", "though", "although", "considering", "in", "on", "after", "now", "too", "then",
    "actually", "really", "weil", "statt", "punkte", "punkt", "car", "porque", "puntos", "punti", "pontos", "so", "the",
    "it", "at", "is", "sein", "or", "if", "place", "score",
];
/// Words of a sentence that tells what a response says or has: its numbers may be anything.
#[rustfmt::skip]
pub(super) static TELLS: Lexicon = Lexicon::new(&[
    "says", " said", "saying", "answer", "claims", "claimed", "states", "stated", "writes", "wrote", "gives",
    "given as", "result", " has ", " had ", "contains", "includes", "lists", "names", "mentions", "reports", "chooses",
    "uses", "quotes", "cites", "counts", "deducted", "loses", "lost", "lacks", "misses", "omits", "covers", "meets",
    "fails", "minus", "differ", "close to", "above a", "below a", "better than a", "worse than a", "does not",
    "doesn't", "between", "short of", "avoid", "nearly", "almost", "far from", "would", "could", "might", "tried",
    "asked", "wants", "rait ", "würde", "wäre", "hätte", " if ", "equals", "calculat", "comput", "explain", "suggest",
    "count", "average", "confidence", "compared", "答案", "结果", "如果", "写", "说", "提到", "答え", "例", "sagt",
    "nennt", "antwort", "réponse", "dit", "dice", "respuesta", "resposta",
]);
/// Words of a sentence in which a judge speaks of its scores.
#[rustfmt::skip]
pub(super) const JUDGING: &[&str] = &[
    "i", "my", "me", "we", "us", "score", "scores", "rating", "grade", "points", "stars", "correction", "corrected",
    "now", "actually", "fairer", "again", "reread", "review", "update", "updated", "addendum", "amendment", "fix",
    "lowered", "lower", "raised", "raise", "down", "downgraded", "upgraded", "bumped", "drop", "drops", "adjust",
    "adjusted", "revised", "changed", "change", "set", "give", "make", "use", "treat", "put", "read", "move", "typo",
    "worth", "warrants", "deserves", "merits", "punkte", "note", "mérite", "merece", "verdient", "bekommt", "corrige",
    "thus", "ends",
];
/// Words that deny the number after them.
#[rustfmt::skip]
pub(super) const DENIALS: &[&str] = &[
    "not", "not a", "not an", "instead of", "instead of a", "rather than", "rather than a", "nicht", "statt", "pas",
    "no", "no un", "而不是", "不是",
];
/// Words before a number that counts something else than a score.
#[rustfmt::skip]
pub(super) const COUNTED: &[&str] = &[
    "paragraph", "paragraphs", "steps", "criterion", "criteria", "claim", "claims", "points", "ranked", "rank", "place",
    "position", "top", "question", "questions", "step", "line", "section", "page", "part", "item", "chapter", "example",
    "point", "number", "figure", "version", "sentence",
];
/// How the key of a corrected score begins or ends, as letters in lower case.
#[rustfmt::skip]
pub(super) const CORRECTED: &[&str] = &[
    "correct", "revis", "adjust", "amend", "update", "changed", "korrigiert", "corrig", "corregid", "更正", "修正",
    "訂正", "修改",
];
