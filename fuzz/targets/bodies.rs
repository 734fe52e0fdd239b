//! `cargo fuzz run bodies`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| taffrail_ingestion::fuzzing::bodies(data));

#[cfg(not(fuzzing))]
fn main() {}
