//! Masking: the judge sees `model-1`…`model-N` in a permuted order, so that neither a name nor a place can sway it.

/// How the responses of a request are shown to the judge, and the way back.
///
/// There are three orders: that of the request (`names`), that in which the judge sees the responses (`shown`), and the
/// judge's ranking. Positions in the first two are plain indices here; names are compared nowhere after this point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasMap {
    names: Vec<String>,
    shown: Vec<String>,
    order: Vec<usize>,
}

impl AliasMap {
    /// A map of `names` (in the order of the request) whose `order[i]` is the index of the response shown at place `i`
    /// under the name `shown[i]`.
    ///
    /// # Panics
    /// Where the three do not have one length: all callers build them together.
    pub fn new(names: Vec<String>, shown: Vec<String>, order: Vec<usize>) -> Self {
        assert!(names.len() == shown.len() && names.len() == order.len(), "an alias map has one entry a response");
        Self { names, shown, order }
    }

    /// The map that masks nothing: real names in the order given.
    pub fn identity(names: Vec<String>) -> Self {
        let order = (0..names.len()).collect();
        Self { shown: names.clone(), names, order }
    }

    /// Number of responses.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are no responses.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The real names in the order of the request.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names that the judge sees, in the order it sees them.
    pub fn shown(&self) -> &[String] {
        &self.shown
    }

    /// Index into the request of the response shown at `place`.
    pub fn request_index(&self, place: usize) -> usize {
        self.order[place]
    }

    /// Pairs of shown name and real name, in the order shown.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shown.iter().zip(&self.order).map(|(shown, &index)| (shown.as_str(), self.names[index].as_str()))
    }
}
