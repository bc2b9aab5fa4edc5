//! The reasoning in an answer of a server.

use super::reply::Piece;

/// A reasoning, separated from what follows it.
pub(super) struct Thoughts {
    pub(super) ids: Vec<u32>,
    pub(super) text: String,
    pub(super) closed: bool,
    /// What follows the closing token.
    pub(super) rest: Vec<Piece>,
}

impl Thoughts {
    pub(super) fn of(pieces: &[Piece], close: u32, tag: &str) -> Self {
        let mut thoughts = Self { ids: Vec::new(), text: String::new(), closed: false, rest: Vec::new() };
        for piece in pieces {
            if thoughts.closed {
                thoughts.rest.push(piece.clone());
                continue;
            }
            let Some(at) = piece.ids.iter().position(|&id| id == close) else {
                thoughts.ids.extend(&piece.ids);
                thoughts.text.push_str(&piece.text);
                continue;
            };
            thoughts.closed = true;
            thoughts.ids.extend(&piece.ids[..at]);
            // One event has several tokens, among them the closing one, whose text a server may leave out.
            let (before, after) = match piece.text.split_once(tag) {
                Some(parts) => parts,
                None if at + 1 == piece.ids.len() => (piece.text.as_str(), ""),
                None => ("", piece.text.as_str()),
            };
            thoughts.text.push_str(before);
            thoughts.rest.push(Piece {
                text: after.to_owned(),
                ids: piece.ids[at + 1..].to_vec(),
                positions: piece.positions.iter().skip(at + 1).cloned().collect(),
                ..Piece::default()
            });
        }
        thoughts
    }

    /// The text of the first `count` tokens, as far as the events show it.
    pub(super) fn text_of(&self, count: usize, pieces: &[Piece]) -> String {
        let mut text = String::new();
        let mut ids = 0;
        for piece in pieces {
            ids += piece.ids.len();
            if ids > count {
                break;
            }
            text.push_str(&piece.text);
        }
        if text.len() > self.text.len() { self.text.clone() } else { text }
    }
}
