//! The real binaries, as Lambda runs them, against the emulator: killed with SIGKILL in the middle of
//! their work, and with every call they make going wrong in every way.

mod answers;
mod kills;
mod relay;
mod sandbox;
mod scenes;
