//! Patterns of `*` and `?`.

/// A part of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Any characters, or none.
    Any,
    /// One character.
    One,
    /// This character.
    Exactly(char),
}

/// A pattern that whole texts fit or don't: `*` is any characters or none, `?` is exactly one, and a backslash makes
/// the character after it an ordinary one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

impl Pattern {
    /// Reads a pattern; there are no wrong ones.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut parts = Vec::with_capacity(pattern.len());
        let mut characters = pattern.chars();
        while let Some(character) = characters.next() {
            parts.push(match character {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Exactly(characters.next().unwrap_or('\\')),
                other => Part::Exactly(other),
            });
        }
        // Several in a row are as good as one, and make fitting slow.
        parts.dedup_by(|next, before| *next == Part::Any && *before == Part::Any);
        Self { parts }
    }

    /// The characters with which all texts that fit begin.
    #[must_use]
    pub fn prefix(&self) -> String {
        let exactly = |part: &Part| if let Part::Exactly(character) = part { Some(*character) } else { None };
        self.parts.iter().map_while(exactly).collect()
    }

    /// The longest text that is in all texts that fit.
    #[must_use]
    pub fn literal(&self) -> String {
        let runs = self.parts.split(|part| !matches!(part, Part::Exactly(_)));
        let longest = runs.max_by_key(|run| run.len()).unwrap_or_default();
        longest
            .iter()
            .filter_map(|part| if let Part::Exactly(character) = part { Some(*character) } else { None })
            .collect()
    }

    /// Whether all of a text fits. Takes at most time in proportion to the product of both lengths.
    #[must_use]
    pub fn fits(&self, text: &str) -> bool {
        let mut rest = text.chars();
        let mut part = 0;
        // Where to go on when it does not fit: behind the last `*`, with one more character given to that.
        let mut retry = None;
        loop {
            match self.parts.get(part) {
                Some(Part::Any) => {
                    part += 1;
                    retry = Some((part, rest.clone()));
                    continue;
                }
                expected => {
                    let here = rest.clone().next();
                    let fits = match (expected, here) {
                        (None, None) => return true,
                        (Some(Part::One), Some(_)) => true,
                        (Some(Part::Exactly(expected)), Some(found)) => *expected == found,
                        _ => false,
                    };
                    if fits {
                        rest.next();
                        part += 1;
                        continue;
                    }
                }
            }
            let Some((behind, from)) = &mut retry else { return false };
            if from.next().is_none() {
                return false;
            }
            part = *behind;
            rest = from.clone();
        }
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}
