//! The adapters: the only crate that names aws_sdk_*
