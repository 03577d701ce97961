//! What every function needs around its story: configuration, telemetry, metrics, authentication, HTTP envelope
