//! Server-sent events: the data of each, from a stream of bytes that may be split anywhere.

/// Collects bytes and gives the data of the events in them.
#[derive(Debug, Default)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// Where the first unread line begins.
    start: usize,
    /// Data of an event whose end has not arrived.
    data: Vec<u8>,
}

impl Events {
    /// Adds the bytes that arrived.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their event.
    #[cfg(test)]
    pub(super) fn pending(&self) -> usize {
        self.buffer.len() - self.start + self.data.len()
    }

    /// The data of the next complete event.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = &self.buffer[self.start..];
            let end = rest.iter().position(|&byte| byte == b'\n')?;
            let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
            let mut whole = None;
            if line.is_empty() {
                whole = (!self.data.is_empty()).then(|| std::mem::take(&mut self.data));
            } else if let Some(data) = field(line) {
                if !self.data.is_empty() {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(data);
            }
            self.start += end + 1;
            if whole.is_some() {
                return whole;
            }
        }
    }

    /// The data of an event that the end of the stream has completed.
    pub(super) fn last(&mut self) -> Option<Vec<u8>> {
        self.push(b"\n\n");
        self.next()
    }
}

/// The value of a data line. Some servers write errors under a field name of their own.
fn field(line: &[u8]) -> Option<&[u8]> {
    let value = line.strip_prefix(b"data:").or_else(|| line.strip_prefix(b"error:"))?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = ": hello\n\ndata: {\"a\": 1}\r\n\r\nevent: x\ndata:two\ndata: lines\n\n\n\ndata: [DONE]\n\n";

    #[test]
    fn events_come_whole_wherever_the_stream_is_cut() {
        for size in 1..=STREAM.len() {
            let mut events = Events::default();
            let mut got = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                events.push(piece);
                while let Some(data) = events.next() {
                    got.push(String::from_utf8(data).unwrap());
                }
            }
            assert_eq!(got, ["{\"a\": 1}", "two\nlines", "[DONE]"], "{size}");
            assert_eq!(events.pending(), 0);
        }
    }

    #[test]
    fn the_end_of_the_stream_ends_an_event() {
        let mut events = Events::default();
        events.push(b"data: x");
        assert_eq!((events.next(), events.pending()), (None, 7));
        assert_eq!(events.last().as_deref(), Some(&b"x"[..]));
        assert_eq!(events.last(), None);
    }
}
