//! Each text once: names and values of labels by number.

use std::sync::Arc;

use rustc_hash::FxHashMap;

/// The number of a text.
pub(crate) type Symbol = u32;

#[derive(Debug)]
struct Entry {
    text: Arc<str>,
    uses: u32,
}

/// Texts with the number of their uses; one that is no longer used gives its number back.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    entries: Vec<Entry>,
    free: Vec<Symbol>,
    numbers: FxHashMap<Arc<str>, Symbol>,
}

impl Symbols {
    pub(crate) fn get(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.entries[symbol as usize].text
    }

    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// The number of a text, used once more.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        if let Some(&symbol) = self.numbers.get(text) {
            self.entries[symbol as usize].uses += 1;
            return symbol;
        }
        let text: Arc<str> = Arc::from(text);
        let entry = Entry { text: Arc::clone(&text), uses: 1 };
        let symbol = if let Some(symbol) = self.free.pop() {
            self.entries[symbol as usize] = entry;
            symbol
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as Symbol
        };
        self.numbers.insert(text, symbol);
        symbol
    }

    /// One use less.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let entry = &mut self.entries[symbol as usize];
        entry.uses -= 1;
        if entry.uses == 0 {
            self.numbers.remove(&entry.text);
            entry.text = Arc::from("");
            self.free.push(symbol);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_again_after_the_last_use() {
        let mut symbols = Symbols::default();
        let a = symbols.acquire("a");
        assert_eq!(symbols.acquire("a"), a);
        let b = symbols.acquire("b");
        assert_ne!(a, b);
        symbols.release(a);
        assert_eq!(symbols.get("a"), Some(a));
        symbols.release(a);
        assert_eq!(symbols.get("a"), None);
        assert_eq!(symbols.acquire("c"), a);
        assert_eq!((symbols.text(a), symbols.text(b), symbols.len()), ("c", "b", 2));
    }
}
