//! Through the front door of the running local stack: real binaries, the real template.

mod health;
mod pipe;
