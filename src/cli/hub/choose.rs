//! Which files of a repository are the model, and which is its profile.

/// Tried in this order if no file is named: close to the full weights, then the usual small one.
const PREFERRED: [&str; 2] = ["Q8_0", "Q4_K_M"];

/// The parts of the model that `selector` names, or of the preferred one. The first part comes first.
pub(super) fn model<'a>(files: &'a [String], selector: Option<&str>) -> Result<Vec<&'a str>, String> {
    let models = models(files);
    if models.is_empty() {
        return Err(
            "the repository has no .gguf model; Dicast runs GGUF files (llama.cpp converts other formats)".into()
        );
    }
    let Some(selector) = selector else {
        if let [only] = models.as_slice() {
            return parts(files, only);
        }
        for quantization in PREFERRED {
            if let [one] = quantized(&models, quantization).as_slice() {
                return parts(files, one);
            }
        }
        return Err(format!("several models, name one after a colon: {}", models.join(", ")));
    };
    if let Some(exact) = models.iter().find(|model| **model == selector) {
        return parts(files, exact);
    }
    match quantized(&models, selector).as_slice() {
        [] => Err(format!("no model is named {selector}; there is {}", models.join(", "))),
        [one] => parts(files, one),
        several => Err(format!("{selector} fits several models, name one: {}", several.join(", "))),
    }
}

/// The profile of a model, by the names under which it is looked for beside the model.
pub(super) fn profile<'a>(files: &'a [String], model: &str) -> Option<&'a str> {
    let (folder, name) = model.rsplit_once('/').map_or(("", model), |(folder, name)| (folder, name));
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let beside = |name: String| if folder.is_empty() { name } else { format!("{folder}/{name}") };
    [beside(format!("{stem}.profile.json")), beside("dicast-profile.json".into())]
        .into_iter()
        .find_map(|name| files.iter().find(|file| **file == name))
        .map(String::as_str)
}

/// The models of a repository, each by its first part.
fn models(files: &[String]) -> Vec<&str> {
    let mut models: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|file| file.strip_suffix(".gguf").is_some())
        .filter(|file| split(file).is_none_or(|(_, part, _)| part == 1))
        // Files beside models that have the same extension.
        .filter(|file| !["mmproj", "imatrix"].iter().any(|other| file.to_ascii_lowercase().contains(other)))
        .collect();
    models.sort_unstable();
    models
}

/// Those whose name holds `quantization` as a word, in any case.
fn quantized<'a>(models: &[&'a str], quantization: &str) -> Vec<&'a str> {
    let wanted = quantization.to_ascii_uppercase();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    models
        .iter()
        .copied()
        .filter(|model| {
            let name = model.to_ascii_uppercase();
            name.match_indices(&wanted).any(|(at, _)| {
                let before = name[..at].chars().next_back();
                let after = name[at + wanted.len()..].chars().next();
                !before.is_some_and(is_word) && !after.is_some_and(is_word)
            })
        })
        .collect()
}

/// `stem`, part and number of parts of `stem-00001-of-00003.gguf`.
fn split(file: &str) -> Option<(&str, u32, u32)> {
    let (rest, count) = file.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |digits: &str| (digits.len() == 5).then(|| digits.parse().ok()).flatten();
    Some((stem, number(part)?, number(count)?))
}

/// All parts of a model, given its first.
fn parts<'a>(files: &'a [String], first: &'a str) -> Result<Vec<&'a str>, String> {
    let Some((stem, _, count)) = split(first) else { return Ok(vec![first]) };
    let mut parts: Vec<&str> = files
        .iter()
        .map(String::as_str)
        .filter(|file| split(file).is_some_and(|(other, _, of)| other == stem && of == count))
        .collect();
    parts.sort_unstable();
    if parts.len() as u64 == u64::from(count) {
        Ok(parts)
    } else {
        Err(format!("{first} has {count} parts, but the repository has {}", parts.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn an_only_model_needs_no_name() {
        let files = files(&["README.md", "judge.gguf", "mmproj-judge.gguf"]);
        assert_eq!(model(&files, None).unwrap(), ["judge.gguf"]);
    }

    #[test]
    fn the_preferred_quantization_is_taken() {
        let all = files(&["m-F16.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"]);
        assert_eq!(model(&all, None).unwrap(), ["m-Q8_0.gguf"]);
        assert_eq!(model(&all, Some("q4_k_m")).unwrap(), ["m-Q4_K_M.gguf"]);
        assert_eq!(model(&all, Some("m-F16.gguf")).unwrap(), ["m-F16.gguf"]);
        assert!(model(&all, Some("Q4_K")).unwrap_err().contains("m-Q8_0.gguf"));
    }

    #[test]
    fn ambiguity_is_an_error_that_lists_the_models() {
        let error = model(&files(&["a-F16.gguf", "b-F16.gguf"]), None).unwrap_err();
        assert!(error.contains("a-F16.gguf, b-F16.gguf"), "{error}");
        let error = model(&files(&["a-Q8_0.gguf", "b-Q8_0.gguf"]), Some("Q8_0")).unwrap_err();
        assert!(error.contains("several"), "{error}");
        assert!(model(&files(&["model.safetensors"]), None).unwrap_err().contains("no .gguf"));
    }

    #[test]
    fn a_split_model_comes_whole() {
        let all = files(&[
            "q/m-Q8_0-00002-of-00002.gguf",
            "q/m-Q8_0-00001-of-00002.gguf",
            "q/m-Q4_K_M-00001-of-00001.gguf",
            "q/m-Q8_0-00001-of-00002.profile.json",
            "dicast-profile.json",
        ]);
        let parts = model(&all, None).unwrap();
        assert_eq!(parts, ["q/m-Q8_0-00001-of-00002.gguf", "q/m-Q8_0-00002-of-00002.gguf"]);
        assert_eq!(profile(&all, parts[0]), Some("q/m-Q8_0-00001-of-00002.profile.json"));
        assert_eq!(profile(&all, "m.gguf"), Some("dicast-profile.json"));
        assert!(model(&all[1..], Some("Q8_0")).unwrap_err().contains("2 parts"));
    }
}
