//! Where a JSON value ends that need not be good: by brackets, strings and commas alone.

/// Brackets of a value that are distinguished; deeper ones are only counted.
const MAX_OPEN_BRACKETS: usize = 256;

/// Where in a value a scan stands.
#[derive(Debug, Default)]
pub(super) struct Brackets {
    in_string: bool,
    escaped: bool,
    open: Vec<u8>,
    deeper: u64,
    /// The end is the bracket that closes the first one, not a comma or a bracket after it.
    to_close: bool,
}

impl Brackets {
    /// An element of an array follows.
    pub(super) fn element() -> Self {
        Self::default()
    }

    /// An object follows, or what is left of one that is `open`.
    pub(super) fn object(open: bool) -> Self {
        Self { open: if open { vec![b'{'] } else { Vec::new() }, to_close: true, ..Self::default() }
    }

    /// Whether something is open that the end has to close.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Looks for the end: a `,` or `]` outside of everything (of an object: its closing bracket, included),
    /// or a line break in a string. Returns how many bytes belong to the value, and whether it ended there.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                if bytes[at] == b'\n' {
                    return (at, true);
                }
                at += 1;
                continue;
            }
            if self.in_string {
                let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', &bytes[at..]) else {
                    return (bytes.len(), false);
                };
                at += found;
                match bytes[at] {
                    b'"' => self.in_string = false,
                    b'\\' => self.escaped = true,
                    _ => return (at, true),
                }
                at += 1;
                continue;
            }
            match bytes[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' if self.open.len() < MAX_OPEN_BRACKETS => self.open.push(bytes[at]),
                b'{' | b'[' => self.deeper += 1,
                b'}' | b']' if self.deeper > 0 => self.deeper -= 1,
                b'}' => self.close(b'{'),
                b']' if self.open.contains(&b'[') => self.close(b'['),
                // Closes what the element did not open: the array.
                b']' if !self.to_close => return (at, true),
                b',' if self.open.is_empty() => return (at, true),
                _ => {}
            }
            at += 1;
            if self.to_close && self.open.is_empty() && matches!(bytes[at - 1], b'}' | b']') {
                return (at, true);
            }
        }
        (bytes.len(), false)
    }

    /// Closes the innermost of these brackets, and those inside it that were left open.
    fn close(&mut self, bracket: u8) {
        if let Some(at) = self.open.iter().rposition(|&open| open == bracket) {
            self.open.truncate(at);
        }
    }
}
