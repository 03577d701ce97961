//! What the handlers ask of the outside world, in domain words
