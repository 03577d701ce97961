//! The real binaries, as Lambda runs them, on the emulator: killed with SIGKILL while they work, and with
//! every call failing in every way.

mod answers;
mod kills;
mod relay;
mod sandbox;
mod scenes;
