//! `cargo fuzz run queries`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| taffrail_logstore::fuzzing::queries(data));

#[cfg(not(fuzzing))]
fn main() {}
