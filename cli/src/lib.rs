//! What `logferry` does besides the functions' own code.

pub mod redrive_dead_letters;
