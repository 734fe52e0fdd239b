//! What every log store does, in one source: it is a part of the tests of each store, whose module `support` has a
//! `Scratch`, an empty store of its own.

mod agreement;
mod counting;
pub mod letters;
mod odd_fields;
mod paging;
pub mod support;
mod writing;
