//! Feature tests against the local stack, fault tests, tidy tests
