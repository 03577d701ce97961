//! Probes of registered URLs on a schedule
