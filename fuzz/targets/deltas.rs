//! `cargo fuzz run deltas`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| taffrail_metrics::fuzzing::deltas(data));

#[cfg(not(fuzzing))]
fn main() {}
