//! Drafts by prompt lookup. A judge that reasons often quotes: the prompt, or what it has written before. So the tokens
//! that followed the last ones where these occurred before are computed in the same step, each with its logits. As far
//! as the job then chooses the same tokens, they need no step of their own.

/// So many tokens must have occurred together before. After fewer, most drafts are wrong; more occur again too rarely.
const MATCHED: usize = 3;

/// The draft of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Draft {
    /// The draft in the batch of this step.
    tokens: Vec<u32>,
    /// Where in the batch its first token is.
    at: usize,
    /// Its first tokens that the job has chosen.
    right: usize,
    /// Most tokens of the next draft, and of any.
    length: usize,
    most: usize,
}

impl Draft {
    /// For a new job, with at most `most` tokens in a draft.
    pub(super) fn new(most: usize) -> Self {
        Self { length: most, most, ..Self::default() }
    }

    /// Looks up what may follow `text`, at most `room` tokens; their first one is to be at this place of the batch.
    pub(super) fn look_up(&mut self, text: &[u32], room: usize, at: usize) -> &[u32] {
        // Walking back over the whole text takes microseconds, where the step reads keys and values of each token.
        self.tokens.extend_from_slice(continuation(text, self.length.min(room)));
        (self.at, self.right) = (at, 0);
        &self.tokens
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// How many tokens of `chosen` the draft goes on with. They count as right.
    pub(super) fn matches(&mut self, chosen: &[u32]) -> usize {
        let same =
            self.tokens[self.right..].iter().zip(chosen).take_while(|(drafted, chosen)| drafted == chosen).count();
        self.right += same;
        same
    }

    /// Where in the batch the logits after the last right token are; there must be one.
    pub(super) fn place(&self) -> usize {
        self.at + self.right - 1
    }

    /// Ends the draft. True if some of its tokens were wrong, and are to be dropped from keys and values.
    pub(super) fn end(&mut self) -> bool {
        let wrong = self.right < self.tokens.len();
        if !self.tokens.is_empty() {
            // What is quoted goes on, or has ended. A draft that was short for lack of room says nothing of longer ones.
            let shown = if wrong { 0 } else { self.length };
            self.length = self.most.min(shown.max(self.right + 1));
        }
        self.tokens.clear();
        wrong
    }

    /// The step was not computed.
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
    }
}

/// What followed the last tokens of `text` where they occurred most recently before, at most `most` tokens.
fn continuation(text: &[u32], most: usize) -> &[u32] {
    let Some((last, before)) = text.split_last_chunk::<MATCHED>().map(|(_, last)| (last, &text[..text.len() - 1]))
    else {
        return &[];
    };
    if most == 0 {
        return &[];
    }
    let found = before.windows(MATCHED).rposition(|window| window == last);
    found.map_or(&[], |start| &text[start + MATCHED..text.len().min(start + MATCHED + most)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_is_what_followed_the_most_recent_occurrence() {
        for (text, most, wanted) in [
            (&[1, 2, 3, 4, 5, 6, 1, 2, 3][..], 2, &[4, 5][..]),
            (&[1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], 1, &[5]),
            (&[1, 2, 3, 4, 1, 2, 3], 9, &[4, 1, 2, 3]),
            // What occurs again at once overlaps itself.
            (&[7, 7, 7, 7], 4, &[7]),
            (&[1, 2, 3, 4, 9, 2, 3], 4, &[]),
            (&[1, 2, 3, 4, 1, 2, 3], 0, &[]),
            (&[1, 2, 3], 4, &[]),
            (&[1, 2], 4, &[]),
            (&[], 4, &[]),
        ] {
            assert_eq!(continuation(text, most), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_draft_is_right_as_far_as_it_is_chosen() {
        let text = [1, 2, 3, 4, 5, 6, 7, 1, 2, 3];
        let mut draft = Draft::new(4);
        assert_eq!(draft.look_up(&text, 9, 20), [4, 5, 6, 7]);
        assert_eq!((draft.matches(&[4]), draft.place()), (1, 20));
        // Several chosen tokens, as when the reasoning is ended.
        assert_eq!((draft.matches(&[5, 6]), draft.place()), (2, 22));
        assert_eq!((draft.matches(&[9]), draft.place()), (0, 22));
        assert!(draft.end());
        assert_eq!(draft.len(), 0);
    }

    #[test]
    fn drafts_are_as_long_as_the_last_one_was_right_and_one_more() {
        let text = [1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3];
        let mut draft = Draft::new(4);
        let rounds: [(&[u32], usize, bool); 6] = [
            (&[9], 4, true),
            (&[4], 1, false),
            (&[4, 9], 2, true),
            (&[4, 5, 6], 2, false),
            (&[4, 5, 6, 7], 3, false),
            (&[4, 5, 6, 7], 4, false),
        ];
        for (chosen, length, wrong) in rounds {
            assert_eq!(draft.look_up(&text, 9, 0).len(), length);
            draft.matches(chosen);
            assert_eq!(draft.end(), wrong, "{chosen:?}");
        }
        // Neither a step without a draft nor one that was not computed says anything of the next.
        draft.look_up(&[1, 2], 9, 0);
        assert!(!draft.end());
        draft.look_up(&text, 9, 0);
        draft.clear();
        assert_eq!(draft.look_up(&text, 2, 0), [4, 5]);
        draft.end();
        assert!(Draft::new(0).look_up(&text, 9, 0).is_empty());
    }
}
