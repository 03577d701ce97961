//! Taking records away.
