//! Every feature test, in one binary.

mod e2e;
mod tidy;
