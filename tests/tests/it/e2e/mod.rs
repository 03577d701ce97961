//! End-to-end tests on the running local stack: real binaries, the real template.

mod alerts;
mod erase;
mod flush;
mod health;
mod health_function;
mod log_service;
mod pipe;
mod presigned_urls;
mod secrets;
mod uploads;
