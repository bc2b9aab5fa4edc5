//! The words for scores, rankings and what is written beside them, as letters and digits in lower case.

/// The scores of all responses.
#[rustfmt::skip]
pub(super) const SCORES: &[&str] = &[
    "scores", "score", "scoring", "scored", "rating", "ratings", "rated", "grade", "grades", "points", "marks",
    "evaluationscores", "responsescores", "modelscores", "scoresbymodel", "scorespermodel", "scoreoutof",
    "scoresoutof", "scoremap", "scoredict", "individualscores", "得分", "评分", "分数", "打分", "bewertung", "bewertungen",
    "punkte", "punktzahl", "punktzahlen", "wertung", "wertungen", "noten", "pontuação", "pontuações", "puntuación",
    "puntuaciones", "puntuacion", "puntos", "puntaje", "puntajes", "calificación", "calificaciones", "calificacion",
    "nota", "notas", "punteggio", "punteggi", "voto", "voti", "оценка", "оценки", "баллы", "балл", "الدرجة",
    "الدرجات", "评分结果", "得分情况", "各模型得分", "模型评分", "評分", "評価点", "スコア", "点数", "得点", "採点", "점수", "평점", "puan", "puanlar", "puanı", "punkty", "ocena", "oceny", "điểm", "điểmsố",
    "nilai", "skor", "poäng", "betyg", "poeng", "karakter", "оцінка", "оцінки", "бали", "body", "hodnocení", "pisteet",
    "βαθμολογία", "pontszám", "punctaj", "scor", "अंक", "स्कोर", "امتیاز", "คะแนน", "ציון", "ציונים", "puntuazioa", "cijfers", "cijfer",
];
/// Words that mean scores if numbers follow, and remarks if text does.
#[rustfmt::skip]
pub(super) const MARKS: &[&str] = &[
    "note", "notes", "notation", "notations", "évaluation", "évaluations", "评价", "評価", "평가", "النتيجة", "التقييم", "التقييمات",
    "final", "finals", "grading", "appraisal",
];
/// One score that sums up several criteria.
#[rustfmt::skip]
pub(super) const OVERALL: &[&str] = &[
    "overall", "overallscore", "overallscores", "overallrating", "overallratings", "overallgrade", "overallquality",
    "overallassessment", "total", "totals", "totalscore", "totalscores", "totalpoints", "finalscore", "finalscores",
    "finalrating", "finalratings", "finalgrade", "sum", "average", "averagescore", "avg", "mean", "meanscore",
    "aggregate", "aggregatescore", "aggregated", "combined", "combinedscore", "composite", "compositescore",
    "weighted", "weightedscore", "weightedaverage", "weightedtotal", "weightedsum", "weightedmean", "grandtotal", "gesamt", "gesamtnote", "gesamtwertung", "gesamtbewertung",
    "gesamtpunktzahl", "gesamtpunkte", "endnote", "endwertung", "insgesamt", "général", "global", "noteglobale",
    "notefinale", "scoreglobal", "scorefinal", "moyenne", "notetotale", "puntuacióntotal", "puntuacionfinal",
    "puntuaciónfinal", "puntuaciónglobal", "notafinal", "general", "totale", "complessivo", "punteggiototale",
    "punteggiofinale", "geral", "notageral", "итог", "итого", "общая", "общаяоценка", "итоговаяоценка", "المجموع",
    "الإجمالي", "总分", "总评", "总体", "综合", "综合得分", "综合评分", "总体评分", "总得分", "最终得分", "最终评分", "最终分数", "總分", "総合", "総合評価",
    "総合点", "総合スコア", "合計", "合計点", "最終スコア", "종합", "총점", "합계",
];
/// A ranking, best first.
#[rustfmt::skip]
pub(super) const BEST_FIRST: &[&str] = &[
    "besttoworst", "besttoworse", "bettertoworse", "bestworst", "bestfirst", "besttoleast", "besttolast",
    "best2worst", "rankingbesttoworst", "rankingsbesttoworst", "rankedbesttoworst", "rankbesttoworst",
    "orderbesttoworst", "orderedbesttoworst", "sortedbesttoworst", "rankingfrombesttoworst", "frombesttoworst",
    "rankedfrombesttoworst", "besttoworstranking", "besttoworstorder", "besttoworstlist", "bestoworst",
    "highesttolowest", "mosttoleast", "从好到差", "从最好到最差", "vombestenzumschlechtesten", "bestebisschlechteste",
    "bestebiszumschlechtesten", "besterbisschlechtester", "vongutnachschlecht", "bestezuerst", "dumeilleuraupire",
    "meilleuraupire", "meilleurenpremier", "demejorapeor", "mejorapeor", "elmejorprimero", "demelhorparapior",
    "domelhorparaopior", "melhorparapior", "dalmiglioraalpeggiore", "dalmigliorealpeggiore", "отлучшегокхудшему",
    "منالأفضلإلىالأسوأ", "从好到坏", "从优到劣", "由好到差", "由优到劣", "最好到最差", "最优到最差", "odnajlepszegodonajgorszego", "vanbestnaarslechtst", "từtốtnhấtđếntệnhất", "toptobottom", "strongesttoweakest", "firsttolast", "从高到低", "良い順", "最良から最悪", "優れた順", "高い順",
    "좋은순", "좋은순서",
];
/// A ranking, worst first.
#[rustfmt::skip]
pub(super) const WORST_FIRST: &[&str] = &[
    "worsttobest", "worsetobest", "worsetobetter", "worstbest", "worstfirst", "leasttobest", "worst2best",
    "rankingworsttobest", "rankedworsttobest", "orderworsttobest", "sortedworsttobest", "rankingfromworsttobest",
    "fromworsttobest", "worsttobestranking", "worsttobestorder", "lowesttohighest", "leasttomost", "从差到好",
    "vomschlechtestenzumbesten", "schlechtestebisbeste", "schlechtesterbisbester", "dupireaumeilleur",
    "pireaumeilleur", "depeoramejor", "peoramejor", "dopiorparaomelhor", "dalpeggiorealmigliore", "отхудшегоклучшему",
    "从坏到好", "从劣到优", "由差到好", "由劣到优", "最差到最好", "从最差到最好", "从最坏到最好", "最劣から最良", "从低到高", "odnajgorszegodonajlepszego", "vanslechtstnaarbest", "vanslechtnaargoed", "منالأسوأإلىالأفضل", "từtệnhấtđếntốtnhất", "bottomtotop", "weakesttostrongest", "lasttofirst", "ascending", "悪い順", "最悪から最良", "低い順", "나쁜순",
];
/// A ranking whose order is not given.
#[rustfmt::skip]
pub(super) const RANKINGS: &[&str] = &[
    "orden", "ordre", "ordine", "ordem", "порядок", "rang", "名次", "順",
    "ranking", "rankings", "rank", "ranks", "ranked", "order", "ordering", "rankorder", "rankingorder", "rankedlist",
    "rankedorder", "rankedmodels", "rankedresponses", "modelranking", "modelrankings", "responseranking",
    "preferenceorder", "sorted", "sortedmodels", "sortedresponses", "排名", "排序", "placement", "placements", "standing",
    "standings", "rangfolge", "rangliste", "ränge", "platzierung", "platzierungen", "platz", "reihenfolge", "reihung",
    "classement", "rangs", "clasificación", "clasificacion", "puesto", "classifica", "classificação", "classificacao",
    "posição", "рейтинг", "ранжирование", "الترتيب", "المرتبة", "顺序", "順位", "順位付け", "ランキング", "順番", "순위", "랭킹",
    "sıralama", "sıra", "kolejność", "xếphạng", "thứhạng", "peringkat", "urutan", "rangordning", "rangering", "ранжування", "pořadí",
    "järjestys", "κατάταξη", "rangsor", "clasament", "क्रम", "रैंकिंग", "रैंक", "رتبه", "رتبهبندی", "อันดับ", "דירוג", "volgorde",
    "rangschikking", "position", "positions", "pos",
];
/// The name of a response in a record.
#[rustfmt::skip]
pub(super) const LABELS: &[&str] = &[
    "model", "name", "id", "alias", "label", "response", "candidate", "answer", "assistant", "modelname", "modelid",
    "responseid", "responsename", "item", "key", "modell", "antwort", "modèle", "réponse", "modelo", "respuesta",
    "candidato", "modello", "risposta", "resposta", "модель", "ответ", "النموذج", "الإجابة", "模型", "回答", "回复", "名称",
    "答案", "モデル", "応答", "모델", "응답",
];
/// A score, only within a record.
#[rustfmt::skip]
pub(super) const VALUES: &[&str] = &[
    "value", "val", "number",
];
/// Keys that enclose a verdict.
#[rustfmt::skip]
pub(super) const WRAPPERS: &[&str] = &[
    "result", "results", "evaluation", "evaluations", "verdict", "judgment", "judgement", "answer", "output",
    "response", "responses", "final", "finalanswer", "finalverdict", "arguments", "parameters", "input", "data",
    "json", "content", "assessment", "analysis", "models", "judgments", "function", "args", "properties", "value",
];
/// Reasoning, which contains no verdict.
#[rustfmt::skip]
pub(super) const THOUGHTS: &[&str] = &[
    "thinking", "thought", "thoughts", "reasoning", "reasoningcontent", "reasoningtext", "reasoningdetails",
    "redactedthinking", "thoughtprocess", "chainofthought", "cot", "scratchpad", "internalmonologue",
    "analysischannel", "summarytext", "thinkingblocks", "example", "examples", "exampleoutput", "outputexample",
    "sampleoutput", "outputformat", "expectedformat", "formatexample", "template", "quoted", "quotation", "injected", "injection", "injectedverdict", "claimed",
    "claimedverdict", "beispiel", "exemple", "ejemplo", "示例", "例",
];
