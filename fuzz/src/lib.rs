//! The seeds of the fuzz targets, for tests: so that what the targets check is checked without a fuzzer, too.
//!
//! A seed is an input that a target starts from, or one that it once failed on. The targets themselves are functions of
//! the crates that they are about, in modules `fuzzing`.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

/// How often each seed is changed.
const CHANGED: u64 = 200;

/// Runs a check with the seeds of a target, and with changes of them that are the same every time.
///
/// # Panics
/// When the check does; then the message says what it was given. When there are no seeds.
pub fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    let run = |path: &Path, input: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(input))) {
            let text = input.escape_ascii();
            let said = panic.downcast_ref::<String>().cloned();
            resume_unwind(Box::new(format!("{} became \"{text}\": {}", path.display(), said.unwrap_or_default())));
        }
    };
    let mut random = Random(1);
    for (path, seed) in paths.iter().zip(&seeds) {
        run(path, seed);
        for _ in 0..CHANGED {
            let mut input = seed.clone();
            for _ in 0..=random.below(3) {
                change(&mut input, &seeds, &mut random);
            }
            run(path, &input);
        }
    }
}

/// Changes an input as fuzzers do.
fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len());
    let to = at + random.below((input.len() - at).min(16));
    match random.below(6) {
        0 if at < input.len() => input[at] ^= 1 << random.below(8),
        1 if at < input.len() => input[at] = random.byte(),
        2 => drop(input.drain(at..to)),
        3 => input.truncate(at),
        4 => {
            let copy = input[at..to].to_vec();
            input.splice(at..at, copy);
        }
        _ => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            let length = random.below((other.len() - from).min(64));
            input.splice(at..at, other[from..from + length].iter().copied());
        }
    }
}

/// The generator `xorshift64` of G. Marsaglia, "Xorshift RNGs", 2003.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below a limit, or 0 where that is 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }
}
